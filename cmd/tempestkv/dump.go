package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/manifest"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs"
	"tempestkv/kv/wal"
)

type dumpCmd struct {
	Store string   `arg:"" help:"Folder or volume file."`
	Files []string `arg:"" optional:"" help:"Names of files, such as 000005.ldb; all without."`
	Most  int      `help:"Most bytes of a key or value to print." default:"64"`
}

func (c *dumpCmd) Run(e *env) error {
	p, err := openToRead(c.Store)
	if err != nil {
		return err
	}
	d := &dumper{e: e, fs: p.fs, most: c.Most, cmp: e.options.Comparer}
	if d.cmp == nil {
		d.cmp = base.Bytewise
	}
	if p.damage != nil {
		d.damage(p.damage)
	}
	return errors.Join(d.run(c.Files), p.Close())
}

// dumper prints files as they lie there, also those that nothing needs, and goes
// on behind damage.
type dumper struct {
	e       *env
	fs      vfs.FS
	cmp     *base.Comparer
	most    int
	damaged bool
}

func (d *dumper) printf(format string, args ...any) { fmt.Fprintf(d.e.out, format, args...) }

func (d *dumper) damage(err error) {
	d.damaged = true
	d.printf("  damaged: %s\n", oneLine(err))
}

// text returns the first bytes, quoted.
func (d *dumper) text(b []byte) string {
	if len(b) <= d.most {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:d.most])) + fmt.Sprintf("... (%d bytes)", len(b))
}

func (d *dumper) run(names []string) error {
	fds, err := d.fs.List()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		fds = fds[:0]
		for _, name := range names {
			fd, ok := vfs.ParseName(name)
			if !ok {
				return usage("%s is no name of a file of a store", name)
			}
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		f, err := d.fs.Open(fd)
		if err != nil {
			return err
		}
		err = d.file(fd, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if d.damaged {
		return errNo
	}
	return nil
}

func (d *dumper) file(fd vfs.FileDesc, f vfs.File) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	d.printf("%s: %d bytes\n", fd, size)
	switch fd.Type {
	case vfs.TypeTable:
		d.table(fd, f)
	case vfs.TypeManifest:
		d.records(f, size, d.edit)
	default:
		d.records(f, size, d.batch)
	}
	return nil
}

// records calls each with the records of a log, and says what lies between.
func (d *dumper) records(f vfs.File, size int64, each func(record []byte) error) {
	r := wal.NewReader(f, size)
	for {
		record, err := r.Next()
		if bad, ok := errors.AsType[*wal.BadRecordError](err); ok {
			d.damage(bad)
			if err = r.Resync(); err == nil {
				continue
			}
		}
		if err == io.EOF {
			return
		}
		if err == nil {
			d.printf("  at %d: ", r.Start())
			err = each(record)
		}
		if err != nil {
			d.printf("\n")
			d.damage(err)
			if record == nil {
				return
			}
		}
	}
}

func (d *dumper) batch(record []byte) error {
	seq, count, ok := batch.ReadHeader(record)
	if !ok {
		return base.Wrap(base.ErrCorruption, "no batch", nil)
	}
	if count == 0 {
		d.printf("sync marker, next is %d\n", seq)
		return nil
	}
	d.printf("batch of %d from %d\n", count, seq)
	for r := batch.MakeReader(record[batch.HeaderSize:]); ; seq++ {
		kind, key, value, ok := r.Next()
		if !ok {
			return r.Err()
		}
		if kind == base.KindRangeDelete {
			d.printf("    %d delete range %s to %s\n", seq, d.text(key), d.text(value))
			continue
		}
		d.entry(base.MakeInternalKey(key, seq, kind), value)
	}
}

func (d *dumper) entry(k base.InternalKey, value []byte) {
	switch k.Kind() {
	case base.KindDelete:
		d.printf("    %d delete %s\n", k.SeqNum(), d.text(k.UserKey))
	case base.KindPutExpiring:
		millis, user, _ := base.CutExpiry(value)
		d.printf("    %d put %s = %s, expires at %d\n", k.SeqNum(), d.text(k.UserKey), d.text(user), millis)
	default:
		d.printf("    %d put %s = %s\n", k.SeqNum(), d.text(k.UserKey), d.text(value))
	}
}

func (d *dumper) edit(record []byte) error {
	var e manifest.VersionEdit
	err := e.Decode(record)
	d.printf("edit\n")
	if len(e.Features) > 0 {
		d.printf("    features %s\n", strings.Join(e.Features, ", "))
	}
	if e.Has&manifest.HasComparer != 0 {
		d.printf("    comparer %s\n", e.Comparer)
	}
	for _, n := range []struct {
		field manifest.Fields
		name  string
		value uint64
	}{
		{manifest.HasLogNum, "log", e.LogNum}, {manifest.HasPrevLogNum, "previous log", e.PrevLogNum},
		{manifest.HasNextFileNum, "next file", e.NextFileNum}, {manifest.HasLastSeq, "last sequence number", uint64(e.LastSeq)},
	} {
		if e.Has&n.field != 0 {
			d.printf("    %s %d\n", n.name, n.value)
		}
	}
	for _, c := range e.CompactPointers {
		d.printf("    compact pointer of level %d: %s\n", c.Level, d.text(c.Key.UserKey))
	}
	for _, f := range e.Deleted {
		d.printf("    level %d loses table %d\n", f.Level, f.Num)
	}
	for _, n := range e.New {
		d.printf("    level %d gets table %d: %d bytes, %s to %s\n", n.Level, n.File.Num, n.File.Size,
			d.text(n.File.Smallest.UserKey), d.text(n.File.Largest.UserKey))
	}
	for _, seq := range e.DeletedRanges {
		d.printf("    range tombstone %d goes\n", seq)
	}
	for _, t := range e.NewRanges {
		d.printf("    range tombstone %d: %s to %s, made at %d, until %d\n", t.Seq, d.text(t.Start), d.text(t.End), t.Made, t.Until)
	}
	return err
}

func (d *dumper) table(fd vfs.FileDesc, f vfs.File) {
	lost, err := sst.Salvage(f, sst.ReaderOptions{Comparer: d.cmp, FileNum: fd.Num}, func(k base.InternalKey, value []byte) error {
		d.entry(k, value)
		return nil
	})
	if err != nil {
		d.damage(err)
	}
	for _, l := range lost {
		d.damage(fmt.Errorf("%d bytes at %d: %s", l.Bytes, l.Offset, l.Reason))
	}
}
