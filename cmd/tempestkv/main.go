// Command tempestkv reads, checks, mends and fills stores: LevelDB folders and
// volume files.
package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"tempestkv/kv"
	"tempestkv/kv/base"
)

// Exit codes.
const (
	exitOK     = 0
	exitNo     = 1 // the answer is no: not found, problems, something was lost
	exitUsage  = 2
	exitFailed = 3
)

// errNo ends a command whose answer is no, and was told.
var errNo = errors.New("no")

const description = `Reads, checks, mends and fills stores.

A STORE is a folder, LevelDB's or ours, or a volume file, such as a browser's backup. A store that is to be made becomes a volume file where its name ends in ".tkv", else a folder. get, scan, stats, verify, dump, export and repair leave the store they read as it is.

Entries are lines of JSON, {"key":"a","value":"b"}; a key or value that is no UTF-8 is {"$bytes":"AQID"}, in base64, as in docs/NDJSON.md. Keys and values are the bytes of the store: what the package for browsers encodes, its namespaces say, is shown as it lies there.

Exit codes: 0 all is well; 1 the answer is no (get: not found, verify: problems, repair: something was lost); 2 wrong use; 3 failed.`

// cli is the command line.
type cli struct {
	Hex    bool `help:"Keys on the command line are in hexadecimal."`
	Suffix int  `help:"The store's keys end in a version of N bytes (base.FixedSuffix)." placeholder:"N" default:"0"`

	Get     getCmd     `cmd:"" help:"Print the value of a key, as it is."`
	Scan    scanCmd    `cmd:"" help:"Print entries in order, a line of JSON each."`
	Put     putCmd     `cmd:"" help:"Set the value of a key."`
	Delete  deleteCmd  `cmd:"" help:"Delete keys."`
	Load    loadCmd    `cmd:"" help:"Put the entries of a file."`
	Stats   statsCmd   `cmd:"" help:"Print figures, a name and a number a line."`
	Verify  verifyCmd  `cmd:"" help:"Read everything, check it, print the problems and figures."`
	Repair  repairCmd  `cmd:"" help:"Make a new store of what can be read of a damaged one."`
	Compact compactCmd `cmd:"" help:"Write all tables anew, without what was overwritten or deleted."`
	Export  exportCmd  `cmd:"" help:"Copy a store into a new folder that LevelDB opens."`
	Import  importCmd  `cmd:"" help:"Copy a store into a new one: a folder into a volume file, say."`
	Dump    dumpCmd    `cmd:"" help:"Print what the files of a store consist of."`
}

// env is what commands work with.
type env struct {
	in      io.Reader
	out     *bufio.Writer
	err     io.Writer
	now     func() int64 // milliseconds since 1970
	hex     bool
	options *kv.Options
}

// key returns the bytes of a key of the command line.
func (e *env) key(text string) ([]byte, error) {
	if !e.hex {
		return []byte(text), nil
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, usage("key %q: %v", text, err)
	}
	return b, nil
}

// usageError is a wrong use that the parser does not find.
type usageError struct{ text string }

func (u usageError) Error() string { return u.text }

func usage(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

func main() {
	e := &env{in: os.Stdin, err: os.Stderr, now: func() int64 { return time.Now().UnixMilli() }}
	os.Exit(run(os.Args[1:], e, os.Stdout))
}

// exited is what the parser panics with instead of leaving the program.
type exited int

// run carries a command line out and returns the exit code.
func run(args []string, e *env, out io.Writer) (code int) {
	e.out = bufio.NewWriter(out)
	defer func() {
		if x, ok := recover().(exited); ok {
			code = int(x)
		}
		if err := e.out.Flush(); err != nil && code == exitOK {
			fmt.Fprintln(e.err, "tempestkv:", err)
			code = exitFailed
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name("tempestkv"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(e.out, e.err), kong.Exit(func(code int) { panic(exited(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		fmt.Fprintln(e.err, "tempestkv:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(e.err, "tempestkv:", err)
		fmt.Fprintln(e.err, "Run \"tempestkv --help\" for the commands.")
		return exitUsage
	}
	if c.Suffix < 0 || c.Suffix > 255 {
		fmt.Fprintln(e.err, "tempestkv: --suffix is from 1 to 255")
		return exitUsage
	}
	e.hex = c.Hex
	e.options = &kv.Options{Now: e.now}
	if c.Suffix > 0 {
		e.options.Comparer = base.FixedSuffix(c.Suffix)
	}
	err = parsed.Run(e)
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &wrong):
		fmt.Fprintln(e.err, "tempestkv:", err)
		return exitUsage
	}
	fmt.Fprintln(e.err, "tempestkv:", strings.TrimPrefix(oneLine(err), "tempestkv: "))
	return exitFailed
}

// oneLine returns the text of an error that may be several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
