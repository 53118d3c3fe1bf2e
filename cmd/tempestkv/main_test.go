package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestCommands runs the command lines of testdata. The commands of the files:
//
//	run       a command line in the first line, its standard input in the rest
//	flip      file=F at=N: flips a bit
//	remove    file=F
//	write     file=F, and what to write
//	files     dir=D: the names of the files, logs of goleveldb's kind aside
//
// Names are in a folder of the test. The clock stands at 1,000,000.
func TestCommands(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		dir := t.TempDir()
		t.Chdir(dir)
		datadriven.RunTest(t, filepath.Join(root, path), func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "run":
				line, input, _ := strings.Cut(d.Input, "\n")
				return command(strings.Fields(line), input)
			case "flip":
				var name, at string
				d.ScanArgs(t, "file", &name)
				d.ScanArgs(t, "at", &at)
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				n, err := strconv.Atoi(at)
				if err != nil {
					t.Fatal(err)
				}
				b[n] ^= 1
				write(t, name, b)
			case "remove":
				var name string
				d.ScanArgs(t, "file", &name)
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			case "write":
				var name string
				d.ScanArgs(t, "file", &name)
				write(t, name, []byte(d.Input))
			case "files":
				var name string
				d.ScanArgs(t, "dir", &name)
				entries, err := os.ReadDir(name)
				if err != nil {
					t.Fatal(err)
				}
				var out strings.Builder
				for _, e := range entries {
					fmt.Fprintln(&out, e.Name())
				}
				return out.String()
			default:
				t.Fatal("no such command:", d.Cmd)
			}
			return ""
		})
	})
}

var root, _ = os.Getwd()

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a command line and returns what it printed and its exit code.
func command(args []string, input string) string {
	var out bytes.Buffer
	e := &env{in: strings.NewReader(input), err: &out, now: func() int64 { return 1_000_000 }}
	code := run(args, e, &out)
	text := out.String()
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + fmt.Sprintln("exit", code)
}

// TestCommandsThatReadChangeNothing compares the bytes of stores before and
// after.
func TestCommandsThatReadChangeNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, store := range []string{"folder", "file.tkv"} {
		for i := range 50 {
			if out := command([]string{"put", store, fmt.Sprint("key ", i), strings.Repeat("v", 100)}, ""); out != "exit 0\n" {
				t.Fatal(out)
			}
		}
		before := contents(t, store)
		for i, line := range []string{"get STORE key", "scan STORE", "stats STORE", "verify STORE", "dump STORE", "repair STORE new", "export STORE out", "import STORE in.tkv"} {
			args := strings.Fields(strings.ReplaceAll(line, "STORE", store))
			if i >= 5 {
				args[2] = store + args[2]
			}
			if out := command(args, ""); strings.HasSuffix(out, "exit 3\n") || strings.HasSuffix(out, "exit 2\n") {
				t.Error(line, out)
			}
			if contents(t, store) != before {
				t.Fatal(line, "changed the store")
			}
		}
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %q\n", path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
