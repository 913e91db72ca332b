package store

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
)

// numberRecords are as many records, of about the size, as a backup keeps of one number with a body of so many bytes:
// body, pre-prepare, prepared certificate, commit certificate. At each checkpoint the log behind it is cut.
func numberRecords(lsn *bft.LSN, seq uint64, body []byte) (recs []bft.Record) {
	const interval = 256
	add := func(r bft.Record) {
		*lsn++
		r.LSN = *lsn
		recs = append(recs, r)
	}
	key := func(kind byte, n uint64, more int) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{kind}, n), make([]byte, more)...)
	}
	add(bft.Record{Key: key('b', seq, 32), Value: body})
	add(bft.Record{Key: key('a', seq, 8), Value: body[:150]})
	add(bft.Record{Key: key('p', seq, 8), Value: body[:550]})
	add(bft.Record{Key: key('c', seq, 0), Value: body[:700+len(body)/100]})
	if seq%interval == 0 {
		for _, kind := range []byte{'b', 'a', 'p', 'c'} {
			add(bft.Record{Key: key(kind, 0, 0), To: key(kind, seq-interval+1, 0)})
		}
	}
	return recs
}

// BenchmarkGroupCommit makes the records of one number durable, in one commit: with the bodies of one bundle of one
// operation, 200 of those, and 32 bundles of 128 operations of 16 bytes. In memory there is no disk to wait for: it is the
// processor's part.
func BenchmarkGroupCommit(b *testing.B) {
	for _, load := range []struct {
		name  string
		bytes int
	}{{"1x1", 1 << 10}, {"200x1", 32 << 10}, {"32x128", 80 << 10}} {
		for _, where := range []string{"memory", "disk"} {
			b.Run(fmt.Sprintf("%s/%s", load.name, where), func(b *testing.B) {
				var fsys vfs.FS
				dir := b.TempDir()
				if where == "memory" {
					fsys, dir = vfs.NewMem(), "/r"
				}
				mustInit(b, fsys, dir)
				w := newWaiter()
				s, _ := mustOpen(b, fsys, dir, w)
				lsn, body := bft.LSN(0), make([]byte, load.bytes)
				b.SetBytes(int64(load.bytes))
				b.ReportAllocs()
				b.ResetTimer()
				for seq := uint64(1); seq <= uint64(b.N); seq++ {
					s.Append(numberRecords(&lsn, seq, body), true)
					w.wait(lsn)
				}
				b.StopTimer()
				if got := s.Stats().Commits; got < uint64(b.N) {
					b.Fatalf("%d commits of %d", got, b.N)
				}
				mustClose(b, s)
			})
		}
	}
}
