package engine

import "syscall/js"

// cpuNanos returns the processor time that Node has used, in nanoseconds.
func cpuNanos() int64 {
	u := js.Global().Get("process").Call("cpuUsage")
	return int64(u.Get("user").Float()+u.Get("system").Float()) * 1000
}
