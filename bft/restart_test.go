package bft_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// twinOf starts a second instance of a replica from a copy of its disk, which hears all that the first
// one hears from then on, and whose words reach nobody. It must contradict nothing that the first one
// had said by then; after that they may differ, for each acts at moments of its own.
func (c *cluster) twinOf(h *host) *host {
	twin := newHost(c, h.id)
	twin.mute, twin.skew, twin.said = true, h.skew, copyMap(c.said)
	twin.rollback(h.backup())
	twin.ever = copyMap(h.ever)
	twin.boots = h.boots + 100
	twin.start()
	// The others answer its start, as they would answer the first one's.
	for _, peer := range c.hosts {
		if peer.id == h.id || peer.down {
			continue
		}
		mark := len(c.queue)
		_ = c.hand(letter{h.id, peer.id, c.frame(bft.TypeStatus, &bftpb.Status{Starting: true, Boot: twin.boots, Sent: 1,
			View: uint64(h.info().View), Stable: uint64(h.info().Stable), Executed: uint64(h.info().Executed)})})
		for _, l := range c.queue[mark:] {
			if l.kind() == bft.TypeStatus && l.to == h.id {
				c.handTo(twin, l)
			}
		}
	}
	return twin
}

// TestRestartEquivalence: a replica that restarts from its records at any moment ends where the one that
// went on ends, executes the same, and contradicts nothing that it ever said.
func TestRestartEquivalence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{4, 5, 7}).Draw(rt, "n")
		c := started(t, n, func(cfg *bft.Config) { cfg.Interval, cfg.Window = 4, 8 })
		h := c.hosts[rapid.IntRange(0, n-1).Draw(rt, "who")]
		loss := rapid.IntRange(0, 3).Draw(rt, "of ten messages get lost")
		k := 0
		c.dropWhen = func(letter) bool { k++; return (k*7)%10 < loss }
		step := func() {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				c.pass(bft.Time(rapid.IntRange(1, 150).Draw(rt, "time")) * 10 * bft.Millisecond)
			case 1:
				if other := c.hosts[(int(h.id)+1)%n]; !other.down && loss == 0 {
					other.crash()
				} else if other.down {
					other.start()
				}
			default:
				b := c.bundle(counter.Add(1))
				c.give(b)
				c.turnAll()
				for j := rapid.IntRange(0, 40).Draw(rt, "letters"); j > 0 && len(c.queue) > 0; j-- {
					l := c.queue[0]
					c.queue = c.queue[1:]
					c.deliver(l)
				}
			}
		}
		for i := rapid.IntRange(0, 25).Draw(rt, "steps before"); i > 0; i-- {
			step()
		}
		twin := c.twinOf(h)
		if a, b := h.info(), twin.info(); b.Amnesiac != "" || b.View < a.View || b.Stable < a.Stable || b.Committed < a.Committed {
			rt.Fatalf("from its records it comes back as %+v, it was %+v", b, a)
		}
		c.onDeliver = func(l letter) {
			// What the first instance says after the twin's start is none of the twin's words: shown to it, they
			// would prove that it lost its records.
			if _, signer := envelopeIn(l.frame); l.to == h.id && (l.kind() != bft.TypeNewView || signer != h.id) {
				c.handTo(twin, l)
			}
		}
		c.extra = []*host{twin}
		for i := rapid.IntRange(0, 15).Draw(rt, "steps after"); i > 0; i-- {
			step()
		}
		c.dropWhen, loss = nil, 0
		for _, x := range c.hosts {
			if x.down {
				x.start()
			}
		}
		c.pass(8 * bft.Second)
		c.commit(1)
		c.pass(2 * bft.Second)
		a, b := h.info(), twin.info()
		if !a.Changing && !b.Changing && a.View != b.View || a.Stable != b.Stable || a.Executed != b.Executed || b.Amnesiac != "" {
			rt.Fatalf("replica %d ends as\n%+v\nand from its records as\n%+v", h.id, a, b)
		}
		if h.machine.HistoryRoot() != twin.machine.HistoryRoot() {
			rt.Fatal("they have different histories")
		}
	})
}
