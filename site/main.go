//go:build js && wasm

// The demo page's program. It uses the package as any page would, through the object that boot.mjs puts on the global
// scope as tempestkv: { open, destroy }.
package main

import (
	"syscall/js"

	"honnef.co/go/js/dom/v2"
)

func main() {
	a := newApp(js.Global().Get("tempestkv"))
	a.atlas.layOut()
	a.listen()
	a.tasks.post(a.start)
	a.tasks.run()
}

// listen ties the page's events to tasks. The callbacks live as long as the page and are never released.
func (a *app) listen() {
	on := func(id, event string, handler func(dom.Event)) {
		element(id).AddEventListener(event, false, handler)
	}
	// click ties a button to a task.
	click := func(id string, task func()) {
		on(id, "click", func(dom.Event) { a.tasks.post(task) })
	}

	on("query", "input", func(dom.Event) { a.ask() })
	on("search", "submit", func(event dom.Event) {
		event.PreventDefault()
		a.list.focus(0)
	})
	on("query", "keydown", func(event dom.Event) { a.queryKey(event.(*dom.KeyboardEvent)) })
	dom.GetWindow().AddEventListener("keydown", false, func(event dom.Event) { a.pageKey(event.(*dom.KeyboardEvent)) })

	on("list", "click", func(event dom.Event) {
		target := event.Underlying().Get("target")
		if i := a.list.rowOf(target); i >= 0 {
			r := a.list.records[i]
			if target.Call("closest", ".remove").Truthy() {
				a.tasks.post(func() { a.remove(r, i) })
			} else {
				a.list.activate(i)
				a.edit(r)
			}
		}
	})
	on("list", "keydown", func(event dom.Event) { a.listKey(event.(*dom.KeyboardEvent)) })
	// These two come with each move of the pointer; see [row] for why they go round dom's types.
	point := js.FuncOf(func(_ js.Value, args []js.Value) any {
		if i := a.list.rowOf(args[0].Get("target")); i >= 0 {
			a.atlas.point(a.list.records[i].lat, a.list.records[i].lon)
		}
		return nil
	})
	element("list").Call("addEventListener", "pointerover", point)
	element("list").Call("addEventListener", "focusin", point)
	on("list", "pointerleave", func(dom.Event) { a.atlas.hide() })

	click("more", func() { a.more() })
	click("error-retry", a.start)
	click("error-memory", func() {
		a.storage = "memory"
		a.start()
	})
	click("error-reset", func() {
		a.deleteStore()
		if a.db == nil && !element("error").Get("hidden").Bool() {
			return
		}
		a.start()
	})
	click("gone-load", a.start)
	click("toast-undo", func() {
		if a.undo != nil {
			a.undo()
		}
	})
	on("toast-close", "click", func(dom.Event) {
		show(element("toast"), false)
		a.undo = nil
		a.focusRecord("", a.list.active)
	})

	on("edit", "submit", func(event dom.Event) {
		event.PreventDefault() // the dialog closes when the record is stored
		a.tasks.post(a.save)
	})
	on("edit", "input", func(dom.Event) { a.previewKey() })
	on("edit-cancel", "click", func(dom.Event) { a.closeDialog("edit") })
	on("edit-delete", "click", func(dom.Event) {
		r, i := *a.editing, a.list.active
		a.tasks.post(func() { a.remove(r, i) })
	})

	on("reload", "click", func(dom.Event) { js.Global().Get("location").Call("reload") })
	on("destroy", "click", func(dom.Event) { a.openDialog("confirm") })
	on("confirm-no", "click", func(dom.Event) { a.closeDialog("confirm") })
	click("confirm-yes", a.deleteStore)

	a.listenToLooks()
}

// listenToLooks draws the map again when its size or its colours change.
func (a *app) listenToLooks() {
	layOut := js.FuncOf(func(js.Value, []js.Value) any {
		a.tasks.post(a.atlas.layOut)
		return nil
	})
	if observer := js.Global().Get("ResizeObserver"); observer.Truthy() {
		observer.New(layOut).Call("observe", a.atlas.world.Value)
	}
	matchMedia("(prefers-color-scheme: dark)").Call("addEventListener", "change", layOut)
}

// queryKey handles the keys of the search field.
func (a *app) queryKey(event *dom.KeyboardEvent) {
	switch event.Key() {
	case "ArrowDown":
		if a.list.focus(0) {
			event.PreventDefault()
		}
	case "Escape":
		event.PreventDefault()
		a.input.SetValue("")
		a.ask()
	}
}

// pageKey handles the keys that work everywhere.
func (a *app) pageKey(event *dom.KeyboardEvent) {
	if dialogOpen() {
		return
	}
	typing := event.Get("target").Get("tagName").String() == "INPUT"
	control := event.CtrlKey() || event.MetaKey()
	switch {
	case event.Key() == "/" && !typing && !control && !event.AltKey():
		event.PreventDefault()
		a.input.Focus()
		a.input.Call("select")
	case event.Key() == "z" && control && !event.ShiftKey() && a.undo != nil && !(typing && a.input.Value() != ""):
		event.PreventDefault()
		a.tasks.post(func() {
			if a.undo != nil {
				a.undo()
			}
		})
	}
}

// listKey moves through the results: up and down by row, left and right between a row and its delete button.
func (a *app) listKey(event *dom.KeyboardEvent) {
	if event.CtrlKey() || event.MetaKey() || event.AltKey() {
		return
	}
	i := a.list.rowOf(event.Underlying().Get("target"))
	if i < 0 {
		return
	}
	const leap = 8
	last := len(a.list.records) - 1
	switch event.Key() {
	case "ArrowDown":
		if i == last && len(a.answer) > len(a.list.records) {
			a.tasks.post(func() { a.more() })
		} else {
			a.list.focus(i + 1)
		}
	case "ArrowUp":
		if i == 0 {
			a.input.Focus()
		} else {
			a.list.focus(i - 1)
		}
	case "PageDown":
		a.list.focus(i + leap)
	case "PageUp":
		a.list.focus(i - leap)
	case "Home":
		a.list.focus(0)
	case "End":
		a.list.focus(last)
	case "ArrowRight":
		a.list.rows[i].remove.Call("focus")
	case "ArrowLeft":
		a.list.rows[i].open.Call("focus")
	case "Escape":
		a.input.Focus()
	case "Delete":
		r := a.list.records[i]
		a.tasks.post(func() { a.remove(r, i) })
	default:
		return
	}
	event.PreventDefault()
}
