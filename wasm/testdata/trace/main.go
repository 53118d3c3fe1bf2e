// A program that needs all of what the runtime knows of functions: stacks that
// grow with pointers in them, collections in between, deferred calls, recovered
// panics, generic and inlined functions. Then it panics, so that there is a
// trace.
package main

import (
	"errors"
	"runtime"
	"slices"
)

type node struct {
	next *node
	data []byte
}

//go:noinline
func grow(depth int, list *node) (sum int) {
	defer func() { sum += depth & 1 }()
	var pad [512]byte
	own := &node{list, make([]byte, depth)}
	if depth == 0 {
		runtime.GC()
		for n := list; n != nil; n = n.next {
			sum += len(n.data)
		}
		return sum
	}
	pad[depth%512] = 1
	return grow(depth-1, own) + int(pad[depth%512]) + len(own.data) - depth
}

//go:noinline
func recovered(list []int, i int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = p.(error)
		}
	}()
	println(list[i])
	return nil
}

func inlined(n int) int { return crash(n) + 1 }

//go:noinline
func crash(n int) int {
	if n > 0 {
		panic("as asked")
	}
	return n
}

func largest[T int | string](list ...T) T {
	slices.Sort(list)
	return list[len(list)-1]
}

func main() {
	done := make(chan int)
	for range 4 {
		go func() { done <- grow(2000, nil) }()
	}
	for range 4 {
		println("sum", <-done)
	}
	var bounds runtime.Error
	println("recovered", errors.As(recovered(nil, 3), &bounds), bounds.Error())
	println("largest", largest(3, 7, 5), largest("a", "c", "b"))
	println(inlined(1))
}
