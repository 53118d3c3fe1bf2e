//go:build js && wasm

package main

import (
	"encoding/binary"
	"errors"
	"io"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// openExport is an export as the bridge holds it.
type openExport struct {
	// next returns the body of the next piece, of about so many bytes, and its
	// flags.
	next   func(maxBytes int) (body []byte, flags byte, err error)
	close  func() error
	isBusy bool // a piece is being read
	isOver bool
}

// addExport answers the call that begins an export of size bytes.
func (b *bridge) addExport(key callKey, x *openExport, size int64) ([]byte, error) {
	b.mu.Lock()
	taken := b.exports[key] != nil
	if !taken {
		b.exports[key] = x
	}
	b.mu.Unlock()
	if taken {
		x.close()
		return nil, base.Wrap(kv.ErrInvalidArgument, "the id is that of an open export", nil)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(size)), nil
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
	if err != nil {
		backup.Close()
		return nil, err
	}
	next := func(maxBytes int) ([]byte, byte, error) {
		piece := make([]byte, maxBytes)
		n, err := io.ReadFull(image, piece)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return piece[:n], exportLast, nil
		}
		return piece, 0, err
	}
	return b.addExport(key, &openExport{next: next, close: backup.Close}, image.Size())
}

// exportFolder gives out a store as it is. One that has been used for what
// LevelDB lacks is copied, where this is an engine that can do so.
func (b *bridge) exportFolder(db *kv.DB, key callKey, flags byte) ([]byte, error) {
	x, err := db.ExportFolder(ctx)
	if errors.Is(err, kv.ErrNotSupported) {
		return b.copyFolder(db, key, flags, err)
	}
	if err != nil {
		return nil, err
	}
	next := func(maxBytes int) ([]byte, byte, error) { return folderPiece(x.Next(maxBytes)) }
	return b.addExport(key, &openExport{next: next, close: x.Close}, x.Size())
}

func folderPiece(p kv.FolderPiece, err error) (body []byte, flags byte, _ error) {
	if err != nil {
		if err == io.EOF {
			return nil, exportLast, nil
		}
		return nil, 0, err
	}
	body = make([]byte, 0, len(p.Name)+16+len(p.Data))
	if p.Name != "" {
		flags = exportFile
		body = binary.LittleEndian.AppendUint64(appendString(body, p.Name), uint64(p.Size))
	}
	return append(body, p.Data...), flags, nil
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
		body, flags, err := x.next(runBytes(maxBytes))
		b.mu.Lock()
		x.isBusy = false
		isOver := x.isOver
		b.mu.Unlock()
		if isOver {
			x.close()
		}
		if err != nil {
			b.fail(r.session, e.id, err)
			return
		}
		b.reply(r.session, e.id, statusOK, flags, body)
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
				x.close()
			}
		}
	}
}

// importPiece takes the next piece of an image, before the store is opened, or
// ends the import.
func (b *bridge) importPiece(r *request, e entry) error {
	if b.isInUse() {
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
