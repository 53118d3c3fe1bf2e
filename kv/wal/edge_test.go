package wal

import (
	"fmt"
	"testing"
)

func TestRecordsAroundBlockEdges(t *testing.T) {
	const room = BlockSize - headerSize // data of a fragment that fills a block
	for _, size := range []int{
		0, 1, 127, 128, room - 14, room - 13, room - 8, room - 7, room - 6, room - 1,
		room, room + 1, room + 6, room + 7, room + 8, 2*room - 1, 2 * room, 2*room + 1, 3*room + 5, 300_000,
	} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			for _, next := range []int{0, 1, 5, room, room + 1} {
				records := [][]byte{fill(1, size), fill(2, next), fill(3, 9), nil}
				mustRead(t, write(t, records...), records...)
			}
		})
	}
}
