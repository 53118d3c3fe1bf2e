package batch

import "testing"

func BenchmarkPut(b *testing.B) {
	var batch Batch
	key, value := []byte("a key of 16 byte"), make([]byte, 100)
	b.SetBytes(int64(len(key) + len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if batch.Len() > 100_000 {
			batch.Reset()
		}
		if err := batch.Put(key, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	var batch Batch
	for range 1000 {
		if err := batch.Put([]byte("a key of 16 byte"), make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
	}
	ops := batch.Repr()[HeaderSize:]
	b.SetBytes(int64(len(ops)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Validate(ops, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
