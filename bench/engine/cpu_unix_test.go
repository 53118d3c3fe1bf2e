//go:build unix

package engine

import "syscall"

// cpuNanos returns the processor time that the process has used, in nanoseconds.
func cpuNanos() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
