package bft_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// floods makes the i-th message of each kind of flood, and names its sender.
func (c *cluster) floods() map[string]func(i int) (from int, frame []byte) {
	bundle := func(i int) *bft.Bundle {
		return c.bundleOf(c.ring.NewKey([32]byte{80, byte(i), byte(i >> 8)}), 0, 1, counter.Add(1))
	}
	unknown := func(i int) bft.Proposal {
		return bft.Proposal{Body: crypto.Hash("unknown", []byte{byte(i), byte(i >> 8)}), Time: c.now}
	}
	return map[string]func(i int) (from int, frame []byte){
		"votes of any view": func(i int) (int, []byte) {
			return 3, c.framed(c.votes(3, bft.View(i%1000), prepare(bft.Seq(i), unknown(i)), commit(bft.Seq(i), unknown(i))))
		},
		"checkpoints": func(i int) (int, []byte) {
			return 3, c.framed(c.checkpointOf(3, bft.CheckpointInfo{Seq: bft.Seq(8 * (i + 1)), State: crypto.Hash("s", []byte{byte(i)})}))
		},
		"view-changes": func(i int) (int, []byte) { return 3, c.framed(c.viewChange(3, bft.View(i+1), 0, nil)) },
		"new-views": func(i int) (int, []byte) {
			v := bft.View(4*i + 3)
			vcs := []*bftpb.Envelope{c.viewChange(0, v, 0, nil), c.viewChange(2, v, 0, nil), c.viewChange(3, v, 0, nil)}
			for _, e := range vcs {
				e.Signature[1] = byte(i) // digests that nobody has
			}
			return 3, c.framed(c.newView(v, vcs))
		},
		"requests passed on": func(i int) (int, []byte) { return 3, requestFrame(bundle(i)) },
		"pre-prepares of unknown bundles": func(i int) (int, []byte) {
			list := make([]*bft.Bundle, 16)
			for j := range list {
				list[j] = bundle(16*i + j)
			}
			return 0, c.prePrepare(0, 0, bft.Seq(4+i%60), list...)
		},
		"statuses": func(i int) (int, []byte) {
			return 3, c.frame(bft.TypeStatus, &bftpb.Status{View: uint64(i), Executed: uint64(i), Sent: int64(i), Starting: true, Boot: uint64(i)})
		},
		"fetches": func(i int) (int, []byte) {
			d := crypto.Hash("nothing", []byte{byte(i)})
			return 3, c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: uint32(1 + i%5), Digests: d[:], From: uint64(i), To: uint64(i + 1000)})
		},
		"data unasked": func(i int) (int, []byte) {
			b := bundle(i)
			return 3, c.frame(bft.TypeData, &bftpb.Data{Bundles: []*bftpb.Request{{Payload: b.Payload, Signature: b.Signature[:]}}, Bodies: []*bftpb.Body{{Bundles: b.Digest[:]}}})
		},
	}
}

// TestFloodsAreBounded: a liar sends, one after the other, thousands of well-formed messages about
// numbers, views and digests that nobody has heard of (adversary 30). Whatever it makes a replica
// keep has a bound that does not depend on how much it sends.
func TestFloodsAreBounded(t *testing.T) {
	c := started(t, 4, func(cfg *bft.Config) { cfg.PoolFloor, cfg.MaxBundleOps, cfg.MaxBatchOps = 256, 16, 16 })
	c.commit(3)
	h := c.alone(1)
	window := int(c.cfg.Window)
	bounds := map[string]int{
		"slots": 2 * window, "early": 2 * window, "bodies": 3 * window, "wanted": 16 * 3 * window, "wantOrder": 2 * 16 * 3 * window,
		"held": 3 * 16 * window, "lacking": 2 * window, "promises": 6 * window, "pool": 2*c.cfg.PoolFloor + 16*2*window, "clients": 2*c.cfg.PoolFloor + 16*2*window,
		"recent": 1 << 14, "sessions": 4, "checkpoints": 4 * (2*window/8 + 1), "view-changes": 4, "extra": 4, "offered": 4, "reads": 1 << 14, "pending": 8, "waiting": 8, "messages": 0,
	}
	for name, flood := range c.floods() {
		for i := 0; i < 3000; i++ {
			from, frame := flood(i)
			_ = c.hand(letter{bft.ReplicaID(from), 1, frame})
			if i%100 == 0 {
				c.wait(10 * bft.Millisecond)
				h.sent = nil
			}
		}
		for what, size := range h.replica.Sizes() {
			bound, ok := bounds[what]
			if !ok {
				t.Fatalf("no bound is stated for %s", what)
			}
			if size > bound {
				t.Errorf("after a flood of %s: %d %s, at most %d are meant to be", name, size, what, bound)
			}
		}
	}
}

// TestAnswersAreBounded: small messages of one peer do not make a replica send without end.
func TestAnswersAreBounded(t *testing.T) {
	c := started(t, 4, nil)
	c.commit(12)
	h := c.alone(1)
	// What it holds of member 3: a long view-change.
	var certs []prepared
	for s := bft.Seq(9); s <= 24; s++ {
		certs = append(certs, c.certify(0, s, proposal(c.now, c.bundle(counter.Add(1))), 1, 2))
	}
	info := bft.CheckpointInfo{Seq: 8, State: h.digests[8].State, History: h.digests[8].History}
	must(t, c.handAll(1, c.viewChange(3, 1, 8, c.checkpointCert(info, 0, 1, 2), certs...)))
	for name, frame := range map[string][]byte{
		"starting": c.frame(bft.TypeStatus, &bftpb.Status{Starting: true, Boot: 1, Sent: 1}),
		"behind":   c.frame(bft.TypeStatus, &bftpb.Status{Sent: 1}),
		"fetch":    c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: 4, From: 9, To: 1000}),
		"state":    c.frame(bft.TypeFetch, &bftpb.Fetch{Kind: 5, From: 8}),
	} {
		h.sent = nil
		c.wait(bft.Second)
		h.sent = nil
		in, out := 0, 0
		for i := 0; i < 5000; i++ {
			_ = c.hand(letter{3, 1, frame})
			in += len(frame)
		}
		for _, l := range h.sent {
			out += len(l.frame)
		}
		if limit := 64*(16<<10) + in; out > limit {
			t.Errorf("%d bytes of %s make it send %d bytes at once", in, name, out)
		}
	}
}
