package volume_test

import (
	"testing"

	"tempestkv/kv/vfs"
	"tempestkv/kv/vfs/vfstest"
	"tempestkv/kv/volume"
)

func openVolume(t *testing.T, dev volume.Device, opts *volume.Options) *volume.Volume {
	t.Helper()
	v, err := volume.Open(dev, opts)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVolumeIsAFS(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FS { return openVolume(t, volume.NewMemDevice(), nil) })
}

func BenchmarkLogAppend(b *testing.B) {
	v, err := volume.Open(volume.NewMemDevice(), nil)
	if err != nil {
		b.Fatal(err)
	}
	const recordBytes, logBytes = 128, 4 << 20
	record := make([]byte, recordBytes)
	var f vfs.File
	var num uint64
	b.ReportAllocs()
	b.SetBytes(recordBytes)
	size := logBytes
	for b.Loop() {
		if size += recordBytes; size >= logBytes {
			if num > 0 {
				if err := v.Remove(vfs.FileDesc{Type: vfs.TypeLog, Num: num}); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
			num++
			if f, err = v.Create(vfs.FileDesc{Type: vfs.TypeLog, Num: num}, logBytes); err != nil {
				b.Fatal(err)
			}
			size = 0
		}
		if err := f.Append(record); err != nil {
			b.Fatal(err)
		}
	}
}
