package errorfs_test

import (
	"errors"
	"slices"
	"testing"

	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/errorfs"
	"tempestkv/kv/vfs/vfstest"
)

var errInjected = errors.New("injected")

func TestWithoutAFaultItIsTheInnerFS(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FS { return errorfs.Wrap(vfs.NewMem()) })
}

// work makes one operation of each kind and returns which of them failed.
func work(fs vfs.FS) (failed []errorfs.Op) {
	note := func(op errorfs.Op, err error) {
		if err != nil {
			failed = append(failed, op)
		}
	}
	fd := vfs.FileDesc{Type: vfs.TypeLog, Num: 1}
	f, err := fs.Create(fd, 0)
	note(errorfs.OpCreate, err)
	if err == nil {
		note(errorfs.OpAppend, f.Append([]byte("abcdefgh")))
		note(errorfs.OpSync, f.Sync())
		_, err = f.ReadAt(make([]byte, 1), 0)
		note(errorfs.OpReadAt, err)
		_, err = f.Size()
		note(errorfs.OpSize, err)
	}
	_, err = fs.Open(fd)
	note(errorfs.OpOpen, err)
	_, err = fs.Reopen(fd, 0)
	note(errorfs.OpReopen, err)
	_, err = fs.List()
	note(errorfs.OpList, err)
	m := vfs.FileDesc{Type: vfs.TypeManifest, Num: 2}
	_, err = fs.Create(m, 0)
	note(errorfs.OpCreate, err)
	note(errorfs.OpSetCurrent, fs.(vfs.CurrentSetter).SetCurrent(m))
	_, err = fs.(vfs.CurrentSetter).Current()
	note(errorfs.OpCurrent, err)
	note(errorfs.OpRemove, fs.Remove(fd))
	return failed
}

func TestEachOperationFailsInTurn(t *testing.T) {
	order := []errorfs.Op{
		errorfs.OpCreate, errorfs.OpAppend, errorfs.OpSync, errorfs.OpReadAt, errorfs.OpSize, errorfs.OpOpen,
		errorfs.OpReopen, errorfs.OpList, errorfs.OpCreate, errorfs.OpSetCurrent, errorfs.OpCurrent, errorfs.OpRemove,
	}
	for i, op := range order {
		fs := errorfs.Wrap(vfs.NewMem())
		fs.Inject(errorfs.Fault{Index: i, Err: errInjected})
		failed := work(fs)
		if len(failed) == 0 || failed[0] != op || fs.Hits() != 1 {
			t.Errorf("fault %d: %v failed, %d hits, want %v", i, failed, fs.Hits(), op)
		}
		fs.Inject(errorfs.Fault{Ops: op, Err: errInjected})
		if failed := work(fs); !slices.Contains(failed, op) {
			t.Errorf("fault of kind %v: %v failed", op, failed)
		}
	}
	fs := errorfs.Wrap(vfs.NewMem())
	fs.Inject(errorfs.Fault{Index: len(order), Err: errInjected})
	if failed := work(fs); len(failed) != 0 || fs.Count() != len(order) || fs.Hits() != 0 {
		t.Errorf("a fault behind the end: %v failed, %d operations", failed, fs.Count())
	}
}

func TestALastingFaultFailsTheRest(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem())
	fs.Inject(errorfs.Fault{Index: 3, Err: errInjected, Lasting: true})
	if failed := work(fs); len(failed) != 9 || fs.Hits() != 9 {
		t.Errorf("%v failed, %d hits", failed, fs.Hits())
	}
}

func TestAShortAppendWritesHalf(t *testing.T) {
	for _, short := range []bool{false, true} {
		fs := errorfs.Wrap(vfs.NewMem())
		fs.Inject(errorfs.Fault{Ops: errorfs.OpAppend, Err: errInjected, ShortAppend: short})
		f, err := fs.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Append([]byte("abcdefgh")); err != errInjected {
			t.Fatalf("Append: %v", err)
		}
		want := int64(0)
		if short {
			want = 4
		}
		if size, err := f.Size(); size != want || err != nil {
			t.Errorf("short %t: %d bytes, %v", short, size, err)
		}
	}
}
