package wal

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

func BenchmarkAddRecord(b *testing.B) {
	for _, size := range []int{128, 64 << 10} {
		b.Run(fmt.Sprintf("%d B", size), func(b *testing.B) {
			w := NewWriter(&discard{}, 0)
			record := fill(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.AddRecord(record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{128, 64 << 10} {
		b.Run(fmt.Sprintf("%d B", size), func(b *testing.B) {
			var records [][]byte
			for range (4 << 20) / size {
				records = append(records, fill(1, size))
			}
			f := &memFile{}
			if err := NewWriter(f, 0).AddRecords(records...); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(f.bytes)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(bytes.NewReader(f.bytes), int64(len(f.bytes)))
				for {
					if _, err := r.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
