package sim

import (
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/bft"
)

// endpoint is a replica, by its ID, or a client, n onwards.
type endpoint int

// network carries frames between endpoints. The sender of a frame is known for certain to its
// receiver, as on the authenticated channels of the real transport; nothing else is.
type network struct {
	q    *queue
	r    *rand.Rand
	opts Network
	n    int // replicas
	// cuts counts, for each pair of replicas, the faults that lose messages from one to the other.
	cuts   [][]int
	lossy  int  // faults that make all links lossy
	healed bool // no more loss, duplicates or late messages

	deliver func(from, to endpoint, frame []byte)
	stats   *Stats
}

func newNetwork(q *queue, o *Options, stats *Stats, deliver func(from, to endpoint, frame []byte)) *network {
	w := &network{q: q, r: stream(o.Seed, "network"), opts: o.Network, n: o.Protocol.N, stats: stats, deliver: deliver}
	w.cuts = make([][]int, w.n)
	for i := range w.cuts {
		w.cuts[i] = make([]int, w.n)
	}
	return w
}

// cut begins (+1) or ends (-1) a partition.
func (w *network) cut(f *Fault, by int) {
	inside := make([]bool, w.n)
	for _, id := range f.Targets {
		inside[id] = true
	}
	for a := range w.n {
		for b := range w.n {
			out, in := inside[a] && !inside[b], !inside[a] && inside[b]
			if out && f.Kind != CutTo || in && f.Kind != CutFrom {
				w.cuts[a][b] += by
			}
		}
	}
}

// heal makes the network behave from now on. Cuts end as their faults do.
func (w *network) heal() { w.healed = true }

// send takes a frame, which nobody may change from now on.
func (w *network) send(from, to endpoint, frame []byte) {
	w.stats.Sent++
	if int(from) < w.n && int(to) < w.n && w.cuts[from][to] > 0 {
		w.stats.Lost++
		return
	}
	loss, late := w.opts.Loss, w.opts.Reorder
	if w.lossy > 0 {
		loss, late = loss+33, late+33
	}
	if w.healed {
		loss, late = 0, 0
	}
	if chance(w.r, loss) {
		w.stats.Lost++
		return
	}
	w.carry(from, to, frame, late)
	if !w.healed && chance(w.r, w.opts.Duplicate) {
		w.stats.Duplicated++
		w.carry(from, to, frame, late)
	}
}

// carry delivers a frame after a delay that is drawn.
func (w *network) carry(from, to endpoint, frame []byte, late int) {
	d := bft.Time(w.opts.Delay) + between(w.r, 0, bft.Time(w.opts.Jitter))
	if chance(w.r, late) {
		d += between(w.r, 0, 10*d)
	}
	w.q.after(d, func() { w.deliver(from, to, frame) })
}
