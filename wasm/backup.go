//go:build js && wasm

package main

import (
	"encoding/binary"
	"io"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// openExport is an export as the bridge holds it.
type openExport struct {
	backup *kv.Backup
	image  *volume.Image
	isBusy bool // a piece is being read
	isOver bool
}

func (b *bridge) export(db *kv.DB, key callKey) ([]byte, error) {
	backup, err := db.Backup(ctx)
	if err != nil {
		return nil, err
	}
	files := make([]volume.ImageFile, len(backup.Files))
	for i, f := range backup.Files {
		files[i] = volume.ImageFile{Desc: f.Desc, Size: f.Size, Content: f.Content}
	}
	image, err := volume.NewImage(files)
	if err == nil {
		b.mu.Lock()
		if b.exports[key] != nil {
			err = base.Wrap(kv.ErrInvalidArgument, "the id is that of an open export", nil)
		} else {
			b.exports[key] = &openExport{backup: backup, image: image}
		}
		b.mu.Unlock()
	}
	if err != nil {
		backup.Close()
		return nil, err
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(image.Size())), nil
}

// exportNext reads the next piece of an export. One call at a time may wait for
// it.
func (b *bridge) exportNext(r *request, e entry) error {
	c := cursor{e.body}
	id, ok1 := c.u32()
	maxBytes, ok2 := c.u32()
	if !ok1 || !ok2 {
		return malformed("exportNext has no 8 bytes")
	}
	b.mu.Lock()
	x := b.exports[callKey{r.session, id}]
	isBusy := x != nil && x.isBusy
	if x != nil {
		x.isBusy = true
	}
	b.mu.Unlock()
	switch {
	case x == nil:
		return base.Wrap(kv.ErrClosed, "no such export", nil)
	case isBusy:
		return base.Wrap(kv.ErrBusy, "a call waits for this export already", nil)
	}
	r.background(func() {
		piece := make([]byte, runBytes(maxBytes))
		n, err := io.ReadFull(x.image, piece)
		b.mu.Lock()
		x.isBusy = false
		isOver := x.isOver
		b.mu.Unlock()
		if isOver {
			x.backup.Close()
		}
		switch err {
		case nil:
			b.reply(r.session, e.id, statusOK, 0, piece)
		case io.EOF, io.ErrUnexpectedEOF:
			b.reply(r.session, e.id, statusOK, exportLast, piece[:n])
		default:
			b.fail(r.session, e.id, err)
		}
	})
	return nil
}

func (b *bridge) closeExport(r *request, e entry) error {
	c := cursor{e.body}
	id, ok := c.u32()
	if !ok {
		return malformed("exportClose has no 4 bytes")
	}
	b.endExports(func(key callKey) bool { return key == callKey{r.session, id} })
	r.answer(e.id, nil)
	return nil
}

// endExports closes the exports that which names, each when nothing reads it.
func (b *bridge) endExports(which func(callKey) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, x := range b.exports {
		if which(key) {
			delete(b.exports, key)
			x.isOver = true
			if !x.isBusy {
				x.backup.Close()
			}
		}
	}
}

// importPiece takes the next piece of an image, before the store is opened, or
// ends the import.
func (b *bridge) importPiece(r *request, e entry) error {
	if b.db != nil || b.closed {
		return base.Wrap(kv.ErrInvalidArgument, "an import is for a store that is not open", nil)
	}
	if b.importer == nil {
		if e.op == opImportEnd {
			return base.Wrap(kv.ErrInvalidArgument, "no import is under way", nil)
		}
		m, err := volume.NewImporter(b.device)
		if err != nil {
			return err
		}
		b.importer = m
	}
	switch {
	case e.op == opImport:
		if _, err := b.importer.Write(e.body); err != nil {
			return err
		}
		r.answer(e.id, binary.LittleEndian.AppendUint64(nil, uint64(b.importer.Size())))
		return nil
	case e.flags&importAbort != 0:
		m := b.importer
		b.importer = nil
		if err := m.Abort(); err != nil {
			return err
		}
	default:
		if err := b.importer.Finish(); err != nil {
			return err
		}
		b.importer = nil
	}
	r.answer(e.id, nil)
	return nil
}
