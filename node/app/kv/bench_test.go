package kv_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// BenchmarkPutGet puts and gets values of 16 bytes and of 1 KiB under 10,000 keys, without agreement.
func BenchmarkPutGet(b *testing.B) {
	for name, size := range map[string]int{"16": 16, "1024": 1024} {
		m := start(b)
		puts, gets := make([][]byte, 10_000), make([][]byte, 10_000)
		for i := range puts {
			key := binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15)
			puts[i], gets[i] = kv.Put(key, make([]byte, size)), kv.Get(key)
		}
		b.Run("put/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Apply(app.Context{}, puts[i%len(puts)])
			}
		})
		b.Run("get/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := m.Query(context.Background(), gets[i%len(gets)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
