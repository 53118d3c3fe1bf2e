//go:build js && wasm

package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall/js"

	"honnef.co/go/js/dom/v2"
)

// An atlas is the map: a dot for each city in the store, under a layer that shows those the search found. Both are
// drawn as pixels in Go and handed over in one piece; 135,000 calls to a canvas would take a quarter of a second.
type atlas struct {
	world  *dom.BasicHTMLElement
	pin    *dom.BasicHTMLElement
	dots   layer
	found  layer
	places []spot // all cities
	hits   []spot // those found
	asked  bool   // whether a frame is asked for
}

// A spot is a place on the map, both coordinates from 0 to 1.
type spot struct {
	x, y       float32
	population int32
}

func spotOf(p place) spot {
	x, y := project(p.lat, p.lon)
	return spot{float32(x), float32(y), int32(p.population)}
}

// A layer is one canvas. Its pixels have one colour and differ in opacity.
type layer struct {
	canvas        *dom.HTMLCanvasElement
	context       *dom.CanvasRenderingContext2D
	image         *dom.ImageData
	pixels        []byte // red, green, blue, alpha
	width, height int
	scale         float64 // device pixels in a CSS pixel
	dirty         bool
}

func newAtlas() *atlas {
	canvas := func(id string) layer {
		c := &dom.HTMLCanvasElement{BasicHTMLElement: element(id)}
		return layer{canvas: c, context: c.GetContext2d()}
	}
	element("graticule").SetAttribute("d", graticule(1000, 1000/mapAspect()))
	return &atlas{
		world: element("world"),
		pin:   element("pin"),
		dots:  canvas("dots"),
		found: canvas("found"),
	}
}

// layOut fits both layers to the page's width and colours, and draws them again.
func (a *atlas) layOut() {
	style := &dom.CSSStyleDeclaration{Value: js.Global().Call("getComputedStyle", a.world.Value)}
	box := a.world.GetBoundingClientRect()
	ratio := math.Min(js.Global().Get("devicePixelRatio").Float(), 3)
	a.dots.layOut(box.Width(), box.Height(), ratio, style.GetPropertyValue("--dot"))
	a.found.layOut(box.Width(), box.Height(), ratio, style.GetPropertyValue("--match"))
	for _, s := range a.places {
		a.dots.plotCity(s)
	}
	a.drawHits()
	a.ask()
}

// reset forgets all cities.
func (a *atlas) reset() {
	a.places = a.places[:0]
	a.dots.clear()
	a.find(nil)
}

// add puts a city on the map.
func (a *atlas) add(p place) {
	s := spotOf(p)
	a.places = append(a.places, s)
	a.dots.plotCity(s)
	a.ask()
}

// remove takes a city off the map.
func (a *atlas) remove(p place) {
	i := slices.Index(a.places, spotOf(p))
	if i < 0 {
		return
	}
	a.places = slices.Delete(a.places, i, i+1)
	a.dots.clear()
	for _, s := range a.places {
		a.dots.plotCity(s)
	}
	a.ask()
}

// find shows the cities that a search found; nil shows them all alike.
func (a *atlas) find(all []ranked) {
	a.hits = a.hits[:0]
	for _, r := range all {
		a.hits = append(a.hits, spotOf(r.place))
	}
	if all == nil {
		a.world.Class().Remove("searching")
	} else {
		a.world.Class().Add("searching")
	}
	a.drawHits()
	a.ask()
}

func (a *atlas) drawHits() {
	a.found.clear()
	least := 0.9
	if len(a.hits) < 60 {
		least = 2 // few dots must not get lost
	}
	for _, s := range a.hits {
		radius := math.Max(least, 0.45*math.Log10(float64(max(s.population, 10)))-0.7)
		a.found.disc(s, radius*a.found.scale)
	}
}

// point shows where a place is; hide ends that.
func (a *atlas) point(lat, lon float64) {
	x, y := project(lat, lon)
	percent := func(part float64) string { return strconv.FormatFloat(part*100, 'f', 2, 64) + "%" }
	style := a.pin.Style()
	style.SetProperty("left", percent(x), "")
	style.SetProperty("top", percent(y), "")
	show(a.pin, true)
}

func (a *atlas) hide() {
	show(a.pin, false)
}

// ask has both layers shown with the browser's next frame.
func (a *atlas) ask() {
	if a.asked {
		return
	}
	a.asked = true
	var frame js.Func
	frame = js.FuncOf(func(js.Value, []js.Value) any {
		frame.Release()
		a.asked = false
		a.dots.show()
		a.found.show()
		return nil
	})
	js.Global().Call("requestAnimationFrame", frame)
}

// layOut sets the layer's size in CSS pixels, its resolution and its colour, "#rrggbb", and clears it.
func (l *layer) layOut(width, height, ratio float64, colour string) {
	l.scale = ratio
	l.width, l.height = max(int(width*ratio+0.5), 1), max(int(height*ratio+0.5), 1)
	l.canvas.SetWidth(l.width)
	l.canvas.SetHeight(l.height)
	l.image = l.context.CreateImageData(l.width, l.height)
	l.pixels = make([]byte, 4*l.width*l.height)
	rgb, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(colour), "#"), 16, 32)
	if err != nil {
		rgb = 0x808080
	}
	for i := 0; i < len(l.pixels); i += 4 {
		l.pixels[i], l.pixels[i+1], l.pixels[i+2] = byte(rgb>>16), byte(rgb>>8), byte(rgb)
	}
	l.dirty = true
}

func (l *layer) clear() {
	for i := 3; i < len(l.pixels); i += 4 {
		l.pixels[i] = 0
	}
	l.dirty = true
}

// plotCity adds a city's dot: where many lie close together the map gets denser, as lights do at night.
func (l *layer) plotCity(s spot) {
	if l.width == 0 {
		return
	}
	alpha, side := 56, 1
	switch {
	case s.population >= 1_000_000:
		alpha, side = 255, 2
	case s.population >= topPopulation:
		alpha = 150
	}
	side = max(int(float64(side)*l.scale/1.8+0.5), 1)
	x0, y0 := l.at(s)
	for y := y0; y < min(y0+side, l.height); y++ {
		for x := x0; x < min(x0+side, l.width); x++ {
			p := &l.pixels[4*(y*l.width+x)+3]
			*p = byte(min(int(*p)+alpha, 255))
		}
	}
	l.dirty = true
}

// disc draws a filled circle with a soft edge.
func (l *layer) disc(s spot, radius float64) {
	cx, cy := float64(s.x)*float64(l.width), float64(s.y)*float64(l.height)
	for y := max(int(cy-radius-1), 0); y < min(int(cy+radius+2), l.height); y++ {
		for x := max(int(cx-radius-1), 0); x < min(int(cx+radius+2), l.width); x++ {
			d := math.Hypot(float64(x)+0.5-cx, float64(y)+0.5-cy)
			alpha := byte(255 * math.Min(math.Max(radius+0.5-d, 0), 1))
			p := &l.pixels[4*(y*l.width+x)+3]
			*p = max(*p, alpha)
		}
	}
	l.dirty = true
}

func (l *layer) at(s spot) (x, y int) {
	return min(int(s.x*float32(l.width)), l.width-1), min(int(s.y*float32(l.height)), l.height-1)
}

// show brings what was drawn to the canvas.
func (l *layer) show() {
	if !l.dirty || l.width == 0 {
		return
	}
	l.dirty = false
	js.CopyBytesToJS(l.image.Data(), l.pixels)
	l.context.PutImageData(l.image, 0, 0)
}
