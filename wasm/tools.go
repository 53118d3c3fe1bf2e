//go:build js && wasm && tools

package main

import (
	"encoding/binary"
	"errors"
	"math"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/volume"
)

// sourceOffset is where on the device the store to be repaired begins; no volume
// is so large.
const sourceOffset = 1 << 52

// tools is the state of what only the engine with the build tag "tools" can do.
// Its calls come one at a time: the next one when the one before is answered.
type tools struct {
	draft *volume.Draft // nil where nothing is made
	vol   *volume.Volume
	files *kv.FolderImport
}

func (t *tools) isInUse() bool { return t.draft != nil }

func isTool(op byte) bool { return op >= opImportFile && op <= opRepair && op != opExportFolder }

// tool carries out one request.
func (b *bridge) tool(r *request, e entry) error {
	switch e.op {
	case opImportFile:
		return b.importFile(r, e)
	case opImportFileNext:
		if b.tools.files == nil {
			return noImport()
		}
		if _, err := b.tools.files.Write(e.body); err != nil {
			return err
		}
		r.answer(e.id, nil)
		return nil
	case opImportFilesEnd:
		return b.importFilesEnd(r, e)
	case opRepair:
		return b.repair(r, e)
	}
	return base.Wrap(kv.ErrNotSupported, "unknown operation", nil)
}

func noImport() error { return base.Wrap(kv.ErrInvalidArgument, "no import is under way", nil) }

// newDraft begins a store that counts when it is published.
func (b *bridge) newDraft() error {
	if b.isInUse() || b.importer != nil {
		return base.Wrap(kv.ErrInvalidArgument, "the engine has been opened already", nil)
	}
	draft, err := volume.NewDraft(b.device)
	if err != nil {
		return err
	}
	vol, err := volume.Open(draft, nil)
	if err != nil {
		return errors.Join(err, draft.Abort())
	}
	b.tools.draft, b.tools.vol = draft, vol
	return nil
}

// publish makes the draft the store.
func (b *bridge) publish() error {
	if err := b.tools.vol.Close(); err != nil {
		return err
	}
	if err := b.tools.draft.Publish(); err != nil {
		return err
	}
	b.tools = tools{}
	return nil
}

// abandon empties the device.
func (b *bridge) abandon() error {
	t := b.tools
	b.tools = tools{}
	// What it could not write is of no use.
	_ = t.vol.Close()
	return t.draft.Abort()
}

func (b *bridge) importFile(r *request, e entry) error {
	c := cursor{e.body}
	name, ok1 := c.bytes()
	size, ok2 := c.u64()
	if !ok1 || !ok2 || size > math.MaxInt64 {
		return malformed("importFile")
	}
	if b.tools.files == nil {
		if err := b.newDraft(); err != nil {
			return err
		}
		files, err := kv.NewFolderImport(b.tools.vol, b.toolOptions())
		if err != nil {
			return err
		}
		b.tools.files = files
	}
	needed, err := b.tools.files.Begin(string(name), int64(size))
	if err != nil {
		return err
	}
	flags := byte(0)
	if !needed {
		flags = importUnneeded
	}
	b.reply(r.session, e.id, statusOK, flags, nil)
	r.done()
	return nil
}

func (b *bridge) importFilesEnd(r *request, e entry) error {
	files := b.tools.files
	if files == nil {
		return noImport()
	}
	if e.flags&importAbort != 0 {
		if err := b.abandon(); err != nil {
			return err
		}
		r.answer(e.id, nil)
		return nil
	}
	r.background(func() {
		left, err := files.Check()
		if err == nil && left == 0 {
			err = b.publish()
		}
		switch {
		case err != nil:
			b.fail(r.session, e.id, err)
		case left > 0:
			b.reply(r.session, e.id, statusOK, importMore, binary.LittleEndian.AppendUint32(nil, uint32(left)))
		default:
			b.reply(r.session, e.id, statusOK, 0, appendRecovery(nil, files.Recovery()))
		}
	})
	return nil
}

// source is the damaged store of a repair.
type source struct {
	volume.Device
	size int64
}

// newSource finds out where the store ends, by reading.
func newSource(dev volume.Device) (source, error) {
	s := source{dev, sourceOffset}
	p := make([]byte, 1)
	for low := int64(0); low < s.size; {
		middle := low + (s.size-low)/2
		n, err := s.ReadAt(p, middle)
		if err != nil {
			return source{}, err
		}
		if n > 0 {
			low = middle + 1
		} else {
			s.size = middle
		}
	}
	return s, nil
}

func (s source) ReadAt(p []byte, off int64) (int, error) {
	p = p[:max(0, min(int64(len(p)), s.size-off))]
	return s.Device.ReadAt(p, sourceOffset+off)
}

func (s source) Size() (int64, error) { return s.size, nil }

func (b *bridge) repair(r *request, e entry) error {
	if err := b.newDraft(); err != nil {
		return err
	}
	r.background(func() {
		report, err := b.salvage()
		if err == nil {
			err = b.publish()
		}
		if err != nil {
			b.fail(r.session, e.id, errors.Join(err, b.abandon()))
			return
		}
		b.reply(r.session, e.id, statusOK, 0, appendReport(nil, report))
	})
	return nil
}

func (b *bridge) salvage() (kv.RepairReport, error) {
	from, err := newSource(b.device)
	if err != nil {
		return kv.RepairReport{}, err
	}
	if from.size == 0 {
		return kv.RepairReport{}, base.Wrap(kv.ErrInvalidArgument, "there is nothing to repair: the store is empty", nil)
	}
	src, damage, err := volume.OpenDamaged(from)
	if err != nil {
		return kv.RepairReport{}, err
	}
	report, err := kv.Repair(src, b.tools.vol, b.toolOptions())
	if e := src.Close(); err == nil {
		err = e
	}
	if damage != nil {
		l := kv.Loss{File: "volume", Reason: damage.Error() + "; the newest list of files that is whole was taken"}
		report.Lost = append([]kv.Loss{l}, report.Lost...)
	}
	return report, err
}

func appendReport(dst []byte, report kv.RepairReport) []byte {
	dst = appendString(dst, report.Manifest)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(report.Lost)))
	for _, l := range report.Lost {
		dst = appendString(dst, l.File)
		for _, n := range []uint64{uint64(l.Offset), uint64(l.Bytes), l.Writes} {
			dst = binary.LittleEndian.AppendUint64(dst, n)
		}
		dst = appendString(dst, l.Reason)
	}
	return appendFigures(dst, []figure{
		{"tables", float64(report.Tables)},
		{"logs", float64(report.Logs)},
		{"entries", float64(report.Entries)},
		{"sequence", float64(report.Sequence)},
	})
}

// toolOptions are those of a store that is being made.
func (b *bridge) toolOptions() *kv.Options {
	return &kv.Options{Logger: b.host.log, Yield: b.yield, Now: b.millis}
}

// copyFolder gives out a copy of a store.
func (b *bridge) copyFolder(db *kv.DB, key callKey, flags byte, _ error) ([]byte, error) {
	x, err := db.CopyFolder(ctx, &kv.CopyOptions{DropExpiry: flags&folderDropExpiry != 0})
	if err != nil {
		return nil, err
	}
	next := func(maxBytes int) ([]byte, byte, error) { return folderPiece(x.Next(maxBytes)) }
	return b.addExport(key, &openExport{next: next, close: x.Close}, 0)
}
