package main

import (
	"math"
	"strconv"
	"strings"
)

// Geohash: longitude and latitude halved in turn, a bit a halving, five bits a character
// (https://en.wikipedia.org/wiki/Geohash). Five characters are 13 bits of longitude and 12 of latitude.

const geohashAlphabet = "0123456789bcdefghjkmnpqrstuvwxyz"

// appendGeohash appends geohashLength characters for a place in degrees.
func appendGeohash(b []byte, lat, lon float64) []byte {
	const lonBits, latBits = 13, 12
	x := quantise((lon+180)/360, lonBits)
	y := quantise((lat+90)/180, latBits)
	var bits uint32
	for i := range lonBits + latBits {
		bits <<= 1
		if i%2 == 0 {
			bits |= x >> (lonBits - 1 - i/2) & 1
		} else {
			bits |= y >> (latBits - 1 - i/2) & 1
		}
	}
	for i := geohashLength - 1; i >= 0; i-- {
		b = append(b, geohashAlphabet[bits>>(5*i)&31])
	}
	return b
}

// quantise maps 0 to 1 onto the integers of so many bits; what lies outside goes to the nearest.
func quantise(part float64, bits int) uint32 {
	cells := float64(int(1) << bits)
	return uint32(math.Min(math.Max(part*cells, 0), cells-1))
}

// parseGeohash returns the middle of the cell, in degrees. It reports false for a wrong length or character.
func parseGeohash(s string) (lat, lon float64, ok bool) {
	if len(s) != geohashLength {
		return 0, 0, false
	}
	var x, y uint32
	var even bool // whether the next bit is of the latitude
	for i := range len(s) {
		v := strings.IndexByte(geohashAlphabet, s[i])
		if v < 0 {
			return 0, 0, false
		}
		for bit := 4; bit >= 0; bit-- {
			if even {
				y = y<<1 | uint32(v>>bit)&1
			} else {
				x = x<<1 | uint32(v>>bit)&1
			}
			even = !even
		}
	}
	return (float64(y)+0.5)*180/(1<<12) - 90, (float64(x)+0.5)*360/(1<<13) - 180, true
}

// The map's projection is Natural Earth (Tom Patterson; polynomial by Bojan Šavrič), cut to the latitudes people live
// at and centred on 11° east, which cuts through the Bering Strait and no city.
const (
	mapNorth, mapSouth = 79.0, -56.0
	mapCentre          = 11.0
)

var (
	mapTop    = naturalEarthY(mapNorth * math.Pi / 180)
	mapBottom = naturalEarthY(mapSouth * math.Pi / 180)
	mapHalf   = 0.8707 * math.Pi
)

// mapAspect is width over height of the map.
func mapAspect() float64 { return 2 * mapHalf / (mapTop - mapBottom) }

// project returns where on the map a place lies: 0,0 is its upper left corner, 1,1 its lower right.
func project(lat, lon float64) (x, y float64) {
	lon -= mapCentre
	if lon < -180 {
		lon += 360
	}
	phi := math.Min(math.Max(lat, mapSouth), mapNorth) * math.Pi / 180
	p2 := phi * phi
	p4 := p2 * p2
	scale := 0.870700 - 0.131979*p2 - 0.013791*p4 + p4*p4*p2*(0.003971-0.001529*p2)
	x = lon * math.Pi / 180 * scale
	return (x + mapHalf) / (2 * mapHalf), (mapTop - naturalEarthY(phi)) / (mapTop - mapBottom)
}

func naturalEarthY(phi float64) float64 {
	p2 := phi * phi
	p6 := p2 * p2 * p2
	return phi * (1.007226 + 0.015085*p2 + p6*(-0.044475+0.028874*p2-0.005916*p2*p2))
}

// graticule gives the lines of latitude and longitude, 30 degrees apart, as the path of an SVG that is width by height.
func graticule(width, height float64) string {
	const apart, fine = 30, 3 // degrees between lines, and between points of a curved one
	var path []byte
	point := func(command byte, lat, lon float64) {
		// West of the map's left edge is its right edge; its own edges are drawn a little inside.
		x, y := project(lat, mapCentre+lon*0.999999)
		path = append(path, command)
		path = strconv.AppendFloat(path, x*width, 'f', 1, 64)
		path = append(path, ' ')
		path = strconv.AppendFloat(path, y*height, 'f', 1, 64)
	}
	for lon := -180.0; lon <= 180; lon += apart {
		point('M', mapSouth, lon)
		for lat := mapSouth + fine; lat < mapNorth; lat += fine {
			point('L', lat, lon)
		}
		point('L', mapNorth, lon)
	}
	for _, lat := range []float64{mapSouth, -30, 0, 30, 60, mapNorth} {
		point('M', lat, -180)
		point('L', lat, 180)
	}
	return string(path)
}
