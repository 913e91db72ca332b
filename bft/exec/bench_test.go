package exec_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

const (
	benchTime    = bft.Time(1000) * bft.Second
	benchClients = 32
)

func benchMachine(b *testing.B, factory app.Factory) *exec.Machine {
	sm, err := factory(memstore.New())
	if err != nil {
		b.Fatal(err)
	}
	m, err := exec.New(exec.Config{Services: []exec.Service{{Name: "s", Machine: sm}}, Limits: exec.DefaultLimits()})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// openSessions opens n sessions, of as many clients.
func openSessions(m *exec.Machine, n int) {
	for from := 0; from < n; from += 1000 {
		batch := &bft.Batch{Seq: m.Executed() + 1, Proposal: bft.Proposal{Time: benchTime}}
		for i := from; i < min(n, from+1000); i++ {
			bundle := &bft.Bundle{NotAfter: benchTime + bft.Second}
			binary.BigEndian.PutUint32(bundle.Client[:], uint32(i))
			batch.Bundles = append(batch.Bundles, bundle)
		}
		m.Execute(batch)
	}
}

// load makes batches in which each of 32 clients has a bundle, as a full pipeline would bring.
type load struct {
	batch   bft.Batch
	bundles [benchClients]bft.Bundle
	next    uint64
}

func newLoad(perBundle int, op func(i int) []byte) *load {
	l := &load{next: 1}
	for c := range l.bundles {
		bundle := &l.bundles[c]
		bundle.Session = bft.SessionID(c + 1)
		binary.BigEndian.PutUint32(bundle.Client[:], uint32(c))
		for i := range perBundle {
			bundle.Ops = append(bundle.Ops, exec.EncodeOp("", false, op(c*perBundle+i)))
		}
		l.batch.Bundles = append(l.batch.Bundles, bundle)
	}
	return l
}

func (l *load) run(m *exec.Machine) exec.Outcome {
	for c := range l.bundles {
		l.bundles[c].First, l.bundles[c].AnsweredBelow = l.next, l.next
	}
	l.next += uint64(len(l.bundles[0].Ops))
	l.batch.Seq = m.Executed() + 1
	l.batch.Proposal.Time = m.Time() + bft.Millisecond
	return m.Execute(&l.batch)
}

func benchExecute(b *testing.B, factory app.Factory, perBundle int, op func(i int) []byte) {
	m := benchMachine(b, factory)
	openSessions(m, benchClients)
	l := newLoad(perBundle, op)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		out := l.run(m)
		if len(out.Replies) != benchClients || out.Replies[0].Results[0][0] != byte(exec.StatusOK) {
			b.Fatalf("%+v", out.Replies[0])
		}
		n += benchClients * perBundle
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/operation")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "operations/s")
}

// BenchmarkExecute executes batches of 32 bundles, of one operation and of 128.
func BenchmarkExecute(b *testing.B) {
	put := func(i int) []byte {
		key := binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15)
		return kv.Put(key, make([]byte, 16))
	}
	for _, perBundle := range []int{1, 128} {
		b.Run(fmt.Sprintf("counter empty/%d", perBundle), func(b *testing.B) {
			benchExecute(b, counter.New, perBundle, func(int) []byte { return nil })
		})
		b.Run(fmt.Sprintf("counter add/%d", perBundle), func(b *testing.B) {
			benchExecute(b, counter.New, perBundle, func(i int) []byte { return counter.Add(int64(i%3) - 1) })
		})
		b.Run(fmt.Sprintf("kv put 16/%d", perBundle), func(b *testing.B) { benchExecute(b, kv.New, perBundle, put) })
	}
}

// BenchmarkSnapshot takes snapshots of tables of sessions: what execution waits for, and what
// is then written beside it.
func BenchmarkSnapshot(b *testing.B) {
	for _, sessions := range []int{200, 10_000} {
		m := benchMachine(b, counter.New)
		openSessions(m, sessions)
		newLoad(128, func(int) []byte { return nil }).run(m)
		b.Run(fmt.Sprintf("take/%d", sessions), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := m.Snapshot()
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
		b.Run(fmt.Sprintf("write/%d", sessions), func(b *testing.B) {
			s, err := m.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n, err := s.WriteTo(io.Discard)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
		b.Run(fmt.Sprintf("restore/%d", sessions), func(b *testing.B) {
			s, err := m.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			var data bytes.Buffer
			if _, err := s.WriteTo(&data); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := benchMachine(b, counter.New).Restore(bytes.NewReader(data.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
