package volume_test

import (
	"fmt"
	"strings"
	"testing"

	"tempestkv/kv/internal/formatdoc"
	"tempestkv/kv/vfs"
	"tempestkv/kv/volume/devicetest"
)

// dump returns n bytes of p from off as lines of 16, as docs/FORMAT.md has
// them.
func dump(p []byte, off, n int) string {
	var b strings.Builder
	for at := off; at < off+n; at += 16 {
		line := p[at:min(at+16, off+n)]
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, latin1(line))
		fmt.Fprintf(&b, "%06x  %-47s  %s\n", at, fmt.Sprintf("% x", line), text)
	}
	return b.String()
}

func latin1(p []byte) string {
	runes := make([]rune, len(p))
	for i, b := range p {
		runes[i] = rune(b)
	}
	return string(runes)
}

// TestTheExampleInTheDocs makes the volume that docs/FORMAT.md shows.
func TestTheExampleInTheDocs(t *testing.T) {
	dev := devicetest.New()
	v := openVolume(t, dev, nil)
	_, err := v.Create(log(1), 100_000)
	must(t, err)
	addTable(t, v, 2, "hello")
	must(t, v.Check(), v.Close())
	p := dev.Bytes()

	doc := formatdoc.Text(t)
	newer, older := slots(p)
	at, size := catalogAt(p, newer)
	for name, block := range map[string]string{
		"older superblock": dump(p, older*64<<10, 64),
		"newer superblock": dump(p, newer*64<<10, 64),
		"catalog":          dump(p, at, size),
		"table":            dump(p, 8*64<<10, 16),
	} {
		if !strings.Contains(doc, block) {
			t.Errorf("docs/FORMAT.md does not have the %s:\n%s", name, block)
		}
	}
	if size := fmt.Sprint(len(p), " bytes"); !strings.Contains(doc, size) {
		t.Errorf("docs/FORMAT.md does not say that the example has %s", size)
	}
}

// TestTheImageInTheDocs makes the image that docs/FORMAT.md shows.
func TestTheImageInTheDocs(t *testing.T) {
	p := imageOf(t, map[vfs.FileDesc][]byte{table(2): []byte("hello")})
	doc := formatdoc.Text(t)
	at, size := catalogAt(p, 0)
	for name, block := range map[string]string{
		"first superblock":  dump(p, 0, 64),
		"second superblock": dump(p, 64<<10, 64),
		"catalog":           dump(p, at, size),
		"seal":              dump(p, 4*64<<10, len(p)-4*64<<10),
	} {
		if !strings.Contains(doc, block) {
			t.Errorf("docs/FORMAT.md does not have the %s:\n%s", name, block)
		}
	}
	if size := fmt.Sprint(len(p), " bytes"); !strings.Contains(doc, size) {
		t.Errorf("docs/FORMAT.md does not say that the image has %s", size)
	}
}
