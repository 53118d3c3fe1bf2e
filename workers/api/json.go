package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// keyForm is a key as JSON: text, or {"base64": …} where it is no UTF-8.
type keyForm []byte

var _ json.Unmarshaler = (*keyForm)(nil)

// UnmarshalJSON reads either form.
func (k *keyForm) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		var t textForm
		if err := t.UnmarshalJSON(b); err != nil {
			return err
		}
		*k = append(keyForm{}, t...)
		return nil
	}
	var form struct {
		Base64 *[]byte `json:"base64"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&form); err != nil || form.Base64 == nil {
		return malformed(`a key is text, or {"base64": "…"}`)
	}
	*k = append(keyForm{}, *form.Base64...)
	return nil
}

// textForm is a string of JSON that stands for the same text: no half of a
// surrogate pair, which encoding/json would replace.
type textForm string

var _ json.Unmarshaler = (*textForm)(nil)

// UnmarshalJSON reads a string.
func (t *textForm) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		return malformed("text is a string")
	}
	if hasLoneSurrogate(b) {
		return malformed("half of a surrogate pair is no text")
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*t = textForm(s)
	return nil
}

// hasLoneSurrogate looks through a well-formed string of JSON, quotes and all.
func hasLoneSurrogate(b []byte) bool {
	unit := func(i int) uint64 { // the code unit that \uXXXX at i stands for, 0 for none
		if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
			return 0
		}
		v, _ := strconv.ParseUint(string(b[i+2:i+6]), 16, 16)
		return v
	}
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		switch v := unit(i); {
		case 0xd800 <= v && v < 0xdc00:
			if next := unit(i + 6); next < 0xdc00 || next > 0xdfff {
				return true
			}
			i += 11
		case 0xdc00 <= v && v < 0xe000:
			return true
		default:
			i++ // what is escaped is no escape
		}
	}
	return false
}

// valuesForm says how rows show their values.
type valuesForm uint8

const (
	// valuesJSON: documents as they are, other bytes as base64.
	valuesJSON valuesForm = iota
	valuesBase64
	valuesNone
)

// valuesForms has the forms by name.
var valuesForms = map[string]valuesForm{"": valuesJSON, "json": valuesJSON, "base64": valuesBase64, "none": valuesNone}

// appendKey appends a key as JSON.
func appendKey(dst, key []byte) []byte {
	if !utf8.Valid(key) {
		dst = append(dst, `{"base64":`...)
		dst = appendJSON(dst, key)
		return append(dst, '}')
	}
	return appendJSON(dst, string(key))
}

// appendValue appends the members of an object that show a value, with a comma
// before them: value or base64.
func appendValue(dst, value []byte, form valuesForm) []byte {
	if form == valuesNone {
		return dst
	}
	if form == valuesJSON && utf8.Valid(value) {
		// Compacted, since a line of NDJSON is one line.
		out := bytes.NewBuffer(append(dst, `,"value":`...))
		if json.Compact(out, value) == nil {
			return out.Bytes()
		}
	}
	return appendJSON(append(dst, `,"base64":`...), value)
}

// appendRow appends a row as an object.
func appendRow(dst []byte, row Row, form valuesForm) []byte {
	dst = appendKey(append(dst, `{"key":`...), row.Key)
	return append(appendValue(dst, row.Value, form), '}')
}

// appendJSON appends text, or bytes as base64. Neither can fail.
func appendJSON[T string | []byte](dst []byte, v T) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}
