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

// workload is what clients ask of a service.
type workload interface {
	// source makes the operations of one slot: one of those that a client keeps outstanding. They are
	// made one after the other; the slots of a client work at the same time.
	source(client, slot int) source
	// check tells whether a result is one that the operation can have.
	check(result []byte) error
}

// source returns the next operation, valid until it is called again.
type source func() []byte

// issue hands one operation to a client.
type issue func(op []byte, done func([]byte, error)) error

var consistencies = map[string]client.Consistency{
	ReadLinearizable: client.Linearizable, ReadOrdered: client.Ordered, ReadStale: client.Stale,
}

// workload returns the workload that o describes.
func (o *Options) workload() workload {
	switch {
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
	if o.Read == "" {
		return func(op []byte, done func([]byte, error)) error { return s.Submit(ctx, op, done) }
	}
	consistency := consistencies[o.Read]
	return func(q []byte, done func([]byte, error)) error { return s.SubmitQuery(ctx, q, consistency, done) }
}

// counterAdds is the empty operation of the counter.
type counterAdds struct{}

func (counterAdds) source(int, int) source { return func() []byte { return nil } }

func (counterAdds) check(result []byte) error {
	if len(result) != 0 {
		return fmt.Errorf("%w: %q for an empty operation of the counter", errWrongResult, result)
	}
	return nil
}

// counterReads asks the counter where it stands.
type counterReads struct{}

var counterGet = []byte("get")

func (counterReads) source(int, int) source { return func() []byte { return counterGet } }

func (counterReads) check(result []byte) error {
	if len(result) == 0 {
		return fmt.Errorf("%w: nothing for a read of the counter", errWrongResult)
	}
	return nil
}

// maxKeys is what the digits of a key can count.
const maxKeys = 100_000_000

// puts writes values of size bytes under random ones of so many keys for each client.
type puts struct{ size, keys int }

// source patches an operation in place: the client copies what it is given, and a load process
// that makes garbage takes from the replicas beside it.
func (p puts) source(client, slot int) source {
	seed := uint64(client)<<32 | uint64(slot)
	random := rand.NewPCG(seed, 0)
	value := make([]byte, p.size)
	for i := range value {
		value[i] = byte(random.Uint64())
	}
	key := fmt.Appendf(nil, "bench/%03d/%08d", client, 0)
	op := kv.Put(key, value)
	at := bytes.Index(op, key)
	digits := op[at+len(key)-8 : at+len(key)]
	var stamp []byte
	if p.size >= 8 {
		stamp = op[len(op)-p.size:][:8]
	}
	return func() []byte {
		r := random.Uint64()
		number := r % uint64(p.keys)
		for i := len(digits) - 1; i >= 0; i-- {
			digits[i] = byte('0' + number%10)
			number /= 10
		}
		if stamp != nil {
			binary.LittleEndian.PutUint64(stamp, r)
		}
		return op
	}
}

func (puts) check(result []byte) error {
	if _, err := kv.DecodeDone(result); err != nil {
		return fmt.Errorf("%w: %w", errWrongResult, err)
	}
	return nil
}
