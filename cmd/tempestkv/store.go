package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tempestkv/kv"
	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/osfs"
	"tempestkv/kv/volume"
	"tempestkv/kv/volume/filedevice"
)

// volumeSuffix ends the name of a new store that is to be a volume file.
const volumeSuffix = ".tkv"

// place is where a store is.
type place struct {
	fs     vfs.FS
	device *filedevice.Device // nil for a folder

	// damage is why a volume does not open in order, and fs has only what is left
	// of it.
	damage error
}

// isStore reports whether there is something at path, and refuses a folder that
// has files but no store's.
func isStore(path string) (exists, isFolder bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	if !info.IsDir() {
		return true, false, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return false, true, err
	}
	for _, e := range entries {
		if _, ok := vfs.ParseName(e.Name()); ok || e.Name() == "CURRENT" {
			return true, true, nil
		}
	}
	if len(entries) > 0 && !(len(entries) == 1 && entries[0].Name() == "LOCK") {
		return false, true, fmt.Errorf("%s is a folder with files, but no store", path)
	}
	return false, true, nil
}

// openToRead opens a store so that it stays as it is, whatever is written, or
// what is left of one.
func openToRead(path string) (*place, error) {
	exists, isFolder, err := isStore(path)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("%s: there is no store", path)
	}
	if isFolder {
		folder, err := osfs.Open(path)
		if err != nil {
			return nil, err
		}
		return &place{fs: newOverlay(folder)}, nil
	}
	d, err := filedevice.Open(path, false)
	if err != nil {
		return nil, err
	}
	v, damage, err := volume.OpenDamaged(d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &place{v, d, damage}, nil
}

// openToWrite opens a store. Where there is none it makes one.
func openToWrite(path string) (*place, error) {
	exists, isFolder, err := isStore(path)
	if err != nil {
		return nil, err
	}
	if isFolder || !exists && !strings.HasSuffix(path, volumeSuffix) {
		folder, err := osfs.Open(path)
		if err != nil {
			return nil, err
		}
		return &place{fs: folder}, nil
	}
	if !exists {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
	}
	d, err := filedevice.Open(path, !exists)
	if err != nil {
		return nil, err
	}
	v, err := volume.Open(d, nil)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &place{fs: v, device: d}, nil
}

// openNew opens a place for a new store: there must be none.
func openNew(path string) (*place, error) {
	exists, _, err := isStore(path)
	if err == nil && exists {
		err = fmt.Errorf("%s is there already", path)
	}
	if err != nil {
		return nil, err
	}
	return openToWrite(path)
}

func (p *place) Close() error {
	err := p.fs.Close()
	if p.device != nil {
		err = errors.Join(err, p.device.Close())
	}
	return err
}

// with opens the store in p, calls f, and closes both.
func (e *env) with(p *place, f func(db *kv.DB) error) error {
	db, err := kv.Open(p.fs, e.options)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	if text := db.Recovery().Text; text != "" {
		fmt.Fprintln(e.err, "tempestkv:", text)
	}
	err = f(db)
	if closing := errors.Join(db.Close(), p.Close()); closing != nil {
		return errors.Join(err, closing)
	}
	return err
}

// read calls f with a store that stays as it is.
func (e *env) read(path string, f func(db *kv.DB) error) error {
	p, err := openToRead(path)
	if err != nil {
		return err
	}
	if p.damage != nil {
		return errors.Join(p.damage, p.Close())
	}
	return e.with(p, f)
}

// write calls f with a store, which is made where there is none.
func (e *env) write(path string, f func(db *kv.DB) error) error {
	p, err := openToWrite(path)
	if err != nil {
		return err
	}
	return e.with(p, f)
}

// change calls f with a store that is there.
func (e *env) change(path string, f func(db *kv.DB) error) error {
	exists, _, err := isStore(path)
	if err == nil && !exists {
		err = fmt.Errorf("%s: there is no store", path)
	}
	if err != nil {
		return err
	}
	return e.write(path, f)
}
