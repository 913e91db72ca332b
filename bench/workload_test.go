package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// Puts of every size are what the service takes for puts, of values of that size under the keys of the client.
func TestPutsAreExecuted(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 16, 1024, kv.MaxValue} {
		machine, err := kv.New(memstore.New())
		if err != nil {
			t.Fatal(err)
		}
		load := puts{size: size, keys: 3}
		for slot := range 2 {
			next := load.source(12, slot)
			for range 20 {
				if err := load.check(update, machine.Apply(app.Context{}, next().payload)); err != nil {
					t.Fatalf("size %d: %v", size, err)
				}
			}
		}
		result := machine.Apply(app.Context{}, kv.Scan([]byte("bench/"), nil, 100, kv.MaxScanBytes))
		page, err := kv.DecodeScan(result)
		if err != nil {
			t.Fatal(err)
		}
		if page.More { // the values are as large as a page may be
			page.Items = page.Items[:1]
		} else if len(page.Items) != 3 {
			t.Errorf("size %d: %d keys, want 3", size, len(page.Items))
		}
		for i, item := range page.Items {
			if want := fmt.Sprintf("bench/012/%08d", i); string(item.Key) != want || len(item.Value) != size {
				t.Errorf("size %d: key %q with %d bytes, want %q", size, item.Key, len(item.Value), want)
			}
		}
	}
}

// Clients and slots write different things, the same ones in each run.
func TestPutsDiffer(t *testing.T) {
	load := puts{size: 16, keys: 1000}
	first := slices.Clone(load.source(0, 0)().payload)
	if again := load.source(0, 0)().payload; !bytes.Equal(first, again) {
		t.Errorf("the first operation is %q, and %q the next time", first, again)
	}
	for _, at := range [][2]int{{0, 1}, {1, 0}} {
		if other := load.source(at[0], at[1])().payload; bytes.Equal(first, other) {
			t.Errorf("client %d, slot %d begins like client 0, slot 0", at[0], at[1])
		}
	}
}

func TestCounterWorkload(t *testing.T) {
	machine, err := counter.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	next := counterAdds{}.source(0, 0)
	for range 3 {
		if err := (counterAdds{}).check(update, machine.Apply(app.Context{}, next().payload)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := machine.Query(t.Context(), counterReads{}.source(0, 0)().payload)
	if err != nil || string(got) != "3" {
		t.Errorf("the counter stands at %q (%v), want 3", got, err)
	}
	if err := (counterReads{}).check(read, got); err != nil {
		t.Error(err)
	}
	for _, err := range []error{counterAdds{}.check(update, []byte("overflow")), counterReads{}.check(read, nil), puts{}.check(update, []byte{3})} {
		if !errors.Is(err, errWrongResult) {
			t.Errorf("a wrong result was taken for right: %v", err)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	good := DefaultOptions()
	if err := good.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"no clients":           func(o *Options) { o.Clients = 0 },
		"many clients":         func(o *Options) { o.Clients = MaxClients + 1 },
		"no depth":             func(o *Options) { o.Depth = 0 },
		"much depth":           func(o *Options) { o.Depth = maxDepth + 1 },
		"too much outstanding": func(o *Options) { o.Clients, o.Depth = MaxClients, maxDepth },
		"no duration":          func(o *Options) { o.Duration = 0 },
		"negative warm-up":     func(o *Options) { o.Warmup = -1 },
		"no calibration":       func(o *Options) { o.Calibration = 0 },
		"three nodes":          func(o *Options) { o.Nodes = 3 },
		"sized counter":        func(o *Options) { o.Size = 16 },
		"large value":          func(o *Options) { o.Service, o.Size = KV, kv.MaxValue+1 },
		"negative value":       func(o *Options) { o.Service, o.Size = KV, -1 },
		"no keys":              func(o *Options) { o.Service, o.Keys = KV, 0 },
		"other service":        func(o *Options) { o.Service = "files" },
		"other read":           func(o *Options) { o.Read = "dirty" },
		"negative rate":        func(o *Options) { o.Rate = -1 },
		"no number":            func(o *Options) { o.Rate = math.NaN() },
		"high rate":            func(o *Options) { o.Rate = MaxRate + 1 },
		"arrivals alone":       func(o *Options) { o.Arrivals = ArrivalsEven },
		"other arrivals":       func(o *Options) { o.Rate, o.Arrivals = 1, "bursts" },
		"other mix":            func(o *Options) { *o = DefaultMix(); o.Mix = "F" },
		"mix of the counter":   func(o *Options) { *o = DefaultMix(); o.Service, o.Size = Counter, 0 },
		"no records":           func(o *Options) { *o = DefaultMix(); o.Records = 0 },
		"many records":         func(o *Options) { *o = DefaultMix(); o.Records = MaxRecords + 1 },
		"other read of a mix":  func(o *Options) { *o = DefaultMix(); o.Read = "dirty" },
		"program and dir":      func(o *Options) { o.Dir, o.Program = "x", "y" },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	mixed := DefaultMix()
	if err := mixed.Validate(); err != nil {
		t.Errorf("the defaults of a mix are refused: %v", err)
	}
	running := DefaultOptions()
	running.Dir, running.Nodes = "x", 0
	if err := running.Validate(); err != nil {
		t.Errorf("the number of nodes of a running cluster is refused: %v", err)
	}
}
