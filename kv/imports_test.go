package kv_test

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says what each room may import of ours; nothing else. They point down
// only (docs/ARCHITECTURE.md).
var arrows = map[string][]string{
	"kv":                    {"kv/base", "kv/batch", "kv/iterator", "kv/manifest", "kv/memtable", "kv/rangedel", "kv/sst", "kv/vfs", "kv/wal"},
	"kv/base":               {},
	"kv/batch":              {"kv/base"},
	"kv/internal/formatdoc": {},
	"kv/internal/osfile":    {"kv/base"},
	"kv/iterator":           {"kv/base"},
	"kv/iterator/itertest":  {"kv/base", "kv/iterator"},
	"kv/manifest":           {"kv/base", "kv/iterator", "kv/rangedel", "kv/vfs", "kv/wal"},
	"kv/memtable":           {"kv/base", "kv/iterator"},
	"kv/rangedel":           {"kv/base"},
	"kv/sst":                {"kv/base", "kv/iterator"},
	"kv/vfs":                {"kv/base"},
	"kv/vfs/errorfs":        {"kv/base", "kv/vfs"},
	"kv/vfs/osfs":           {"kv/base", "kv/internal/osfile", "kv/vfs"},
	"kv/vfs/vfstest":        {"kv/base", "kv/vfs"},
	"kv/volume":             {"kv/base", "kv/vfs"},
	"kv/volume/devicetest":  {"kv/base", "kv/volume"},
	"kv/wal":                {"kv/base"},
	"kv/volume/filedevice":  {"kv/base", "kv/internal/osfile", "kv/volume"},
	"wasm":                  {"kv", "kv/base", "kv/iterator", "kv/volume"},
	"workers":               {"workers/api", "workers/frames", "workers/object"},
	"workers/api":           {"kv/base", "kv/batch", "kv/iterator", "workers/frames"},
	"workers/doortest":      {"kv", "kv/base", "kv/batch", "kv/iterator", "kv/vfs", "workers/api", "workers/frames", "workers/object"},
	"workers/frames":        {},
	"workers/object":        {"kv/base", "kv/batch", "kv/iterator", "workers/api", "workers/frames"},
	"site":                  {},
	"cmd/tempestkv":         {"kv", "kv/base", "kv/batch", "kv/iterator", "kv/manifest", "kv/sst", "kv/vfs", "kv/vfs/osfs", "kv/volume", "kv/volume/filedevice", "kv/wal"},
	"interop":               {"kv", "kv/base", "kv/batch", "kv/iterator", "kv/manifest", "kv/memtable", "kv/sst", "kv/vfs", "kv/vfs/osfs", "kv/wal"},
}

// foreign says who alone may import a package from outside, or of the standard
// library. What the engine imports, every page downloads.
var foreign = map[string][]string{
	"github.com/alecthomas/kong":           {"cmd/tempestkv"},
	"github.com/gofrs/flock":               {"kv/vfs/osfs", "kv/volume/filedevice"},
	"github.com/golang/snappy":             {"kv/sst"},
	"github.com/google/btree":              {"kv/memtable"},
	"github.com/syumai/workers":            {"workers"},
	"github.com/syumai/workers/cloudflare": {"workers"},
	"honnef.co/go/js/dom/v2":               {"site"},
	"pgregory.net/rapid":                   {"kv/iterator/itertest"},
	"syscall/js":                           {"site", "workers"},
	"context":                              {"workers", "workers/api", "workers/doortest", "workers/object"},
	"fmt":                                  {"kv/iterator/itertest", "kv/vfs/vfstest", "site", "interop", "cmd/tempestkv"},
	"os":                                   {"kv/internal/formatdoc", "kv/internal/osfile", "kv/vfs/osfs", "interop", "cmd/tempestkv", "kv/volume/filedevice"},
	"log":                                  {},
	"encoding/json":                        {"site", "interop", "workers/api", "cmd/tempestkv"},
	"net/http":                             {"workers/api"},
	"reflect":                              {},
	"testing":                              {"kv/internal/formatdoc", "kv/vfs/vfstest", "workers/doortest"},
	"time":                                 {"site", "workers/api", "cmd/tempestkv"},
}

func TestArrowsPointDownOnly(t *testing.T) {
	files := 0
	walkGo(t, func(dir, path string) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		files++
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s: a room that arrows does not know", dir)
		}
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(name, "tempestkv/"); ok {
				if !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s", path, name)
				}
			} else if who, ok := foreign[name]; ok && !slices.Contains(who, dir) {
				t.Errorf("%s imports %s", path, name)
			} else if !ok && strings.Contains(name, ".") {
				t.Errorf("%s imports %s, which no room is known to need", path, name)
			}
		}
	})
	if files < 20 {
		t.Error("only", files, "files were looked at")
	}
}

// TestWasmFilesAreTagged keeps `go build ./...` and `go vet` working natively.
func TestWasmFilesAreTagged(t *testing.T) {
	files := 0
	walkGo(t, func(dir, path string) {
		if dir != "wasm" && dir != "site" && dir != "workers" || strings.HasSuffix(path, "main_other.go") {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, b, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		needs := false
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			needs = needs || name == "syscall/js" || strings.HasPrefix(name, "honnef.co/") || strings.HasPrefix(name, "github.com/syumai/")
		}
		needs = needs || strings.Contains(string(b), "\n//go:wasm")
		line, _, _ := strings.Cut(string(b), "\n")
		expr, err := constraint.Parse(line)
		if needs && (err != nil || expr.String() != "js && wasm") {
			t.Errorf("%s does not begin with //go:build js && wasm", path)
		}
	})
	if files < 4 {
		t.Error("only", files, "files were looked at")
	}
}

// walkGo calls f with every Go file that is no test, and its folder, both
// relative to the module.
func walkGo(t *testing.T, f func(dir, path string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "build" || strings.HasPrefix(d.Name(), ".") && path != "..") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			dir, _ := filepath.Rel("..", filepath.Dir(path))
			f(filepath.ToSlash(dir), path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
