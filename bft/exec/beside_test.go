package exec_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

func twoServices(t *testing.T) *exec.Machine {
	t.Helper()
	var services []exec.Service
	for name, factory := range map[string]app.Factory{"counter": counter.New, "kv": kv.New} {
		sm, err := factory(memstore.New())
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, exec.Service{Name: name, Machine: sm})
	}
	m, err := exec.New(exec.Config{Services: services, Limits: exec.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestQueriesAndSnapshotsRunBesideExecution is for the race detector, too.
func TestQueriesAndSnapshotsRunBesideExecution(t *testing.T) {
	m := twoServices(t)
	read := func(service string, q []byte) []byte { return exec.EncodeOp(service, true, q) }
	var beside sync.WaitGroup
	stop := make(chan struct{})
	beside.Go(func() {
		for last := int64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			results := m.Query(context.Background(), [][]byte{read("counter", counter.Get()), read("kv", kv.Scan(nil, nil, 0, 0))})
			value, err := exec.Result(results[0])
			n, err2 := counter.DecodeValue(value)
			page, err3 := exec.Result(results[1])
			if _, err4 := kv.DecodeScan(page); err != nil || err2 != nil || err3 != nil || err4 != nil || n < last {
				t.Errorf("queries answer %q: %v, %v, %v, %v; the counter was %d", results, err, err2, err3, err4, last)
				return
			}
			last = n
		}
	})
	var writing sync.WaitGroup
	saved := make([]bytes.Buffer, 8)
	for i := range 400 {
		bundle := &bft.Bundle{Session: 1, First: uint64(2*i + 1), AnsweredBelow: uint64(2*i + 1), Ops: [][]byte{
			exec.EncodeOp("counter", false, counter.Increment()), exec.EncodeOp("kv", false, kv.Put([]byte{byte(i)}, []byte{byte(i >> 8)})),
		}}
		if i == 0 {
			bundle.Session = 0
		}
		m.Execute(&bft.Batch{Seq: bft.Seq(i + 1), Bundles: []*bft.Bundle{bundle}})
		if i%50 == 25 {
			s, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			writing.Go(func() {
				if _, err := s.WriteTo(&saved[i/50]); err != nil || s.Close() != nil {
					t.Errorf("snapshot at %d: %v", i, err)
				}
			})
		}
	}
	writing.Wait()
	close(stop)
	beside.Wait()
	for i := range saved {
		o := twoServices(t)
		if err := o.Restore(&saved[i]); err != nil || o.Executed() != bft.Seq(50*i+26) {
			t.Errorf("snapshot %d: executed %d, %v", i, o.Executed(), err)
		}
	}
}
