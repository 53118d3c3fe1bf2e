package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	// The inputs are in form NFKD, as the browser gives them.
	tests := []struct{ in, want string }{
		{"San Francisco", "san francisco"},
		{"Sa\u0303o Tome\u0301", "sao tome"},
		{"SAINT-DENIS", "saint denis"},
		{"'s-Gravenhage", "s gravenhage"},
		{"Łódź", "lódź"}, // composed: only NFKD takes the accents off
		{"Ło\u0301dz\u0301", "lodz"},
		{"I\u0307stanbul", "istanbul"},
		{"Diyarbakır", "diyarbakir"},
		{"Straße", "strasse"},
		{"A / B", "a b"},
		{"  x", "x"},
		{"San ", "san "},
		{"St. John's", "st johns"},
		{"Ок\u0442ябрь", "октябрь"},
		{"", ""},
		{"///", ""},
	}
	for _, test := range tests {
		if got := fold(test.in); got != test.want {
			t.Errorf("fold(%q) = %q, want %q", test.in, got, test.want)
		}
	}
	if got := foldedName("Zurich (Kreis 7)"); got != "zurich kreis 7" {
		t.Errorf("foldedName kept a space at the end: %q", got)
	}
}

func TestKeyTellsPopulationAndPlace(t *testing.T) {
	c := city{id: "1h4n", name: "Paris", population: 2_138_551, lat: 48.853, lon: 2.349}
	key := c.key("paris")
	if want := "city/paris/97861448/u09tv/1h4n"; key != want {
		t.Fatalf("key %q, want %q", key, want)
	}
	p, ok := parseKey(key)
	if !ok || p.population != c.population || math.Abs(p.lat-c.lat) > 0.03 || math.Abs(p.lon-c.lon) > 0.03 {
		t.Fatalf("parseKey(%q) = %+v, %v", key, p, ok)
	}
	if want := "top/97861448/1h4n"; c.topKey() != want {
		t.Errorf("topKey %q, want %q", c.topKey(), want)
	}
	c.population = topPopulation - 1
	if c.topKey() != "" {
		t.Errorf("a small city is in the index of larger ones: %q", c.topKey())
	}
	// A population no key can hold must not break the order or the width.
	c.population = 1 << 40
	if p, ok := parseKey(c.key("x")); !ok || p.population != maxPopulation {
		t.Errorf("oversized population: %+v, %v", p, ok)
	}
	c.population = -5
	if p, ok := parseKey(c.key("x")); !ok || p.population != 0 {
		t.Errorf("negative population: %+v, %v", p, ok)
	}
}

func TestParseKeyRefusesOtherStrings(t *testing.T) {
	for _, key := range []string{
		"", "/", "load", "top/97861448/1h4n", "city/", "city/paris", "city/paris/97861448/u09tv",
		"city/paris/9786144x/u09tv/1h4n", "city/paris/97861448/u09ta/1h4n", "city/paris/-7861448/u09tv/1h4n",
		"city/paris 97861448/u09tv/1h4n", "/97861448/u09tv/1h4n",
	} {
		if p, ok := parseKey(key); ok {
			t.Errorf("parseKey(%q) = %+v", key, p)
		}
	}
}

func TestLargestFirst(t *testing.T) {
	small := (&city{id: "a", population: 10}).key("paris")
	large := (&city{id: "b", population: 20}).key("paris")
	equal := (&city{id: "c", population: 20}).key("parish")
	got := largestFirst([]string{small, "load", large, equal})
	if len(got) != 3 || got[0].key != large || got[1].key != equal || got[2].key != small {
		t.Fatalf("largestFirst: %+v", got)
	}
}

func TestParseLine(t *testing.T) {
	c, err := parseLine("Springfield\tUS\tIL\t116250\t39.802\t-89.644\t30hcg\t")
	want := city{
		id: "30hcg", name: "Springfield", country: "US", region: "IL", population: 116250, lat: 39.802, lon: -89.644,
	}
	if err != nil || c != want {
		t.Fatalf("parseLine = %+v, %v", c, err)
	}
	c, err = parseLine("Vaduz\tLI\t\t\t47.1\t9.5\tabc\tC")
	if err != nil || !c.capital || c.population != 0 {
		t.Fatalf("parseLine = %+v, %v", c, err)
	}
	for _, line := range []string{
		"", "x", "a\tb\tc\t1\t2\t3\t4", "a\tb\tc\t1\t2\t3\t4\t\t", "a\tb\tc\tone\t2\t3\t4\t", "a\tb\tc\t1\tx\t3\t4\t",
		"a\tb\tc\t1\t2\ty\t4\t", "a\tb\tc\t1\t2\t3\t\t",
	} {
		if c, err := parseLine(line); err == nil {
			t.Errorf("parseLine(%q) = %+v", line, c)
		}
	}
}

func TestAppendPutIsJSON(t *testing.T) {
	c := city{
		id: "1", name: "Ta`ū \"\\\x01", country: "AS", region: "R", population: 200_000, lat: -14.25, lon: 170, capital: true,
	}
	var ops []struct {
		Type, Key string
		Value     any
	}
	text := "[" + strings.TrimSuffix(string(appendPut(nil, &c, "tau")), ",") + "]"
	if err := json.Unmarshal([]byte(text), &ops); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(ops) != 2 || ops[0].Key != c.key("tau") || ops[1].Key != c.topKey() || ops[1].Value != c.key("tau") {
		t.Fatalf("operations: %+v", ops)
	}
	value := ops[0].Value.(map[string]any)
	for name, want := range map[string]any{
		"id": c.id, "name": c.name, "country": "AS", "region": "R", "population": 200_000.0, "lat": -14.25, "lon": 170.0, "capital": true,
	} {
		if value[name] != want {
			t.Errorf("%s is %v, want %v", name, value[name], want)
		}
	}
}

func TestGeohash(t *testing.T) {
	// Known values, from the article the layout comes from and from the poles of the grid.
	for _, test := range []struct {
		lat, lon float64
		want     string
	}{
		{57.64911, 10.40744, "u4pru"}, {42.6, -5.6, "ezs42"}, {-90, -180, "00000"}, {90, 180, "zzzzz"}, {400, -400, "bpbpb"},
	} {
		if got := string(appendGeohash(nil, test.lat, test.lon)); got != test.want {
			t.Errorf("geohash of %v, %v is %q, want %q", test.lat, test.lon, got, test.want)
		}
	}
	for lat := -89.9; lat < 90; lat += 7.3 {
		for lon := -179.9; lon < 180; lon += 11.7 {
			gotLat, gotLon, ok := parseGeohash(string(appendGeohash(nil, lat, lon)))
			if !ok || math.Abs(gotLat-lat) > 180.0/(1<<13) || math.Abs(gotLon-lon) > 360.0/(1<<14) {
				t.Fatalf("%v, %v came back as %v, %v, %v", lat, lon, gotLat, gotLon, ok)
			}
		}
	}
}

func TestProjectStaysOnTheMap(t *testing.T) {
	for lat := -90.0; lat <= 90; lat += 5 {
		for lon := -180.0; lon <= 180; lon += 5 {
			x, y := project(lat, lon)
			if !(x >= 0 && x <= 1 && y >= 0 && y <= 1) {
				t.Fatalf("%v, %v lies at %v, %v", lat, lon, x, y)
			}
		}
	}
	x0, y0 := project(51.5, -0.1)   // London
	x1, y1 := project(-33.9, 151.2) // Sydney
	if x0 >= x1 || y0 >= y1 {
		t.Errorf("London at %v, %v, Sydney at %v, %v", x0, y0, x1, y1)
	}
	if a := mapAspect(); a < 2 || a > 2.6 {
		t.Errorf("aspect %v", a)
	}
}

func TestGraticuleLiesOnTheMap(t *testing.T) {
	path := graticule(1000, 421)
	points := strings.FieldsFunc(path, func(r rune) bool { return r == 'M' || r == 'L' })
	if len(points) < 13*40 {
		t.Fatalf("%d points", len(points))
	}
	for _, point := range points {
		var x, y float64
		if _, err := fmt.Sscanf(point, "%f %f", &x, &y); err != nil || x < 0 || x > 1000 || y < 0 || y > 421 {
			t.Fatalf("point %q: %v", point, err)
		}
	}
}

func TestWords(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{group(0), "0"}, {group(999), "999"}, {group(135233), "135,233"}, {group(1234567), "1,234,567"}, {group(-1000), "−1,000"},
		{count(1, "city", "cities"), "1 city"}, {count(0, "city", "cities"), "0 cities"}, {count(2, "record", "records"), "2 records"},
		{duration(0), "<0.1 ms"}, {duration(0.12), "0.1 ms"}, {duration(99.94), "99.9 ms"}, {duration(250.4), "250 ms"}, {duration(1234), "1.23 s"},
		{size(12), "12 B"}, {size(64e3), "64 kB"}, {size(14.25e6), "14.2 MB"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// A file that uses syscall/js without the tag would break the native build of the whole module.
func TestBrowserFilesCarryTheirTag(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		browser := strings.Contains(string(text), "\t\"syscall/js\"\n")
		tagged := strings.HasPrefix(string(text), "//go:build js && wasm\n")
		if browser != tagged {
			t.Errorf("%s: uses syscall/js: %v, has the tag: %v", name, browser, tagged)
		}
	}
}
