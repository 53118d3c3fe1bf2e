package osfile

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"tempestkv/kv/base"
)

func TestWrapSaysWhatToDo(t *testing.T) {
	for _, test := range []struct{ err, want error }{
		{&os.PathError{Err: syscall.ENOSPC}, base.ErrQuota},
		{&os.PathError{Err: syscall.EDQUOT}, base.ErrQuota},
		{&os.PathError{Err: syscall.EIO}, base.ErrIO},
		{os.ErrClosed, base.ErrClosed},
	} {
		if err := Wrap("x", test.err); !errors.Is(err, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%v becomes %v", test.err, err)
		}
	}
}
