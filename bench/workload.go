package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

// errWrongResult: f+1 replicas agreed on a result that the operation cannot have.
var errWrongResult = errors.New("wrong result")

// kind tells reads from updates, whose latencies are told apart.
type kind uint8

const (
	update kind = iota
	read
	kinds = 2
)

// operation is one thing to ask of a service.
type operation struct {
	kind    kind
	payload []byte
}

// workload is what clients ask of a service.
type workload interface {
	// source makes the operations of one slot: one of those that a client keeps outstanding. They are
	// made one after the other; the slots of a client work at the same time.
	source(client, slot int) source
	// check tells whether a result is one that the operation can have.
	check(k kind, result []byte) error
}

// source returns the next operation, valid until it is called again.
type source func() operation

// issue hands one operation to a client.
type issue func(op operation, done func([]byte, error)) error

var consistencies = map[string]client.Consistency{
	ReadLinearizable: client.Linearizable, ReadOrdered: client.Ordered, ReadStale: client.Stale,
}

// workload returns the workload that o describes.
func (o *Options) workload() workload {
	switch {
	case o.Mix != "":
		return newMix(o)
	case o.Read != "" && o.Service == KV:
		return recordReads{o.records()}
	case o.Read != "":
		return counterReads{}
	case o.Service == KV:
		return puts{size: o.Size, keys: o.Keys}
	}
	return counterAdds{}
}

// issue returns how operations reach the cluster through c.
func (o *Options) issue(c *client.Client) issue {
	s := c.Service(o.Service)
	// A context that cannot end costs a call nothing. At the end, closing the client ends the calls.
	ctx := context.Background()
	consistency := consistencies[o.Read]
	return func(op operation, done func([]byte, error)) error {
		if op.kind == read {
			return s.SubmitQuery(ctx, op.payload, consistency, done)
		}
		return s.Submit(ctx, op.payload, done)
	}
}

// counterAdds is the empty operation of the counter.
type counterAdds struct{}

func (counterAdds) source(int, int) source { return func() operation { return operation{} } }

func (counterAdds) check(_ kind, result []byte) error {
	if len(result) != 0 {
		return fmt.Errorf("%w: %q for an empty operation of the counter", errWrongResult, result)
	}
	return nil
}

// counterReads asks the counter where it stands.
type counterReads struct{}

var counterGet = []byte("get")

func (counterReads) source(int, int) source {
	return func() operation { return operation{read, counterGet} }
}

func (counterReads) check(_ kind, result []byte) error {
	if len(result) == 0 {
		return fmt.Errorf("%w: nothing for a read of the counter", errWrongResult)
	}
	return nil
}

// keyDigits is the number of digits of a key, maxKeys what they can count.
const (
	keyDigits = 8
	maxKeys   = 100_000_000
)

// pattern is an operation of kv on a numbered key, which is patched in place: the client copies what it
// is given, and a load process that makes garbage takes from the replicas beside it.
type pattern struct {
	op, digits []byte
	stamp      []byte // the first 8 bytes of the value, or nil
}

// newPattern makes a pattern of the operation that encode makes for a key, which ends in digits. Its last
// size bytes are the value.
func newPattern(prefix string, size int, encode func(key []byte) []byte) *pattern {
	key := fmt.Appendf(nil, "%s%0*d", prefix, keyDigits, 0)
	p := &pattern{op: encode(key)}
	at := bytes.Index(p.op, key)
	p.digits = p.op[at+len(prefix) : at+len(key)]
	if size >= 8 {
		p.stamp = p.op[len(p.op)-size:][:8]
	}
	return p
}

// of returns the operation on the key of this number, with 8 other bytes at the beginning of a value that
// has as many.
func (p *pattern) of(number, stamp uint64) []byte {
	for i := len(p.digits) - 1; i >= 0; i-- {
		p.digits[i] = byte('0' + number%10)
		number /= 10
	}
	if p.stamp != nil {
		binary.LittleEndian.PutUint64(p.stamp, stamp)
	}
	return p.op
}

// putPattern puts values of size random bytes.
func putPattern(prefix string, size int, random *rand.PCG) *pattern {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(random.Uint64())
	}
	return newPattern(prefix, size, func(key []byte) []byte { return kv.Put(key, value) })
}

// slotSeed is the seed of what a slot of a client does, the same in each run.
func slotSeed(client, slot int) uint64 { return uint64(client)<<32 | uint64(slot) }

// puts writes values of size bytes under random ones of so many keys for each client.
type puts struct{ size, keys int }

func (p puts) source(client, slot int) source {
	random := rand.NewPCG(slotSeed(client, slot), 0)
	put := putPattern(fmt.Sprintf("bench/%03d/", client), p.size, random)
	return func() operation {
		r := random.Uint64()
		return operation{update, put.of(r%uint64(p.keys), r)}
	}
}

func (puts) check(_ kind, result []byte) error { return checkDone(result) }

func checkDone(result []byte) error {
	if _, err := kv.DecodeDone(result); err != nil {
		return fmt.Errorf("%w: %w", errWrongResult, err)
	}
	return nil
}

// records are the keys that all clients share, with values of size bytes that were put before the load.
type records struct {
	count, size int
	// stale: a read may come to a state from before.
	stale bool
}

func (o *Options) records() records {
	count := o.Keys
	if o.Mix != "" {
		count = o.Records
	}
	return records{count: count, size: o.Size, stale: o.Read == ReadStale}
}

const recordPrefix = "bench/record/"

func (r records) gets() *pattern { return newPattern(recordPrefix, 0, kv.Get) }

func (r records) puts(random *rand.PCG) *pattern { return putPattern(recordPrefix, r.size, random) }

// checkRead tells whether a result is the value of a record.
func (r records) checkRead(result []byte) error {
	value, err := kv.DecodeGet(result)
	switch {
	case r.stale && errors.Is(err, kv.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", errWrongResult, err)
	case len(value) != r.size:
		return fmt.Errorf("%w: a record of %d bytes, want %d", errWrongResult, len(value), r.size)
	}
	return nil
}

// recordReads reads random records, each as often as any other.
type recordReads struct{ records }

func (w recordReads) source(client, slot int) source {
	random, get := rand.NewPCG(slotSeed(client, slot), 0), w.gets()
	return func() operation { return operation{read, get.of(random.Uint64()%uint64(w.count), 0)} }
}

func (w recordReads) check(_ kind, result []byte) error { return w.checkRead(result) }
