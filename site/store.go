//go:build js && wasm

package main

import (
	"strings"
	"syscall/js"
)

const (
	// storeName is the name of the store in this origin.
	storeName = "cities"
	// lockWaitMillis is how long opening waits for another tab: long enough for a page that is being reloaded to let
	// go, short enough for somebody who looks on.
	lockWaitMillis = 2500
)

// A store is the package's handle, for the calls this page makes.
type store struct {
	db js.Value
}

// openStore opens the store in the storage of that name, and tells how many milliseconds that took.
func openStore(api js.Value, storage string) (s *store, millis float64, err error) {
	start := now()
	r := <-call(api, "open", storeName, map[string]any{"storage": storage, "lockWaitMillis": lockWaitMillis})
	if r.err != nil {
		return nil, 0, r.err
	}
	return &store{db: r.value}, r.at - start, nil
}

// kind names what the data is kept in, such as "opfs".
func (s *store) kind() string {
	if kind := s.db.Get("storage"); kind.Type() == js.TypeString {
		return kind.String()
	}
	return ""
}

// scan reads the keys, or the values where these are strings, of a range. It tells how many milliseconds the store
// took. The strings come over as one: a call for each would take longer than the scan.
func (s *store) scan(options map[string]any, what string) (strs []string, millis float64, err error) {
	start := now()
	rows, err := try(s.db, "scan", options)
	if err != nil {
		return nil, 0, err
	}
	r := <-call(rows.Call(what), "toArray")
	if r.err != nil || r.value.Length() == 0 {
		return nil, r.at - start, r.err
	}
	return strings.Split(r.value.Call("join", "\n").String(), "\n"), r.at - start, nil
}

// get reads the value of one key; it is undefined where there is none.
func (s *store) get(key string) (js.Value, error) {
	return await(s.db, "get", key)
}

// cities reads the records under the keys. Keys that are gone are left out.
func (s *store) cities(keys []string) (records []record, millis float64, err error) {
	list := make([]any, len(keys))
	for i, key := range keys {
		list[i] = key
	}
	start := now()
	r := <-call(s.db, "getMany", list)
	if r.err != nil {
		return nil, 0, r.err
	}
	records = make([]record, 0, len(keys))
	for i, key := range keys {
		if value := r.value.Index(i); value.Type() == js.TypeObject {
			records = append(records, record{city: cityOf(value), key: key})
		}
	}
	return records, r.at - start, nil
}

// batch starts a batch; what it resolves to is not used.
func (s *store) batch(operations any) <-chan result {
	return call(s.db, "batch", operations)
}

func (s *store) close() error {
	_, err := await(s.db, "close")
	return err
}

// A record is a city and the key it is under.
type record struct {
	city
	key string
}

// newRecord puts the city under the key that is right for it.
func newRecord(c city) *record {
	return &record{city: c, key: c.key(foldedName(decompose(c.name)))}
}

// change returns the operations that turn one record into another, its entries in the index of larger cities
// included. A nil record is one that is not there. One batch carries them all, so no crash leaves a part.
func change(before, after *record) []any {
	var operations []any
	drop := func(key string) {
		operations = append(operations, map[string]any{"type": "delete", "key": key})
	}
	put := func(key string, value any) {
		operations = append(operations, map[string]any{"type": "put", "key": key, "value": value})
	}
	if before != nil {
		drop(before.key)
		if top := before.topKey(); top != "" {
			drop(top)
		}
	}
	// A put after a delete of the same key ends as written.
	if after != nil {
		put(after.key, after.object())
		if top := after.topKey(); top != "" {
			put(top, after.key)
		}
	}
	return operations
}

// object is the city as it is stored.
func (c *city) object() map[string]any {
	object := map[string]any{
		"name": c.name, "country": c.country, "population": c.population, "lat": c.lat, "lon": c.lon, "id": c.id,
	}
	if c.region != "" {
		object["region"] = c.region
	}
	if c.capital {
		object["capital"] = true
	}
	return object
}

func cityOf(object js.Value) city {
	text := func(name string) string {
		if v := object.Get(name); v.Type() == js.TypeString {
			return v.String()
		}
		return ""
	}
	number := func(name string) float64 {
		if v := object.Get(name); v.Type() == js.TypeNumber {
			return v.Float()
		}
		return 0
	}
	return city{
		id: text("id"), name: text("name"), country: text("country"), region: text("region"),
		population: int(number("population")), lat: number("lat"), lon: number("lon"),
		capital: object.Get("capital").Truthy(),
	}
}

// decompose brings text into the form that fold takes.
func decompose(text string) string {
	return js.Global().Get("String").New(text).Call("normalize", "NFKD").String()
}
