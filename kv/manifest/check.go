package manifest

import (
	"tempestkv/kv/base"
	"tempestkv/kv/vfs"
)

// Check is the current manifest at a moment, to be read from its file once more.
type Check struct {
	fd      vfs.FileDesc
	file    vfs.File
	end     int64
	opts    Options
	version *Version
}

// Check opens the manifest for Run, nil where an append failed and nobody knows
// what the file has. The caller keeps a reference to the current version until
// Close.
func (l *Log) Check() (*Check, error) {
	if l.failed {
		return nil, nil
	}
	f, err := l.fs.Open(l.fd)
	if err != nil {
		return nil, err
	}
	c := &Check{fd: l.fd, file: f, end: l.end, opts: l.opts, version: l.version}
	if l.w != nil {
		c.end = l.w.Offset()
	}
	c.opts.Obsolete = nil
	return c, nil
}

// Run reads the file and compares what it says with the version of that moment.
// It may be called from any goroutine. base.ErrCorruption where they differ.
func (c *Check) Run() error {
	l := newLog(nil, c.opts)
	l.fd = c.fd
	if err := l.replay(c.file, c.end); err != nil {
		if err == errNoSnapshot {
			err = base.Corruption(c.fd.String(), 0, "the first record is damaged")
		}
		return err
	}
	if l.torn != "" {
		return base.Corruption(c.fd.String(), l.end, "damaged behind it")
	}
	if !l.version.equal(c.version) {
		return base.Corruption(c.fd.String(), c.end, "says something else than is in memory")
	}
	return nil
}

// Close closes the file.
func (c *Check) Close() error { return c.file.Close() }

// equal reports whether v and w have the same tables and range tombstones.
func (v *Version) equal(w *Version) bool {
	for level := range NumLevels {
		if len(v.levels[level]) != len(w.levels[level]) {
			return false
		}
		for i, f := range v.levels[level] {
			if !f.same(w.levels[level][i]) {
				return false
			}
		}
	}
	if len(v.ranges) != len(w.ranges) {
		return false
	}
	for i, t := range v.ranges {
		u := w.ranges[i]
		if t.Seq != u.Seq || t.Made != u.Made || t.Until != u.Until ||
			string(t.Start) != string(u.Start) || string(t.End) != string(u.End) {
			return false
		}
	}
	return true
}
