package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"tempestkv/kv"
	"tempestkv/kv/batch"
	"tempestkv/kv/iterator"
)

// text is bytes as a line of JSON has them.
type text []byte

// tagged is text that is no UTF-8.
type tagged struct {
	Bytes *string `json:"$bytes"`
}

func (t text) MarshalJSON() ([]byte, error) {
	var v any = string(t)
	if !utf8.Valid(t) {
		b := base64.StdEncoding.EncodeToString(t)
		v = tagged{&b}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var v tagged
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || v.Bytes == nil {
		return errors.New(`neither a string nor {"$bytes":"..."}`)
	}
	decoded, err := base64.StdEncoding.DecodeString(*v.Bytes)
	*t = decoded
	return err
}

// entry is a line.
type entry struct {
	Key   *text `json:"key"`
	Value *text `json:"value,omitempty"`
}

// line writes a value of JSON and a newline.
func (e *env) line(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

type getCmd struct {
	Store string `arg:"" help:"Folder or volume file."`
	Key   string `arg:""`
}

func (c *getCmd) Run(e *env) error {
	key, err := e.key(c.Key)
	if err != nil {
		return err
	}
	return e.read(c.Store, func(db *kv.DB) error {
		value, err := db.Get(nil, key)
		if err == kv.ErrNotFound {
			fmt.Fprintln(e.err, "tempestkv: not found")
			return errNo
		}
		if err == nil {
			_, err = e.out.Write(value)
		}
		return err
	})
}

type scanCmd struct {
	Store   string  `arg:"" help:"Folder or volume file."`
	Gte     *string `help:"First key." placeholder:"KEY"`
	Gt      *string `help:"Key before the first one." placeholder:"KEY"`
	Lte     *string `help:"Last key." placeholder:"KEY"`
	Lt      *string `help:"Key behind the last one." placeholder:"KEY"`
	Prefix  *string `help:"What the keys begin with, instead of bounds." placeholder:"KEY"`
	Reverse bool    `help:"Largest key first."`
	Limit   int     `help:"Most entries, 0 for all." default:"0"`
	Keys    bool    `help:"Leave the values out."`
	Count   bool    `help:"Print only how many there are."`
}

// bounds returns the bounds of the flags.
func (c *scanCmd) bounds(e *env) (b iterator.Bounds, err error) {
	get := func(text *string) []byte {
		if text == nil || err != nil {
			return nil
		}
		var key []byte
		key, err = e.key(*text)
		if key == nil {
			key = []byte{}
		}
		return key
	}
	if c.Gte != nil && c.Gt != nil || c.Lte != nil && c.Lt != nil ||
		c.Prefix != nil && (c.Gte != nil || c.Gt != nil || c.Lte != nil || c.Lt != nil) {
		return b, usage("two bounds for one end")
	}
	b.Lower, b.Upper, b.UpperInclusive = get(c.Gte), get(c.Lt), false
	if c.Gt != nil {
		b.Lower, b.LowerExclusive = get(c.Gt), true
	}
	if c.Lte != nil {
		b.Upper, b.UpperInclusive = get(c.Lte), true
	}
	if c.Prefix != nil {
		b.Lower = get(c.Prefix)
		b.Upper = successor(b.Lower)
	}
	return b, err
}

// successor returns the first key behind all that begin with prefix, nil where
// there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			next := bytes.Clone(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}

func (c *scanCmd) Run(e *env) error {
	b, err := c.bounds(e)
	if err != nil {
		return err
	}
	return e.read(c.Store, func(db *kv.DB) error {
		s, err := db.Scan(nil, &kv.ScanOptions{Bounds: b, Reverse: c.Reverse, Limit: c.Limit, KeysOnly: c.Keys || c.Count})
		if err != nil {
			return err
		}
		defer s.Close()
		count := 0
		for s.Next() {
			count++
			if c.Count {
				continue
			}
			key, value := text(s.Key()), text(s.Value())
			line := entry{Key: &key}
			if !c.Keys {
				line.Value = &value
			}
			if err := e.line(line); err != nil {
				return err
			}
		}
		if err := s.Error(); err != nil {
			return err
		}
		if c.Count {
			_, err = fmt.Fprintln(e.out, count)
		}
		return err
	})
}

type putCmd struct {
	Store string  `arg:"" help:"Folder or volume file; made where there is none."`
	Key   string  `arg:""`
	Value *string `arg:"" optional:"" help:"The value; without it, what comes on the standard input."`
	TTL   uint64  `name:"ttl" help:"Milliseconds from now on until the value is gone." placeholder:"MS"`
}

func (c *putCmd) Run(e *env) error {
	key, err := e.key(c.Key)
	if err != nil {
		return err
	}
	var value []byte
	if c.Value != nil {
		value = []byte(*c.Value)
	} else if value, err = io.ReadAll(e.in); err != nil {
		return err
	}
	var b batch.Batch
	if c.TTL > 0 {
		err = b.PutExpiring(key, value, uint64(e.now())+c.TTL)
	} else {
		err = b.Put(key, value)
	}
	if err != nil {
		return err
	}
	return e.write(c.Store, func(db *kv.DB) error {
		_, err := db.Apply(nil, &b, &kv.WriteOptions{Strict: true})
		return err
	})
}

type deleteCmd struct {
	Store string   `arg:"" help:"Folder or volume file."`
	Keys  []string `arg:""`
}

func (c *deleteCmd) Run(e *env) error {
	var b batch.Batch
	for _, k := range c.Keys {
		key, err := e.key(k)
		if err == nil {
			err = b.Delete(key)
		}
		if err != nil {
			return err
		}
	}
	return e.change(c.Store, func(db *kv.DB) error {
		_, err := db.Apply(nil, &b, &kv.WriteOptions{Strict: true})
		return err
	})
}

type loadCmd struct {
	Store  string `arg:"" help:"Folder or volume file; made where there is none."`
	File   string `arg:"" optional:"" default:"-" help:"The entries; - is the standard input."`
	Format string `enum:"ndjson,tsv" default:"ndjson" help:"ndjson: lines of JSON as scan prints them. tsv: key, tabulator, value; as they are."`
}

// batchBytes is how large the batches of load get, about.
const batchBytes = 1 << 20

func (c *loadCmd) Run(e *env) error {
	in := e.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return e.write(c.Store, func(db *kv.DB) error {
		count, err := c.load(db, bufio.NewReaderSize(in, 64<<10))
		if err != nil {
			return fmt.Errorf("after %d entries: %w", count, err)
		}
		_, err = fmt.Fprintln(e.out, count, "entries")
		return err
	})
}

// load puts the entries in batches, and returns how many are there.
func (c *loadCmd) load(db *kv.DB, in *bufio.Reader) (count uint64, err error) {
	var b batch.Batch
	apply := func() error {
		if b.Empty() {
			return nil
		}
		_, err := db.Apply(nil, &b, nil)
		if err == nil {
			count += uint64(b.Count())
			b.Reset()
		}
		return err
	}
	for number := 1; ; number++ {
		line, end := in.ReadBytes('\n')
		if end != nil && end != io.EOF {
			return count, end
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(bytes.TrimSpace(line)) > 0 {
			key, value, err := c.parse(line)
			if err == nil && b.Len()+len(key)+len(value) > batchBytes {
				err = apply()
			}
			if err == nil {
				err = b.Put(key, value)
			}
			if err != nil {
				return count, fmt.Errorf("line %d: %w", number, err)
			}
		}
		if end == io.EOF {
			return count, apply()
		}
	}
}

func (c *loadCmd) parse(line []byte) (key, value []byte, err error) {
	if c.Format == "tsv" {
		key, value, found := bytes.Cut(line, []byte("\t"))
		if !found {
			return nil, nil, errors.New("no tabulator")
		}
		return key, value, nil
	}
	var v entry
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, nil, err
	}
	if v.Key == nil || v.Value == nil {
		return nil, nil, errors.New("no object with key and value")
	}
	return *v.Key, *v.Value, nil
}
