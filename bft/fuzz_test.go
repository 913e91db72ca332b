package bft_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// recording is what was said in a run that has seen everything: checkpoints, a view change with a gap in
// it, a state transfer, a restart. It is made once and never changed; fuzz tests replay and spoil it.
type recording struct {
	letters []letter
	bundles []*bft.Bundle
	records []bft.KV
}

var recorded = sync.OnceValue(func() *recording {
	x := &recording{}
	c := started(quietTB{}, 4, nil)
	seen := map[string]bool{}
	c.onDeliver = func(l letter) {
		if k := fmt.Sprint(l.from, l.to, string(l.frame)); !seen[k] && (l.kind() != bft.TypeStatus || len(seen)%7 == 0) {
			seen[k] = true
			x.letters = append(x.letters, l)
		}
	}
	run := func(k int) {
		for i := 0; i < k; i++ {
			b := c.bundle(counter.Add(1))
			x.bundles = append(x.bundles, b)
			c.give(b)
			c.settle()
			c.mustAnswer(b.First, 3*bft.Second)
		}
	}
	run(3)
	c.hosts[3].crash()
	run(2)
	c.hosts[3].start()
	c.pass(500 * bft.Millisecond)
	c.dropWhen = func(l letter) bool { return l.kind() == bft.TypePrePrepare && len(x.bundles)%2 == 0 }
	c.invoke([]int{0, 2}, counter.Add(1))
	c.dropWhen = nil
	c.pass(3 * bft.Second)
	c.hosts[0].crash()
	run(4)
	for _, k := range c.hosts[1].keysInOrder() {
		x.records = append(x.records, bft.KV{Key: []byte(k), Value: c.hosts[1].store[k]})
	}
	run(20)
	c.hosts[0].start()
	c.pass(3 * bft.Second)
	return x
})

// quietTB lets a run outside of a test panic on failure.
type quietTB struct{ testing.TB }

func (quietTB) Helper()                           {}
func (quietTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (quietTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// bare is a cluster whose replica 1 is alone, without the time that starting takes.
func bare(t testing.TB) (*cluster, *host) {
	c := newCluster(t, 4, nil)
	h := c.alone(1)
	h.replica.Tick(c.now, c.now)
	c.answerStart(h, []int{0, 2, 3})
	return c, h
}

// FuzzFromPeer: any bytes, from any member. Only ErrInvalid may come of it, and what is accepted has
// claims that the checker can be asked about.
func FuzzFromPeer(f *testing.F) {
	for _, l := range recorded().letters {
		f.Add(uint32(l.from), l.frame)
	}
	f.Add(uint32(9), []byte{2, 0})
	c, h := bare(f)
	f.Fuzz(func(t *testing.T, from uint32, frame []byte) {
		c.t = t
		u, err := h.checker.FromPeer(bft.ReplicaID(from), frame)
		if err != nil {
			if !errors.Is(err, bft.ErrInvalid) {
				t.Fatalf("not told as invalid: %v", err)
			}
			return
		}
		if len(u.Claims()) > len(frame)/64 {
			t.Fatalf("%d signatures to check in %d bytes", len(u.Claims()), len(frame))
		}
		u.About()
		if _, err := u.Accept(make([]bool, len(u.Claims())+1)); err == nil {
			t.Fatal("a wrong number of verdicts is accepted")
		}
		if v, err := h.checker.Verify(u, c.ring); err == nil {
			_ = h.replica.Step(v)
			h.turn()
			h.sent, c.queue = nil, nil
		}
	})
}

func FuzzFromClient(f *testing.F) {
	for _, b := range recorded().bundles {
		f.Add(bft.RequestFrame(b, 2))
	}
	c, h := bare(f)
	client := c.client.Public()
	f.Fuzz(func(t *testing.T, frame []byte) {
		c.t = t
		u, err := h.checker.FromClient(client, frame)
		if err != nil {
			if !errors.Is(err, bft.ErrInvalid) {
				t.Fatalf("not told as invalid: %v", err)
			}
			return
		}
		if b, _ := u.Request(); b == nil || b.Client != client {
			t.Fatalf("taken for another client's: %x", frame)
		}
		v, err := h.checker.Verify(u, c.ring)
		must(t, err)
		_ = h.replica.Step(v)
		h.turn()
		h.sent, c.queue = nil, nil
	})
}

// FuzzDecodeBundle: whatever decodes keeps its bytes and its bounds, and means the same when its fields are
// encoded and decoded again.
func FuzzDecodeBundle(f *testing.F) {
	for _, b := range recorded().bundles {
		f.Add(b.Payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := bft.DecodeBundle(payload, [64]byte{1}, 16, 4096)
		if err != nil {
			if !errors.Is(err, bft.ErrInvalid) {
				t.Fatalf("not told as invalid: %v", err)
			}
			return
		}
		if len(b.Ops) > 16 || len(payload) > 4096 || b.First == 0 || string(b.Payload) != string(payload) {
			t.Fatalf("%+v", b)
		}
		again, err := bft.DecodeBundle(bft.EncodeBundle(b), [64]byte{1}, 16, 4096+64)
		must(t, err)
		if fmt.Sprint(again.Ops, again.Session, again.Nonce, again.First, again.Expires, again.NotAfter, again.Close, again.AnsweredBelow) !=
			fmt.Sprint(b.Ops, b.Session, b.Nonce, b.First, b.Expires, b.NotAfter, b.Close, b.AnsweredBelow) {
			t.Fatalf("%+v becomes %+v", b, again)
		}
	})
}

// pack writes records one after the other, each field behind its length; unpack reads as many as it can.
func pack(kvs []bft.KV) (b []byte) {
	for _, kv := range kvs {
		for _, field := range [][]byte{kv.Key, kv.Value} {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
		}
	}
	return b
}

func unpack(b []byte) (kvs []bft.KV) {
	field := func() (x []byte, ok bool) {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return nil, false
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		x, b = b[2:n], b[n:]
		return x, true
	}
	for {
		key, _ := field()
		value, ok := field()
		if !ok {
			return kvs
		}
		kvs = append(kvs, bft.KV{Key: key, Value: value})
	}
}

// FuzzNew: records of any content. New says what is wrong, or gives a replica that works.
func FuzzNew(f *testing.F) {
	all := recorded().records
	f.Add(pack(all))
	for i := range all {
		f.Add(pack(all[i : i+1]))
	}
	c, h := bare(f)
	f.Fuzz(func(t *testing.T, packed []byte) {
		c.t = t
		x := bft.Restored{LSN: 1000, Boot: 7, Records: unpack(packed)}
		cfg := c.cfg
		cfg.Self = 1
		r, err := bft.New(cfg, x)
		if err != nil {
			return
		}
		h.replica, h.boots, h.slowDisk = r, 7, false
		h.machine, h.done, h.unsynced, h.unsigned, h.sent = nil, nil, nil, nil, nil
		r.Tick(c.now, c.now)
		for _, from := range []bft.ReplicaID{0, 2, 3} {
			u, err := h.checker.FromPeer(from, c.frame(bft.TypeStatus, &bftpb.Status{AnswersStart: true, Boot: 7, Sent: 1}))
			must(t, err)
			v, err := h.checker.Verify(u, c.ring)
			must(t, err)
			_ = r.Step(v)
		}
		for i := 0; i < 200; i++ {
			r.Tick(c.now+bft.Time(i)*10*bft.Millisecond, c.now)
			ready, ok := r.Ready()
			if !ok {
				continue
			}
			var d bft.Done
			if k := len(ready.Records); k > 0 {
				d.Persisted = ready.Records[k-1].LSN
			}
			for _, s := range ready.Sign {
				d.Signed = append(d.Signed, bft.Signed{ID: s.ID, Signature: c.keys[1].Sign(s.Message)})
			}
			for _, b := range ready.Execute {
				d.Executed = append(d.Executed, bft.Executed{Seq: b.Seq, Time: 1})
			}
			r.Advance(d)
		}
	})
}

// FuzzStep is structure-aware: it replays true messages in any order, and messages of the one liar that the
// cluster has to tolerate, made of true ones by changing their fields and signing them again; with time,
// clients' bundles, slow disks and restarts between. The cluster's watch is on.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	var straight, spoiled []byte
	for i := range recorded().letters {
		straight = append(straight, 0, byte(i), byte(i>>8))
		spoiled = append(spoiled, 1, byte(i), byte(i>>8), byte(i*7), byte(i*13), byte(i*29))
	}
	f.Add(straight)
	f.Add(spoiled)
	for i := 0; i < len(straight); i += 60 {
		f.Add(append(append([]byte(nil), straight[:i]...), spoiled[:min(i*2, len(spoiled))]...))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		liar := 3
		if len(script) > 0 {
			liar = []int{0, 2, 3}[int(script[0])%3]
			script = script[1:]
		}
		playFuzz(t, script, func(int) int { return liar })
	})
}

// FuzzStepAllLie lets all other members lie. There is no agreement to be watched over then; but not even
// a majority of liars may bring a replica to fall.
func FuzzStepAllLie(f *testing.F) {
	var spoiled []byte
	for i := range recorded().letters {
		spoiled = append(spoiled, 1, byte(i), byte(i>>8), byte(i*7), byte(i*13), byte(i*29))
	}
	f.Add(spoiled)
	f.Fuzz(func(t *testing.T, script []byte) {
		playFuzz(t, script, func(signer int) int {
			if signer == 1 {
				return 3
			}
			return signer
		})
	})
}

var fuzzSeeds = flag.Int("seeds", 100, "how many random scripts TestSpoiledMessages plays")

// TestSpoiledMessages plays random scripts of the same kind, of all that FuzzStep and FuzzStepAllLie can
// say, so that every run of the tests has a share of it.
func TestSpoiledMessages(t *testing.T) {
	for seed := 0; seed < *fuzzSeeds; seed++ {
		rng := rand.New(rand.NewSource(int64(seed)))
		script := make([]byte, 1000)
		rng.Read(script)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			liar := []int{0, 2, 3}[seed%3]
			playFuzz(t, script, func(signer int) int {
				if seed%4 == 0 && signer != 1 {
					return signer
				}
				return liar
			})
		})
	}
}

// playFuzz plays a script against replica 1. liarFor names who tells the lie made of a member's message.
func playFuzz(t *testing.T, script []byte, liarFor func(signer int) int) {
	c, h := bare(t)
	rec := recorded()
	next := func() int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	for steps := 0; len(script) > 0 && steps < 400; steps++ {
		switch next() % 8 {
		case 0, 1, 2:
			i := next() | next()<<8
			l := rec.letters[i%len(rec.letters)]
			if l.from != 1 {
				_ = c.hand(letter{l.from, 1, l.frame})
			}
		case 3, 4, 5:
			i := next() | next()<<8
			l := rec.letters[i%len(rec.letters)]
			m := &mutation{c: c, signer: liarFor(int(l.from)), draw: next}
			if frame := m.spoil(l.frame); frame != nil {
				_ = c.hand(letter{bft.ReplicaID(m.signer), 1, frame})
			}
		case 6:
			c.wait(bft.Time(1+next()%40) * 10 * bft.Millisecond)
		case 7:
			switch k := next(); k % 4 {
			case 0:
				h.start()
				c.answerStart(h, []int{0, 2, 3})
			case 1:
				h.slowDisk = !h.slowDisk
				h.sync(min(len(h.unsynced), k))
				h.turn()
			default:
				c.give(rec.bundles[k%len(rec.bundles)], 1)
				h.turn()
			}
		}
		h.sent, c.queue = nil, nil
	}
}
