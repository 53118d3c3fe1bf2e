//go:build js && wasm

package main

import (
	"strconv"
	"strings"
	"syscall/js"

	"honnef.co/go/js/dom/v2"
)

const (
	// pageRows is how many records are shown at once; "Show more" adds as many.
	pageRows = 30
	// topRows is how many of the largest cities the first view goes through.
	topRows = 300
	// sweepKeys is how many keys a step of the sweep reads; searches run between steps.
	sweepKeys = 16_384
)

// An app is the page's program. Its tasks run one after another (see [queue]); handlers read what they need and post.
type app struct {
	tasks   *queue
	api     js.Value // the package: { open, destroy }
	storage string   // what to keep the store in
	db      *store   // nil while no store is open
	list    *list
	atlas   *atlas

	records int // cities in the store, as far as counted
	sweep   int // number of the last sweep; a step of an earlier one ends itself
	swept   int // number of the last sweep that came to its end

	query   string   // what the search field holds
	queued  bool     // whether a search for it waits
	answer  []string // keys found, those on show first
	undo    func()   // takes back the last change; nil where there is none
	editing *record  // the record in the dialog
	speech  int      // number of the last announcement asked for

	input *dom.HTMLInputElement
}

func newApp(api js.Value) *app {
	return &app{
		tasks:   newQueue(),
		api:     api,
		storage: "opfs",
		list:    newList(),
		atlas:   newAtlas(),
		input:   input("query"),
	}
}

// start opens the store, loads what it lacks, and makes the page ready.
func (a *app) start() {
	show(element("error"), false)
	show(element("gone"), false)
	a.busy("Opening the store", "Starting the engine", 0, 0)
	db, millis, err := openStore(a.api, a.storage)
	if err != nil {
		a.fail(err)
		return
	}
	a.db = db
	fillDuration("tile-open", millis)
	a.tellStorage()
	p, err := db.progress()
	if err != nil {
		a.fail(err)
		return
	}
	if p.complete() {
		a.ready(p)
		a.startSweep()
		return
	}
	if err := a.load(p); err != nil {
		a.fail(err)
	}
}

// load fetches the data set and stores what is missing of it.
func (a *app) load(p progress) error {
	a.records = 0
	a.atlas.reset()
	a.busy("Fetching the cities", "", 0, 0)
	a.announce("Loading the cities of the world")
	text, err := fetchText("cities.tsv", func(bytes, total int) {
		a.busy("Fetching the cities", size(float64(bytes))+" of "+size(float64(total)), bytes, total)
	})
	if err != nil {
		return err
	}
	title := "Storing the cities"
	if p.rows > 0 {
		title = "Going on where the last load stopped, at " + group(p.rows)
	}
	start, from := now(), p.rows
	p, err = a.db.load(text, p, func(p progress, records []record) {
		for i := range records {
			if place, ok := parseKey(records[i].key); ok {
				a.atlas.add(place)
			}
		}
		a.records = p.rows
		a.tellRecords()
		rate := group(perSecond(p.rows-from, now()-start)) + " records a second"
		a.busy(title, group(p.rows)+" of "+group(p.total)+"  ·  "+rate, p.rows, p.total)
	})
	if err != nil {
		return err
	}
	a.announce(count(p.total, "city", "cities") + " loaded in " + duration(p.millis))
	a.ready(p)
	if from > 0 {
		a.startSweep() // the map lacks what was there before
	}
	return nil
}

// ready opens the page's controls and shows the largest cities.
func (a *app) ready(p progress) {
	a.tellRecords()
	fillUnit("tile-load", group(perSecond(p.rows, p.millis)), "rows/s")
	show(element("busy"), false)
	show(element("manage"), true)
	show(element("keys"), true)
	setDisabled(a.input.BasicHTMLElement, false)
	if nothingFocused() && !coarsePointer() {
		a.input.Focus()
	}
	a.tellStorage()
	a.search()
}

// startSweep reads all cities' keys, in steps, to put them on the map and count them.
func (a *app) startSweep() {
	a.sweep++
	a.atlas.reset()
	number := a.sweep
	a.records = 0
	var step func(after string)
	step = func(after string) {
		if number != a.sweep || a.db == nil {
			return
		}
		keys, _, err := a.db.scan(citiesAfter(after), "keys")
		if err != nil {
			a.fail(err)
			return
		}
		for _, key := range keys {
			if place, ok := parseKey(key); ok {
				a.atlas.add(place)
			}
		}
		a.records += len(keys)
		a.tellRecords()
		if len(keys) < sweepKeys {
			a.swept = number
			return
		}
		last := keys[len(keys)-1]
		a.tasks.post(func() { step(last) })
	}
	a.tasks.post(func() { step(cityPrefix) })
}

// citiesAfter is the options of a scan over the next sweepKeys cities after a key.
func citiesAfter(key string) map[string]any {
	return map[string]any{"prefix": cityPrefix, "gt": key, "limit": sweepKeys}
}

// ask has the search field's text searched for, once, when the tasks before it are done.
func (a *app) ask() {
	a.query = a.input.Value()
	if !a.queued {
		a.queued = true
		a.tasks.post(a.search)
	}
}

// search answers the query: a scan of keys tells how many cities there are, how large and where; the records of the
// largest are read and shown.
func (a *app) search() {
	a.queued = false
	if a.db == nil {
		return
	}
	folded := fold(decompose(a.query))
	element("code-prefix").SetTextContent(folded)
	var title, detail string
	var millis float64
	if folded == "" {
		keys, scanned, err := a.db.scan(map[string]any{"prefix": topPrefix, "limit": topRows}, "values")
		if err != nil {
			a.fail(err)
			return
		}
		a.answer, millis = keys, scanned
		title = "The largest cities"
		detail = count(len(keys), "index entry", "index entries") + " in " + duration(scanned)
		a.atlas.find(nil)
	} else {
		keys, scanned, err := a.db.scan(map[string]any{"prefix": cityPrefix + folded}, "keys")
		if err != nil {
			a.fail(err)
			return
		}
		all := largestFirst(keys)
		a.answer = a.answer[:0]
		for _, r := range all {
			a.answer = append(a.answer, r.key)
		}
		millis = scanned
		title = count(len(all), "begins", "begin") + " with “" + strings.TrimSpace(a.query) + "”"
		if len(all) == 0 {
			title = "None begins with “" + strings.TrimSpace(a.query) + "”"
		}
		detail = count(len(all), "key", "keys") + " in " + duration(scanned)
		a.atlas.find(all)
	}
	records, read, err := a.db.cities(a.answer[:min(pageRows, len(a.answer))])
	if err != nil {
		a.fail(err)
		return
	}
	if len(records) > 0 {
		millis += read
		detail += ", " + count(len(records), "record", "records") + " in " + duration(read)
	}
	a.list.set(records)
	a.atlas.hide()
	show(element("more"), len(a.answer) > len(records))
	element("answer-count").SetTextContent(title)
	element("answer-time").SetTextContent(duration(millis))
	element("answer-detail").SetTextContent(detail)
	show(element("answer"), true)
	a.announceLater(title + ", " + duration(millis))
}

// more shows the next records of the answer and moves the focus to the first of them.
func (a *app) more() {
	from := len(a.list.records)
	end := min(from+pageRows, len(a.answer))
	if a.db == nil || from >= end {
		return
	}
	records, _, err := a.db.cities(a.answer[from:end])
	if err != nil {
		a.fail(err)
		return
	}
	a.list.append(records)
	show(element("more"), len(a.answer) > end)
	a.list.focus(from)
}

// commit changes a record, and everything on the page that tells of it.
func (a *app) commit(before, after *record) error {
	if a.db == nil {
		return nil
	}
	if r := <-a.db.batch(change(before, after)); r.err != nil {
		return r.err
	}
	if before != nil {
		a.records--
		if place, ok := parseKey(before.key); ok {
			a.atlas.remove(place)
		}
	}
	if after != nil {
		a.records++
		if place, ok := parseKey(after.key); ok {
			a.atlas.add(place)
		}
	}
	if a.sweep != a.swept {
		a.startSweep() // the one under way may have passed the record already, or not
	}
	a.tellRecords()
	a.tellStorage()
	more := len(a.list.records)
	a.search()
	for len(a.list.records) < min(more, len(a.answer)) {
		shown := len(a.list.records)
		if a.more(); len(a.list.records) == shown {
			break
		}
	}
	return nil
}

// save stores what the dialog holds.
func (a *app) save() {
	before, after := a.editing, newRecord(a.form())
	if before == nil {
		return
	}
	if err := a.commit(before, after); err != nil {
		element("edit-error").SetTextContent(errorMessage(err))
		return
	}
	a.closeDialog("edit")
	a.offerUndo("Saved "+after.name, after, before)
	a.focusRecord(after.key, 0)
}

// remove deletes a record; the row after it gets the focus.
func (a *app) remove(r record, index int) {
	a.closeDialog("edit")
	if err := a.commit(&r, nil); err != nil {
		a.fail(err)
		return
	}
	a.offerUndo("Deleted "+r.name, nil, &r)
	a.focusRecord("", index)
}

// focusRecord moves the focus to the row of the key, else to the row given, else to the search field.
func (a *app) focusRecord(key string, index int) {
	if i := a.list.indexOf(key); i >= 0 {
		index = i
	}
	if !a.list.focus(index) {
		a.input.Focus()
	}
}

// offerUndo says what was done and lets it be taken back, until something else is done.
func (a *app) offerUndo(text string, from, to *record) {
	a.undo = func() {
		a.undo = nil
		show(element("toast"), false)
		if err := a.commit(from, to); err != nil {
			a.fail(err)
			return
		}
		a.focusRecord(to.key, 0)
		a.announce("Undone")
	}
	show(element("toast"), true)
	element("toast-text").SetTextContent(text)
}

// edit opens the dialog on a record.
func (a *app) edit(r record) {
	a.editing = &r
	set := func(id, value string) { input(id).SetValue(value) }
	set("edit-name", r.name)
	set("edit-country", r.country)
	set("edit-population", strconv.Itoa(r.population))
	set("edit-lat", strconv.FormatFloat(r.lat, 'f', -1, 64))
	set("edit-lon", strconv.FormatFloat(r.lon, 'f', -1, 64))
	element("edit-error").SetTextContent("")
	a.previewKey()
	a.openDialog("edit")
	element("edit-name").Call("select")
}

// form reads the dialog's fields, which the browser has checked.
func (a *app) form() city {
	c := a.editing.city
	get := func(id string) string { return strings.TrimSpace(input(id).Value()) }
	number := func(id string) float64 {
		v, _ := strconv.ParseFloat(get(id), 64) // an empty field is 0 until it is filled
		return v
	}
	c.name = get("edit-name")
	if code := strings.ToUpper(get("edit-country")); code != c.country {
		c.country, c.region = code, ""
	}
	c.population = int(number("edit-population"))
	c.lat, c.lon = number("edit-lat"), number("edit-lon")
	return c
}

// previewKey shows the key that the record will be under, and the country's name.
func (a *app) previewKey() {
	if a.editing == nil {
		return
	}
	r := newRecord(a.form())
	name := ""
	if len(r.country) == 2 {
		name = a.list.country(r.country)
	}
	element("edit-country-name").SetTextContent(name)
	element("edit-key").SetTextContent(r.key)
}

// deleteStore closes the store and deletes its file.
func (a *app) deleteStore() {
	a.closeDialog("confirm")
	a.closeStore()
	a.busy("Deleting the store", "", 0, 0)
	if _, err := await(a.api, "destroy", storeName, map[string]any{"storage": a.storage}); err != nil {
		a.fail(err)
		return
	}
	show(element("busy"), false)
	a.records = 0
	a.atlas.reset()
	a.tellRecords()
	for _, id := range []string{"tile-load", "tile-open"} {
		element(id).SetTextContent("–")
	}
	a.tellStorage()
	show(element("gone"), true)
	element("gone-load").Focus()
	a.announce("The store is deleted")
}

// closeStore closes the store and the controls that need it. An error in closing changes nothing for the page.
func (a *app) closeStore() {
	if a.db != nil {
		a.db.close()
		a.db = nil
	}
	a.sweep++ // ends the one under way
	a.swept, a.undo, a.answer = a.sweep, nil, nil
	a.list.set(nil)
	a.atlas.find(nil)
	a.atlas.hide()
	for _, id := range []string{"answer", "more", "keys", "manage", "toast"} {
		show(element(id), false)
	}
	a.input.SetValue("")
	a.query = ""
	element("code-prefix").SetTextContent("")
	element("storage").SetTextContent("not open")
	setDisabled(a.input.BasicHTMLElement, true)
}

// fail tells what went wrong and what can be done about it.
func (a *app) fail(err error) {
	a.closeDialog("edit")
	a.closeDialog("confirm")
	a.closeStore()
	show(element("busy"), false)
	code, message := errorCode(err), errorMessage(err)
	title, text := explain(code)
	element("error-title").SetTextContent(title)
	element("error-text").SetTextContent(text)
	if code != "" {
		message = code + ": " + message
	}
	element("error-code").SetTextContent(message)
	show(element("error-retry"), true)
	show(element("error-memory"), code == "TEMPEST_NOT_SUPPORTED")
	show(element("error-reset"), code != "TEMPEST_LOCKED" && code != "TEMPEST_NOT_SUPPORTED")
	show(element("error"), true)
	element("error-retry").Focus()
}

// explain says in plain words what an error's code means to somebody who looks at this page.
func explain(code string) (title, text string) {
	switch code {
	case "TEMPEST_LOCKED":
		return "Another tab has this store open",
			"A store has one writer at a time, so that two tabs cannot undo each other’s work. Close the other tab, then try again."
	case "TEMPEST_NOT_SUPPORTED":
		return "This window cannot keep files",
			"The store lives in the browser’s origin private file system (OPFS). Some private windows and older browsers have none; an ordinary window of a current browser does."
	case "TEMPEST_QUOTA_EXCEEDED":
		return "No space left", "The browser gives this site no more room. Free some, then try again."
	case "TEMPEST_CORRUPTION":
		return "The store is damaged",
			"A checksum did not match. Nothing was deleted: try again, or delete the store and load the cities afresh."
	case "TEMPEST_LOAD_FAILED":
		return "The engine did not load", "A file that this page needs did not arrive. Your data is not affected. Try again."
	case "TEMPEST_WORKER_DIED", "TEMPEST_CLOSED", "TEMPEST_READONLY":
		return "The store was closed", "What it had acknowledged is safe. Open it again."
	default:
		return "That did not work", "What the store had acknowledged is safe. Try again."
	}
}

// tellRecords shows how many cities there are.
func (a *app) tellRecords() {
	element("tile-records").SetTextContent(group(a.records))
	element("dots").SetAttribute("aria-label", "Map of the world: a dot for each of "+count(a.records, "city", "cities")+" in the store")
}

// tellStorage shows what the data is kept in and how much room it takes.
func (a *app) tellStorage() {
	chip, kind := element("storage"), ""
	if a.db != nil {
		kind = a.db.kind()
	}
	chip.Class().Remove("warn")
	switch kind {
	case "opfs":
		chip.SetTextContent("kept in OPFS")
	case "memory":
		chip.SetTextContent("in memory only: gone on reload")
		chip.Class().Add("warn")
	case "":
		chip.SetTextContent("no store")
	default:
		chip.SetTextContent("kept in " + kind)
	}
	manager := js.Global().Get("navigator").Get("storage")
	if !manager.Truthy() || !manager.Get("estimate").Truthy() {
		element("tile-storage").SetTextContent("–")
		return
	}
	estimate, err := await(manager, "estimate")
	if err != nil {
		element("tile-storage").SetTextContent("–")
		return
	}
	usage := estimate.Get("usage")
	// Where the browser tells files from caches, count the files.
	if details := estimate.Get("usageDetails"); details.Truthy() {
		usage = js.ValueOf(0)
		if files := details.Get("fileSystem"); files.Type() == js.TypeNumber {
			usage = files
		}
	}
	number, unit, _ := strings.Cut(size(usage.Float()), " ")
	fillUnit("tile-storage", number, unit)
}

// busy shows what is being done and how far it is; a total of 0 is one not known.
func (a *app) busy(title, text string, done, total int) {
	element("busy-title").SetTextContent(title)
	element("busy-text").SetTextContent(text)
	bar := element("progress")
	if total > 0 {
		bar.Set("max", total)
		bar.Set("value", done)
	} else {
		bar.RemoveAttribute("value")
	}
	show(element("busy"), true)
}

// announce has screen readers say a text.
func (a *app) announce(text string) {
	a.speech++
	element("announce").SetTextContent(text)
}

// announceLater announces a text when nothing else was to be announced for half a second, so that typing is not
// talked over.
func (a *app) announceLater(text string) {
	a.speech++
	number := a.speech
	dom.GetWindow().SetTimeout(func() {
		if number == a.speech {
			a.announce(text)
		}
	}, 500)
}

func (a *app) openDialog(id string) {
	if d := element(id); !d.Get("open").Bool() {
		d.Call("showModal")
	}
}

func (a *app) closeDialog(id string) {
	if d := element(id); d.Get("open").Bool() {
		d.Call("close")
	}
}

// dialogOpen reports whether a dialog is open, which then has the keyboard.
func dialogOpen() bool {
	return element("edit").Get("open").Bool() || element("confirm").Get("open").Bool()
}

func fillDuration(id string, millis float64) {
	number, unit, _ := strings.Cut(duration(millis), " ")
	fillUnit(id, number, unit)
}

func perSecond(n int, millis float64) int {
	if millis <= 0 {
		return 0
	}
	return int(float64(n) / millis * 1000)
}

func nothingFocused() bool {
	document := js.Global().Get("document")
	return document.Get("activeElement").Equal(document.Get("body"))
}

// coarsePointer reports whether people here point with a finger: focusing the search field would raise a keyboard over
// half of the page.
func coarsePointer() bool {
	return matchMedia("(pointer: coarse)").Get("matches").Bool()
}

func matchMedia(query string) js.Value {
	return js.Global().Call("matchMedia", query)
}
