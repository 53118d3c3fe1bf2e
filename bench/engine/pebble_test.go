//go:build !js

package engine

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func init() { contestants = append(contestants, contestant{"pebble", openPebble}) }

type pebbleStore struct {
	db    *pebble.DB
	batch *pebble.Batch
	value []byte
}

// silent keeps Pebble from telling of what it recovers.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) { panic("pebble: fatal error") }

func openPebble() (store, error) {
	o := &pebble.Options{
		FS:                    vfs.NewMem(),
		Logger:                silent{},
		FormatMajorVersion:    pebble.FormatNewest,
		CacheSize:             blockCacheBytes,
		MemTableSize:          memtableBytes,
		L0CompactionThreshold: level0Tables,
		LBaseMaxBytes:         level1Bytes,
	}
	o.TargetFileSizes[0] = tableBytes
	for i := range o.Levels {
		l := &o.Levels[i]
		l.BlockSize = blockBytes
		l.FilterPolicy = bloom.FilterPolicy(bitsPerKey)
		l.Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	db, err := pebble.Open("", o)
	if err != nil {
		return nil, err
	}
	return &pebbleStore{db: db, batch: db.NewBatch()}, nil
}

func (s *pebbleStore) put(key, value []byte) error { return s.db.Set(key, value, pebble.NoSync) }

func (s *pebbleStore) putBatch(keys, values [][]byte) error {
	s.batch.Reset()
	for i := range keys {
		if err := s.batch.Set(keys[i], values[i], nil); err != nil {
			return err
		}
	}
	return s.batch.Commit(pebble.NoSync)
}

// get copies the value, as the others' get does.
func (s *pebbleStore) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

func (s *pebbleStore) getMany(keys [][]byte, each func(int, []byte)) error {
	for i, key := range keys {
		v, err := s.get(key)
		if err != nil {
			return err
		}
		each(i, v)
	}
	return nil
}

func (s *pebbleStore) scan(each func(key, value []byte)) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		each(it.Key(), it.Value())
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *pebbleStore) settle() error {
	return errors.Join(s.db.Flush(), s.db.Compact(context.Background(), []byte{}, []byte{0xff, 0xff}, false))
}

func (s *pebbleStore) close() error { return errors.Join(s.batch.Close(), s.db.Close()) }
