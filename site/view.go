//go:build js && wasm

package main

import (
	"strconv"
	"syscall/js"

	"honnef.co/go/js/dom/v2"
)

// element gives the element with that id; the page has all that are asked for.
//
// This program makes dom's values itself and names their concrete types. dom's own look-ups compare an element with each
// of its seventy types at run time, and keep them all in the program: 400 kB of 980, compressed.
func element(id string) *dom.BasicHTMLElement {
	return wrap(js.Global().Get("document").Call("getElementById", id))
}

func wrap(value js.Value) *dom.BasicHTMLElement {
	return &dom.BasicHTMLElement{BasicElement: &dom.BasicElement{BasicNode: &dom.BasicNode{Value: value}}}
}

// input gives the input element with that id.
func input(id string) *dom.HTMLInputElement {
	return &dom.HTMLInputElement{BasicHTMLElement: element(id)}
}

// show shows or hides an element.
func show(e *dom.BasicHTMLElement, visible bool) {
	e.Set("hidden", !visible)
}

func setDisabled(e *dom.BasicHTMLElement, disabled bool) {
	e.Set("disabled", disabled)
}

// A row is one line of the results. Rows are made once and filled anew for each search, straight through syscall/js.
type row struct {
	item, open, remove                js.Value
	name, badge, land, coords, people js.Value
}

// A list is the results on show.
type list struct {
	element   *dom.BasicHTMLElement
	template  js.Value
	rows      []row
	records   []record
	active    int // the row that Tab reaches
	countries map[string]string
	names     js.Value // Intl.DisplayNames, or undefined
}

func newList() *list {
	l := &list{
		element:   element("list"),
		template:  element("row").Get("content").Get("firstElementChild"),
		countries: map[string]string{},
	}
	if intl := js.Global().Get("Intl"); intl.Truthy() && intl.Get("DisplayNames").Truthy() {
		l.names = intl.Get("DisplayNames").New("en", map[string]any{"type": "region"})
	}
	return l
}

// country gives a country's English name, or its code where the browser knows no name.
func (l *list) country(code string) string {
	if name, ok := l.countries[code]; ok {
		return name
	}
	name := code
	if l.names.Truthy() {
		if v, err := try(l.names, "of", code); err == nil && v.Type() == js.TypeString {
			name = v.String()
		}
	}
	l.countries[code] = name
	return name
}

// set shows these records, the first of which becomes the one that Tab reaches.
func (l *list) set(records []record) {
	l.records = l.records[:0]
	l.append(records)
	for _, r := range l.rows[len(records):] {
		r.item.Set("hidden", true)
	}
	l.activate(0)
	show(l.element, len(records) > 0)
}

// append shows more records after those on show.
func (l *list) append(records []record) {
	for _, record := range records {
		i := len(l.records)
		if i == len(l.rows) {
			l.grow()
		}
		l.records = append(l.records, record)
		l.fill(i)
	}
}

func (l *list) grow() {
	item := l.template.Call("cloneNode", true)
	part := func(selector string) js.Value { return item.Call("querySelector", selector) }
	item.Get("dataset").Set("index", len(l.rows))
	l.rows = append(l.rows, row{
		item: item, open: part(".open"), remove: part(".remove"),
		name: part(".name"), badge: part(".badge"), land: part(".land"), coords: part(".coords"), people: part(".people"),
	})
	l.element.Call("append", item)
}

func (l *list) fill(i int) {
	r, c := &l.rows[i], &l.records[i].city
	where := l.country(c.country)
	if c.region != "" {
		where = c.region + ", " + where
	}
	r.name.Set("textContent", c.name)
	r.land.Set("textContent", where)
	r.coords.Set("textContent", degrees(c.lat, "N", "S")+" "+degrees(c.lon, "E", "W"))
	r.badge.Set("hidden", !c.capital)
	if c.population > 0 {
		r.people.Set("textContent", group(c.population))
		r.people.Call("removeAttribute", "data-none")
	} else {
		r.people.Set("textContent", "unknown")
		r.people.Call("setAttribute", "data-none", "")
	}
	r.open.Set("ariaLabel", "Edit "+c.name+", "+where+", population "+r.people.Get("textContent").String())
	r.remove.Set("ariaLabel", "Delete "+c.name)
	r.item.Set("hidden", false)
}

// activate makes Tab reach row i and no other.
func (l *list) activate(i int) {
	setTab := func(i, tab int) {
		if i < len(l.rows) {
			l.rows[i].open.Set("tabIndex", tab)
			l.rows[i].remove.Set("tabIndex", tab)
		}
	}
	setTab(l.active, -1)
	l.active = i
	setTab(l.active, 0)
}

// focus moves the focus to row i, or to the nearest there is. It reports whether there is any.
func (l *list) focus(i int) bool {
	if len(l.records) == 0 {
		return false
	}
	i = min(max(i, 0), len(l.records)-1)
	l.activate(i)
	l.rows[i].open.Call("focus")
	return true
}

// indexOf gives the row of a key, or -1.
func (l *list) indexOf(key string) int {
	for i := range l.records {
		if l.records[i].key == key {
			return i
		}
	}
	return -1
}

// rowOf gives the row that an event's target lies in, or -1.
func (l *list) rowOf(target js.Value) int {
	item := target.Call("closest", "li[data-index]")
	if !item.Truthy() {
		return -1
	}
	i, err := strconv.Atoi(item.Get("dataset").Get("index").String())
	if err != nil || i >= len(l.records) {
		return -1
	}
	return i
}

func degrees(v float64, positive, negative string) string {
	if v < 0 {
		v, positive = -v, negative
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "° " + positive
}

// fillUnit writes a number and, smaller, its unit into the element with that id.
func fillUnit(id, number, unit string) {
	e := element(id)
	small := js.Global().Get("document").Call("createElement", "small")
	small.Set("textContent", unit)
	e.SetTextContent(number + " ")
	e.Call("append", small)
}
