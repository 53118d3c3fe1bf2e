package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"unicode/utf8"

	"tempestkv/kv/base"
	"tempestkv/kv/batch"
)

// batchForm is the body of a batch.
type batchForm struct {
	Operations []operationForm `json:"operations"`
	If         []conditionForm `json:"if"`
}

type operationForm struct {
	Type string `json:"type"`

	// Of put and delete.
	Key keyForm `json:"key"`

	// Of put: one of them.
	Value  json.RawMessage `json:"value"`
	Text   *textForm       `json:"text"`
	Base64 *[]byte         `json:"base64"`

	// Of put: seconds.
	TTL json.Number `json:"ttl"`

	// Of clear.
	GT     keyForm `json:"gt"`
	GTE    keyForm `json:"gte"`
	LT     keyForm `json:"lt"`
	LTE    keyForm `json:"lte"`
	Prefix keyForm `json:"prefix"`
}

// conditionForm asks that a key is of a version, or, null, missing.
type conditionForm struct {
	Key   keyForm         `json:"key"`
	Match json.RawMessage `json:"match"`
}

// batch answers POST of a batch.
func (c *call) batch() error {
	media, _, err := mime.ParseMediaType(headerOf(c.r, "Content-Type"))
	if err != nil || media != mediaJSON {
		return fault(http.StatusUnsupportedMediaType, codeMediaType, "a batch is "+mediaJSON)
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	var form batchForm
	if err := decodeStrictly(body, &form); err != nil {
		return err
	}
	var b batch.Batch
	for i, o := range form.Operations {
		if err := c.addOperation(&b, &o); err != nil {
			p := problemOf(err)
			return fault(p.Status, p.Code, "operation "+strconv.Itoa(i)+": "+p.Detail)
		}
	}
	if b.Empty() {
		return malformed("a batch has operations")
	}
	seq, err := c.commit(&b, func() (*Condition, error) { return c.condition(form.If) })
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", mediaJSON)
	c.w.WriteHeader(http.StatusOK)
	c.w.Write([]byte(`{"sequence":` + strconv.FormatUint(seq, 10) + "}\n"))
	return nil
}

// decodeStrictly reads one JSON document in which nothing is unknown.
func decodeStrictly(body []byte, v any) error {
	if !utf8.Valid(body) {
		return malformed("the body is no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var p *problem
		if errors.As(err, &p) {
			return p
		}
		return malformed("the body is no batch: " + err.Error())
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("there is more behind the JSON document")
	}
	return nil
}

// addOperation adds what o says to b.
func (h *Handler) addOperation(b *batch.Batch, o *operationForm) error {
	isRange := o.GT != nil || o.GTE != nil || o.LT != nil || o.LTE != nil || o.Prefix != nil
	values := 0
	for _, given := range []bool{o.Value != nil, o.Text != nil, o.Base64 != nil} {
		if given {
			values++
		}
	}
	switch o.Type {
	case "put":
		if o.Key == nil || values != 1 || isRange {
			return malformed("a put has a key and one of value, text and base64")
		}
		expires, err := h.expiry(string(o.TTL))
		if err != nil {
			return err
		}
		if expires != 0 {
			return b.PutExpiring(o.Key, o.value(), expires)
		}
		return b.Put(o.Key, o.value())
	case "delete":
		if o.Key == nil || values != 0 || o.TTL != "" || isRange {
			return malformed("a delete has a key and nothing else")
		}
		return b.Delete(o.Key)
	case "clear":
		if o.Key != nil || values != 0 || o.TTL != "" {
			return malformed("a clear has bounds and nothing else")
		}
		start, end, err := o.interval()
		if err != nil {
			return err
		}
		return b.DeleteRange(start, end)
	}
	return malformed("an operation's type is put, delete or clear")
}

// value returns the bytes of the one value that is given.
func (o *operationForm) value() []byte {
	switch {
	case o.Text != nil:
		return []byte(*o.Text)
	case o.Base64 != nil:
		return *o.Base64
	}
	return o.Value
}

// interval returns the range of a clear as a first key and the one behind the
// last.
func (o *operationForm) interval() (start, end []byte, err error) {
	r, err := makeBounds(o.GT, o.GTE, o.LT, o.LTE, o.Prefix)
	if err != nil {
		return nil, nil, err
	}
	start, end = r.Lower, r.Upper
	if r.LowerExclusive {
		start = append(start, 0)
	}
	switch {
	case end == nil:
		end = []byte(base.ReservedPrefix)
	case r.UpperInclusive:
		end = append(end, 0)
	}
	return start, end, nil
}

// condition looks up what the batch asks for. nil where it asks for nothing.
func (c *call) condition(forms []conditionForm) (*Condition, error) {
	if len(forms) == 0 {
		return nil, nil
	}
	if len(forms) > MaxConditions {
		return nil, malformed("a batch has at most " + strconv.Itoa(MaxConditions) + " conditions")
	}
	keys := make([][]byte, len(forms))
	wanted := make([]uint64, len(forms))
	for i, f := range forms {
		if f.Key == nil || f.Match == nil {
			return nil, malformed("a condition has a key and match, which is a version or null")
		}
		keys[i] = f.Key
		if string(f.Match) == "null" {
			continue
		}
		version, err := strconv.ParseUint(string(f.Match), 10, 64)
		if err != nil || version == 0 {
			return nil, malformed("match is the number of an ETag, or null")
		}
		wanted[i] = version
	}
	moment, versions, err := c.store.Versions(c.r.Context(), keys)
	if err != nil {
		return nil, err
	}
	for i, version := range versions {
		if version != wanted[i] {
			return nil, conflict("condition " + strconv.Itoa(i) + " does not hold")
		}
	}
	return &Condition{Since: moment, Keys: keys}, nil
}
