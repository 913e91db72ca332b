package kvclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

func anything(int64) error { return nil }

// enter makes a lease and puts it in line.
func (c *caller) enter(t *testing.T, name, note string) uint64 {
	t.Helper()
	lease := c.grant(t)
	c.must(t, second(Enter(name, lease, []byte(note))))
	return lease
}

func (c *caller) grant(t *testing.T) uint64 {
	t.Helper()
	lease, err := kv.DecodeLease(c.must(t, kv.Grant(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	return lease.ID
}

func second(_ string, op []byte) []byte { return op }

// TestLineIsOfTurnsAlone: a turn is a key on the lease that it names. The note is that of the first in line, whose lease may be
// the younger one.
func TestLineIsOfTurnsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client(1)
		old, young := c.grant(t), c.grant(t)
		c.must(t, kv.Put([]byte(turnKey("a", 77)), []byte("on no lease")))
		c.must(t, kv.Put([]byte(turnKey("a", 0)), nil))
		c.must(t, kv.PutOn(old, []byte(turnKey("a", 78)), []byte("on another one")))
		c.enter(t, "a/b", "of a lock whose name goes on")
		c.must(t, second(Enter("a", young, []byte("the first"))))
		c.must(t, second(Enter("a", old, []byte("the second"))))
		line, err := Line(t.Context(), c, "a", anything)
		if err != nil || len(line) != 2 || line[0].Lease != young || line[1].Lease != old || string(line[0].Note) != "the first" || line[0].Token >= line[1].Token {
			t.Errorf("%+v, %v", line, err)
		}
		// Who acquires the lock does not wait for the others either.
		for _, lease := range []uint64{old, young} {
			c.must(t, kv.Revoke(lease))
		}
		c.must(t, kv.Put([]byte(turnKey("a", 78)), nil))
		l, err := Acquire(t.Context(), s.client(2), "a", time.Minute, Waiting(func(ahead int, e kv.Entry) { t.Errorf("%d before it, %s first", ahead, e.Key) }))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// pages keeps track of the answers that are still in memory.
type pages struct {
	*caller
	answers []weak.Pointer[byte]
}

// Query asks the service.
func (p *pages) Query(ctx context.Context, q []byte, how client.Consistency) ([]byte, error) {
	result, err := p.caller.Query(ctx, q, how)
	if err == nil {
		p.answers = append(p.answers, weak.Make(&result[0]))
	}
	return result, err
}

func (p *pages) held() (n int) {
	runtime.GC()
	for _, a := range p.answers {
		if a.Value() != nil {
			n++
		}
	}
	return n
}

// TestLineHoldsOnePage: the notes of all who wait may be more than fits in memory.
func TestLineHoldsOnePage(t *testing.T) {
	const turns, size = 12, 300 << 10
	c := newService(t).client(1)
	note := strings.Repeat("x", size)
	for range turns {
		c.enter(t, "a", note)
	}
	p := &pages{caller: c}
	told, most := 0, 0
	line, err := Line(t.Context(), p, "a", func(n int64) error {
		told++
		most = max(most, p.held())
		if n < size || n > 3*size {
			t.Errorf("%d bytes are held", n)
		}
		return nil
	})
	if err != nil || len(line) != turns || len(line[0].Note) != size {
		t.Errorf("%d turns, %v", len(line), err)
	}
	if told != turns || most > 2 {
		t.Errorf("%d of %d pages are held at once", most, told)
	}
	full := errors.New("no room")
	if _, err := Line(t.Context(), p, "a", func(int64) error { return full }); err != full {
		t.Errorf("%v", err)
	}
}

// TestLineIsBounded: keys that are no turns do not have it look at any number of them.
func TestLineIsBounded(t *testing.T) {
	c := newService(t).client(1)
	for i := range maxLooked + 1 {
		c.must(t, kv.Put(fmt.Append(nil, "lock/a/", i), nil))
	}
	_, err := Line(t.Context(), c, "a", anything)
	if !errors.Is(err, client.ErrReadFailed) || !bytes.Contains([]byte(err.Error()), []byte("lock/a/")) {
		t.Errorf("%v", err)
	}
}
