package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"tempestkv/kv"
	"tempestkv/kv/base"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
	"tempestkv/kv/sst"
	"tempestkv/kv/vfs/osfs"
)

// store is a folder opened with the engine itself.
type store struct {
	fs *osfs.FS
	db *kv.DB
}

// openStore opens a folder with options that make many small tables.
func openStore(dir string, p plan) (*store, error) {
	fs, err := osfs.Open(dir)
	if err != nil {
		return nil, err
	}
	o := &kv.Options{MemtableBytes: 64 << 10, TableBytes: 16 << 10, Level1Bytes: 64 << 10, BlockBytes: p.BlockBytes}
	if p.Uncompressed {
		o.Compression = sst.NoCompression
	}
	db, err := kv.Open(fs, o)
	if err != nil {
		return nil, errors.Join(err, fs.Close())
	}
	return &store{fs, db}, nil
}

func (s *store) close() error { return errors.Join(s.db.Close(), s.fs.Close()) }

// shape returns what the store consists of.
func (s *store) shape() (shape, error) {
	stats, err := s.db.Stats(nil)
	sh := shape{Logs: stats.Logs}
	for _, l := range stats.Levels {
		sh.Tables = append(sh.Tables, l.Tables)
	}
	return sh, err
}

// print prints the shape and the entries.
func (s *store) print(out *bufio.Writer, entries func(yield func(key, value []byte) error) error) error {
	sh, err := s.shape()
	if err == nil {
		err = printShape(out, sh)
	}
	if err != nil {
		return err
	}
	return entries(func(key, value []byte) error { return printEntry(out, key, value) })
}

// scan calls each with all entries, in order, and compares them with what a scan
// backwards and gets find.
func (s *store) scan(each func(key, value []byte) error) error {
	var keys [][]byte
	it, err := s.db.Scan(nil, nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.Next() {
		keys = append(keys, bytes.Clone(it.Key()))
		got, err := s.db.Get(nil, it.Key())
		if err != nil || !bytes.Equal(got, it.Value()) {
			return fmt.Errorf("get %x: %x, %v", it.Key(), got, err)
		}
		if err := each(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	back, err := s.db.Scan(nil, &kv.ScanOptions{Reverse: true, KeysOnly: true})
	if err != nil {
		return err
	}
	defer back.Close()
	for back.Next() {
		if len(keys) == 0 || !bytes.Equal(back.Key(), keys[len(keys)-1]) {
			return fmt.Errorf("backwards comes %x", back.Key())
		}
		keys = keys[:len(keys)-1]
	}
	if len(keys) > 0 {
		return fmt.Errorf("backwards %d keys are missing", len(keys))
	}
	return back.Error()
}

// verify fails where the store has a problem.
func (s *store) verify() error {
	report, err := s.db.Verify(nil)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("problems: %q", report.Problems)
	}
	return err
}

// readStore prints what the engine finds in a folder.
func readStore(dir string, out *bufio.Writer) error {
	s, err := openStore(dir, plan{})
	if err != nil {
		return err
	}
	err = s.verify()
	if err == nil {
		err = s.print(out, s.scan)
	}
	return errors.Join(err, s.close())
}

// writeStore makes the plan come true with the engine, in a new folder or on in
// an old one.
func writeStore(dir string, p plan, out *bufio.Writer) error {
	s, err := openStore(dir, p)
	if err != nil {
		return err
	}
	return errors.Join(s.write(p, out), s.close())
}

func (s *store) write(p plan, out *bufio.Writer) error {
	model := map[string]string{}
	err := s.scan(func(key, value []byte) error {
		model[string(key)] = string(value)
		return nil
	})
	if err != nil {
		return err
	}
	random := &writer{rng: rand.New(rand.NewPCG(p.Seed, 2))}
	keys := make([][]byte, p.Keys)
	for i := range keys {
		keys[i] = random.key()
	}
	var snapshot *kv.Snapshot
	for done := 0; done < p.Ops; {
		var b batch.Batch
		for range 1 + random.rng.IntN(3)*random.rng.IntN(12) {
			key := keys[random.rng.IntN(len(keys))]
			if random.rng.IntN(4) == 0 {
				err = b.Delete(key)
				delete(model, string(key))
			} else {
				value := random.value()
				err = b.Put(key, value)
				model[string(key)] = string(value)
			}
			if err != nil {
				return err
			}
			done++
		}
		if _, err := s.db.Apply(nil, &b, &kv.WriteOptions{Strict: random.rng.IntN(20) == 0}); err != nil {
			return err
		}
		switch random.rng.IntN(max(1, p.Ops/20)) {
		case 0:
			err = s.db.Flush(nil)
		case 1:
			lower := keys[random.rng.IntN(len(keys))]
			err = s.db.Compact(nil, iterator.Bounds{Lower: lower})
		case 2:
			// What a snapshot sees stays in the tables.
			if snapshot != nil {
				err = snapshot.Close()
			}
			if err == nil {
				snapshot, err = s.db.Snapshot(nil)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := s.verify(); err != nil {
		return err
	}
	return s.print(out, func(yield func(key, value []byte) error) error {
		for _, key := range slices.Sorted(maps.Keys(model)) {
			if err := yield([]byte(key), []byte(model[key])); err != nil {
				return err
			}
		}
		return nil
	})
}

// exportStore copies a folder, through the engine, into a new one for LevelDB,
// with a range cleared and values that expire among what it has by then.
func exportStore(from, to string, out *bufio.Writer) error {
	s, err := openStore(from, plan{})
	if err != nil {
		return err
	}
	err = s.export(to)
	if err == nil {
		err = s.print(out, s.scan)
	}
	return errors.Join(err, s.close())
}

func (s *store) export(to string) error {
	var b batch.Batch
	err := errors.Join(
		b.DeleteRange([]byte("long "), []byte("long longer")),
		b.PutExpiring([]byte("a value that expires"), []byte("one day"), 1<<60),
	)
	if err != nil {
		return err
	}
	if _, err := s.db.Apply(nil, &b, nil); err != nil {
		return err
	}
	dst, err := osfs.Open(to)
	if err != nil {
		return err
	}
	_, err = s.db.Copy(nil, dst, &kv.CopyOptions{LevelDB: true})
	if !errors.Is(err, base.ErrNotSupported) {
		return fmt.Errorf("values that expire: %v", err)
	}
	_, err = s.db.Copy(nil, dst, &kv.CopyOptions{LevelDB: true, DropExpiry: true})
	return errors.Join(err, dst.Close())
}
