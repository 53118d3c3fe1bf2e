// Command interop reads and writes LevelDB folders with the packages of the
// engine (tables, manifest, logs), and with the engine itself. The tests beside it let LevelDB itself read
// what it writes, and it read what LevelDB writes.
//
//	interop write DIR PLAN    random writes as the plan says, in a new folder or on in an old one
//	interop read DIR [BLOCK]  everything in the folder, which it leaves as it is
//
//	interop store write DIR PLAN  the same with the engine itself, which decides when to flush and compact
//	interop store read DIR        everything in the folder, opened and verified by the engine
//	interop store export DIR NEW  a copy for LevelDB, after some writes that it would not know
//
// The plan is JSON: see plan. With a block size, read also writes each table
// once more, without compression, and compares the bytes.
//
// Both print JSON, a value a line: what the folder consists of, then each live
// entry, [key, value] in hexadecimal, in order. write prints what must be
// there, from a map that it kept; it does not read it back.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := run(os.Args[1:], out)
	if err = errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out *bufio.Writer) error {
	if len(args) > 2 && args[0] == "store" {
		return runStore(args[1:], out)
	}
	if len(args) == 3 && args[0] == "write" {
		var p plan
		if err := json.Unmarshal([]byte(args[2]), &p); err != nil {
			return err
		}
		return write(args[1], p, out)
	}
	if len(args) == 2 && args[0] == "read" {
		return read(args[1], 0, out)
	}
	if len(args) == 3 && args[0] == "read" {
		blockBytes, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return read(args[1], blockBytes, out)
	}
	return errors.New("usage: interop write DIR PLAN | read DIR [BLOCK] | store write DIR PLAN | store read DIR | store export DIR NEW")
}

func runStore(args []string, out *bufio.Writer) error {
	switch {
	case args[0] == "write" && len(args) == 3:
		var p plan
		if err := json.Unmarshal([]byte(args[2]), &p); err != nil {
			return err
		}
		return writeStore(args[1], p, out)
	case args[0] == "read" && len(args) == 2:
		return readStore(args[1], out)
	case args[0] == "export" && len(args) == 3:
		return exportStore(args[1], args[2], out)
	}
	return errors.New("usage: interop store write DIR PLAN | store read DIR | store export DIR NEW")
}

// shape is what a folder consists of.
type shape struct {
	Manifest string `json:"manifest"`
	Tables   []int  `json:"tables"` // count by level
	Logs     int    `json:"logs"`   // that are in no table yet

	// What read counts: versions, tombstones among them.
	Versions int `json:"versions"` // in tables and logs
	Pending  int `json:"pending"`  // in logs
}

func printShape(out *bufio.Writer, s shape) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

func printEntry(out *bufio.Writer, key, value []byte) error {
	_, err := fmt.Fprintf(out, "[%q,%q]\n", hex.EncodeToString(key), hex.EncodeToString(value))
	return err
}
