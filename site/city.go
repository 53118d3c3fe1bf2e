package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A city is one record of the demo. In the store it is an object under the key that [city.key] makes.
type city struct {
	id         string  // GeoNames id, in base 36
	name       string  // as people write it, accents and all
	country    string  // ISO 3166-1 code, two letters
	region     string  // state, only where its code reads as one (United States), else empty
	population int     // 0 where unknown
	lat, lon   float64 // degrees
	capital    bool
}

// What the store holds. Every city is one record, found by
//
//	+--------+-------------------+---+----------------------+---+---------+---+-----+
//	| city/  | folded name       | / | 99999999-population  | / | geohash | / | id  |
//	|        | no '/'            |   | 8 digits             |   | 5       |   |     |
//	+--------+-------------------+---+----------------------+---+---------+---+-----+
//
// so a scan of the keys under city/san alone tells how many cities match, how large each is and where; records are
// read only for those that are shown. A second index, for the page's first view, holds the larger cities by size:
//
//	+--------+----------------------+---+-----+
//	| top/   | 99999999-population  | / | id  |   value: the city's key
//	+--------+----------------------+---+-----+
//
// The record under loadKey says how much of the data set is there. It is written in the same batch as the cities it
// counts, so it is right after a crash too.
const (
	cityPrefix = "city/"
	topPrefix  = "top/"
	loadKey    = "load"

	// maxPopulation is the largest population a key can hold.
	maxPopulation = 99_999_999
	// topPopulation is the population from which a city is in the second index.
	topPopulation = 100_000
	// geohashLength characters place a city within 2.5 km, less than a pixel of the map.
	geohashLength = 5
)

// key returns the city's key. The argument is the name after [fold].
func (c *city) key(folded string) string {
	b := make([]byte, 0, len(cityPrefix)+len(folded)+32)
	b = append(b, cityPrefix...)
	b = append(b, folded...)
	b = append(b, '/')
	b = appendRank(b, c.population)
	b = append(b, '/')
	b = appendGeohash(b, c.lat, c.lon)
	b = append(b, '/')
	b = append(b, c.id...)
	return string(b)
}

// topKey returns the city's key in the index of larger cities, or "" where it is not in it.
func (c *city) topKey() string {
	if c.population < topPopulation {
		return ""
	}
	b := append(make([]byte, 0, 32), topPrefix...)
	b = appendRank(b, c.population)
	b = append(b, '/')
	b = append(b, c.id...)
	return string(b)
}

// appendRank appends eight digits that sort larger populations first.
func appendRank(b []byte, population int) []byte {
	rank := maxPopulation - min(max(population, 0), maxPopulation)
	digits := strconv.Itoa(rank)
	for range 8 - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// A place is what a city's key alone tells.
type place struct {
	population int
	lat, lon   float64
}

// parseKey reads the tail of a city's key. It reports false for any other string.
func parseKey(key string) (place, bool) {
	const tail = len("/12345678/") + geohashLength
	end := strings.LastIndexByte(key, '/')
	if !strings.HasPrefix(key, cityPrefix) || end < len(cityPrefix)+tail {
		return place{}, false
	}
	fields := key[end-tail : end]
	if fields[0] != '/' || fields[9] != '/' {
		return place{}, false
	}
	rank, err := strconv.Atoi(fields[1:9])
	if err != nil || rank < 0 {
		return place{}, false
	}
	lat, lon, ok := parseGeohash(fields[10:])
	return place{population: maxPopulation - rank, lat: lat, lon: lon}, ok
}

// largestFirst returns the places of the keys with the largest populations first; equal ones keep their order. Keys
// that are not cities' are left out.
func largestFirst(keys []string) []ranked {
	all := make([]ranked, 0, len(keys))
	for _, key := range keys {
		if p, ok := parseKey(key); ok {
			all = append(all, ranked{key: key, place: p})
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.population, a.population) })
	return all
}

// ranked is a key and what it tells.
type ranked struct {
	key string
	place
}

// fold makes a name comparable: lower case, without accents and punctuation, so that "São Tomé", "sao-tome" and
// "SAO TOME" are the same. The argument must be in Unicode's form NFKD, where accents are characters of their own; the
// page's program has the browser do that (String.prototype.normalize), which saves the tables. A space at the end is
// kept: in a search "san " is narrower than "san".
func fold(decomposed string) string {
	b := make([]byte, 0, len(decomposed))
	for _, r := range decomposed {
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			b = append(b, byte(r))
		case 'A' <= r && r <= 'Z':
			b = append(b, byte(r)+'a'-'A')
		case r < 0x80 && !strings.ContainsRune("'`\".", r) || r >= 0x80 && isSeparator(r):
			if len(b) > 0 && b[len(b)-1] != ' ' {
				b = append(b, ' ')
			}
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			r = unicode.ToLower(r)
			if latin := spelledOut(r); latin != "" {
				b = append(b, latin...)
			} else {
				b = utf8.AppendRune(b, r)
			}
		}
	}
	return string(b)
}

// isSeparator reports whether a character other than ASCII's parts words. Accents and quotation marks do not.
func isSeparator(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) &&
		!strings.ContainsRune("’‘ʼʻ´”“", r)
}

// spelledOut gives the plain letters for those that do not decompose, or "".
func spelledOut(r rune) string {
	switch r {
	case 'ß':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'þ':
		return "th"
	case 'ø':
		return "o"
	case 'ł':
		return "l"
	case 'đ', 'ð':
		return "d"
	case 'ħ':
		return "h"
	case 'ı':
		return "i"
	case 'ə':
		return "e"
	}
	return ""
}

// foldedName is fold for a name that goes into a key, where a space at the end would be noise.
func foldedName(decomposed string) string {
	return strings.TrimSuffix(fold(decomposed), " ")
}

var errMalformedLine = errors.New("site: malformed line in the data file")

// parseLine reads one line of cities.tsv, which build.mjs writes: name, country, region, population, latitude,
// longitude, id, and C for a capital. Numbers that are zero and flags that are off are empty.
func parseLine(line string) (city, error) {
	var f [8]string
	for i := range f {
		field, rest, more := strings.Cut(line, "\t")
		f[i] = field
		if more != (i < len(f)-1) {
			return city{}, errMalformedLine
		}
		line = rest
	}
	c := city{name: f[0], country: f[1], region: f[2], id: f[6], capital: f[7] == "C"}
	var err, e error
	if f[3] != "" {
		c.population, err = strconv.Atoi(f[3])
	}
	c.lat, e = strconv.ParseFloat(f[4], 64)
	err = errors.Join(err, e)
	c.lon, e = strconv.ParseFloat(f[5], 64)
	if err = errors.Join(err, e); err != nil || c.id == "" {
		return city{}, errMalformedLine
	}
	return c, nil
}

// appendPut appends the city's operations for db.batch, as JSON with a comma after each. A batch of a thousand crosses
// to JavaScript as one string and becomes objects there: a hundred times cheaper than a call a field.
func appendPut(b []byte, c *city, folded string) []byte {
	key := c.key(folded)
	b = append(b, `{"type":"put","key":`...)
	b = appendJSONString(b, key)
	b = append(b, `,"value":{"name":`...)
	b = appendJSONString(b, c.name)
	b = append(b, `,"country":`...)
	b = appendJSONString(b, c.country)
	if c.region != "" {
		b = append(b, `,"region":`...)
		b = appendJSONString(b, c.region)
	}
	b = append(b, `,"population":`...)
	b = strconv.AppendInt(b, int64(c.population), 10)
	b = append(b, `,"lat":`...)
	b = strconv.AppendFloat(b, c.lat, 'f', -1, 64)
	b = append(b, `,"lon":`...)
	b = strconv.AppendFloat(b, c.lon, 'f', -1, 64)
	if c.capital {
		b = append(b, `,"capital":true`...)
	}
	b = append(b, `,"id":`...)
	b = appendJSONString(b, c.id)
	b = append(b, `}},`...)
	if top := c.topKey(); top != "" {
		b = append(b, `{"type":"put","key":`...)
		b = appendJSONString(b, top)
		b = append(b, `,"value":`...)
		b = appendJSONString(b, key)
		b = append(b, `},`...)
	}
	return b
}

func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// group writes a number with a comma between thousands.
func group(n int) string {
	if n < 0 {
		return "−" + group(-n)
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// duration writes milliseconds as people read them. Browsers round their clock to 0.1 ms, so nothing finer is claimed.
func duration(millis float64) string {
	switch {
	case millis < 0.1:
		return "<0.1 ms"
	case millis < 100:
		return strconv.FormatFloat(millis, 'f', 1, 64) + " ms"
	case millis < 1000:
		return strconv.Itoa(int(millis+0.5)) + " ms"
	default:
		return strconv.FormatFloat(millis/1000, 'f', 2, 64) + " s"
	}
}

// size writes bytes in decimal units, as browsers' own storage settings do.
func size(bytes float64) string {
	switch {
	case bytes < 1000:
		return strconv.Itoa(int(bytes)) + " B"
	case bytes < 1e6:
		return strconv.Itoa(int(bytes/1e3+0.5)) + " kB"
	default:
		return strconv.FormatFloat(bytes/1e6, 'f', 1, 64) + " MB"
	}
}
