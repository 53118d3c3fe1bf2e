package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/vfs"
)

// What all stores are configured with. It is what TempestKV and goleveldb have
// by default, but for goleveldb's bloom filter.
const (
	memtableBytes   = 4 << 20
	blockBytes      = 4 << 10
	blockCacheBytes = 8 << 20
	tableBytes      = 2 << 20
	level1Bytes     = 10 << 20
	level0Tables    = 4
	bitsPerKey      = 10
)

// store is what a benchmark does with a contestant. Values read are valid until
// the next call.
type store interface {
	put(key, value []byte) error
	// putBatch writes rows all or nothing.
	putBatch(keys, values [][]byte) error
	get(key []byte) ([]byte, error)
	// getMany is the best way to read several keys.
	getMany(keys [][]byte, each func(i int, value []byte)) error
	// scan visits all rows in order.
	scan(each func(key, value []byte)) error
	// settle brings everything into tables, and these into their final level.
	settle() error
	close() error
}

type contestant struct {
	name string
	open func() (store, error)
}

var contestants = []contestant{
	{"goleveldb", openGoleveldb},
	{"tempestkv", openTempest},
}

type tempest struct {
	db    *kv.DB
	batch batch.Batch
}

func openTempest() (store, error) {
	db, err := kv.Open(vfs.NewMem(), &kv.Options{
		MemtableBytes:   memtableBytes,
		BlockBytes:      blockBytes,
		BlockCacheBytes: blockCacheBytes,
		TableBytes:      tableBytes,
		Level1Bytes:     level1Bytes,
		// As the bridge does it where files answer at once.
		ReadInPlace: isWasm,
	})
	return &tempest{db: db}, err
}

func (s *tempest) put(key, value []byte) error {
	_, err := s.db.Put(nil, key, value, nil)
	return err
}

func (s *tempest) putBatch(keys, values [][]byte) error {
	s.batch.Reset()
	for i := range keys {
		if err := s.batch.Put(keys[i], values[i]); err != nil {
			return err
		}
	}
	_, err := s.db.Apply(nil, &s.batch, nil)
	return err
}

func (s *tempest) get(key []byte) ([]byte, error) { return s.db.Get(nil, key) }

func (s *tempest) getMany(keys [][]byte, each func(int, []byte)) error {
	values, err := s.db.GetMany(nil, keys)
	for i, v := range values {
		each(i, v)
	}
	return err
}

func (s *tempest) scan(each func(key, value []byte)) error {
	scan, err := s.db.Scan(nil, nil)
	if err != nil {
		return err
	}
	defer scan.Close()
	for scan.Next() {
		each(scan.Key(), scan.Value())
	}
	return scan.Error()
}

func (s *tempest) settle() error {
	if err := s.db.Flush(nil); err != nil {
		return err
	}
	return s.db.Compact(nil, everything)
}

func (s *tempest) close() error { return s.db.Close() }

type goleveldb struct {
	db    *leveldb.DB
	batch leveldb.Batch
}

func openGoleveldb() (store, error) {
	db, err := leveldb.Open(storage.NewMemStorage(), &opt.Options{
		WriteBuffer:         memtableBytes,
		BlockSize:           blockBytes,
		BlockCacheCapacity:  blockCacheBytes,
		CompactionTableSize: tableBytes,
		CompactionTotalSize: level1Bytes,
		CompactionL0Trigger: level0Tables,
		Filter:              filter.NewBloomFilter(bitsPerKey),
		Compression:         opt.SnappyCompression,
	})
	return &goleveldb{db: db}, err
}

func (s *goleveldb) put(key, value []byte) error { return s.db.Put(key, value, nil) }

func (s *goleveldb) putBatch(keys, values [][]byte) error {
	s.batch.Reset()
	for i := range keys {
		s.batch.Put(keys[i], values[i])
	}
	return s.db.Write(&s.batch, nil)
}

func (s *goleveldb) get(key []byte) ([]byte, error) { return s.db.Get(key, nil) }

func (s *goleveldb) getMany(keys [][]byte, each func(int, []byte)) error {
	for i, key := range keys {
		v, err := s.db.Get(key, nil)
		if err != nil {
			return err
		}
		each(i, v)
	}
	return nil
}

func (s *goleveldb) scan(each func(key, value []byte)) error {
	it := s.db.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		each(it.Key(), it.Value())
	}
	return it.Error()
}

func (s *goleveldb) settle() error { return s.db.CompactRange(util.Range{}) }

func (s *goleveldb) close() error { return s.db.Close() }

// TestContestants does with every contestant what the benchmarks do, and
// compares what it reads with what it wrote.
func TestContestants(t *testing.T) {
	keys, values := rows(20_000)
	for _, c := range contestants {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.open()
			if err != nil {
				t.Fatal(err)
			}
			if err := load(s, keys, values); err != nil {
				t.Fatal(err)
			}
			if err := s.put(keys[0], values[1]); err != nil {
				t.Fatal(err)
			}
			if err := s.settle(); err != nil {
				t.Fatal(err)
			}
			want := bytes.Clone(values[1])
			for i, key := range keys {
				v, err := s.get(key)
				if err != nil || !bytes.Equal(v, want) {
					t.Fatalf("get of row %d: %x, %v", i, v, err)
				}
				if i+1 < len(keys) {
					want = values[i+1]
				}
			}
			if err := checkScan(s, len(keys)); err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

var errRows = errors.New("not the rows that were written")
