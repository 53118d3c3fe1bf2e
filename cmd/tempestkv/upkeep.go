package main

import (
	"errors"
	"fmt"
	"strings"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/iterator"
)

// figure prints a name and a number.
func (e *env) figure(name string, value any) { fmt.Fprintf(e.out, "%-24s %v\n", name, value) }

type statsCmd struct {
	Store string `arg:"" help:"Folder or volume file."`
}

func (c *statsCmd) Run(e *env) error {
	return e.read(c.Store, func(db *kv.DB) error {
		s, err := db.Stats(nil)
		if err != nil {
			return err
		}
		e.figure("sequence number", s.Sequence)
		e.figure("logs", s.Logs)
		e.figure("log bytes", s.LogBytes)
		for level, l := range s.Levels {
			if l.Tables > 0 {
				e.figure(fmt.Sprintf("level %d tables", level), l.Tables)
				e.figure(fmt.Sprintf("level %d bytes", level), l.Bytes)
			}
		}
		return nil
	})
}

type verifyCmd struct {
	Store string `arg:"" help:"Folder or volume file."`
}

func (c *verifyCmd) Run(e *env) error {
	var report kv.VerifyReport
	err := e.read(c.Store, func(db *kv.DB) (err error) {
		report, err = db.Verify(nil)
		return err
	})
	if errors.Is(err, kv.ErrCorruption) {
		// It is so damaged that it does not open.
		report.Problems = append(report.Problems, oneLine(err))
		err = nil
	}
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Fprintln(e.out, "problem:", p)
	}
	e.figure("problems", len(report.Problems))
	e.figure("tables", report.Tables)
	e.figure("table bytes", report.TableBytes)
	e.figure("table entries", report.Entries)
	e.figure("tombstones", report.Tombstones)
	e.figure("values that expire", report.Expiring)
	e.figure("range tombstones", report.RangeTombstones)
	e.figure("logs", report.Logs)
	e.figure("log bytes", report.LogBytes)
	e.figure("log operations", report.LogOperations)
	if len(report.Problems) > 0 {
		return errNo
	}
	return nil
}

type repairCmd struct {
	Store string `arg:"" help:"The damaged store, which stays as it is."`
	New   string `arg:"" help:"The new store; there must be none."`
}

func (c *repairCmd) Run(e *env) error {
	from, err := openToRead(c.Store)
	if err != nil {
		return err
	}
	to, err := openNew(c.New)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	report, err := kv.Repair(from.fs, to.fs, e.options)
	if err := errors.Join(err, from.Close(), to.Close()); err != nil {
		return err
	}
	if from.damage != nil {
		report.Lost = append(report.Lost, kv.Loss{File: "volume", Reason: oneLine(from.damage) + "; the newest catalog that is whole counts"})
	}
	for _, l := range report.Lost {
		fmt.Fprintln(e.out, "lost:", l)
	}
	if report.Manifest == "" {
		report.Manifest = "none"
	}
	e.figure("manifest", report.Manifest)
	e.figure("tables read", report.Tables)
	e.figure("logs read", report.Logs)
	e.figure("sequence number", report.Sequence)
	e.figure("entries", report.Entries)
	if len(report.Lost) > 0 {
		return errNo
	}
	return nil
}

type compactCmd struct {
	Store string `arg:"" help:"Folder or volume file."`
}

func (c *compactCmd) Run(e *env) error {
	return e.change(c.Store, func(db *kv.DB) error { return db.Compact(nil, iterator.Bounds{}) })
}

type exportCmd struct {
	Store      string `arg:"" help:"Folder or volume file."`
	Folder     string `arg:"" help:"The new folder; there must be no store in it."`
	DropExpiry bool   `help:"Let values that expire stay for ever. LevelDB knows none, so without this the export is refused where there are some."`
}

func (c *exportCmd) Run(e *env) error {
	if strings.HasSuffix(c.Folder, volumeSuffix) {
		return usage("%s is the name of a volume file, and LevelDB opens folders; \"import\" copies into one", c.Folder)
	}
	err := e.copy(c.Store, c.Folder, &kv.CopyOptions{LevelDB: true, DropExpiry: c.DropExpiry})
	if errors.Is(err, base.ErrNotSupported) && !c.DropExpiry && e.options.Comparer == nil {
		err = fmt.Errorf("%w (--drop-expiry lets them stay for ever)", err)
	}
	return err
}

type importCmd struct {
	From string `arg:"" help:"Folder, LevelDB's say, or volume file."`
	New  string `arg:"" help:"The new store; there must be none."`
}

func (c *importCmd) Run(e *env) error { return e.copy(c.From, c.New, nil) }

// copy copies a store into a new one.
func (e *env) copy(from, path string, opts *kv.CopyOptions) error {
	return e.read(from, func(db *kv.DB) error {
		to, err := openNew(path)
		if err != nil {
			return err
		}
		report, err := db.Copy(nil, to.fs, opts)
		if err := errors.Join(err, to.Close()); err != nil {
			return err
		}
		e.figure("entries", report.Entries)
		e.figure("tables", report.Tables)
		e.figure("bytes", report.Bytes)
		if opts != nil && opts.DropExpiry {
			e.figure("without their expiry", report.Dropped)
		}
		return nil
	})
}
