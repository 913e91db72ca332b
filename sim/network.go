package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// endpoint is where a process is: the replicas by their IDs, then the twins, then the clients.
type endpoint int

// message is a frame on its way.
type message struct {
	from, to endpoint
	frame    []byte
	sent     bft.Time
	// number counts the messages on the link from one endpoint to the other, from 1.
	number int
	// lie is set if an adversary made the frame, or altered it.
	lie bool
}

// network carries frames between endpoints. The sender of a frame is known for certain to its
// receiver, as on the authenticated channels of the real transport; nothing else is.
type network struct {
	q    *queue
	opts *Options
	ids  []bft.ReplicaID // of the instances
	// links has what is drawn for each pair of endpoints, so that a message more on one link changes
	// nothing on the others.
	links  [][]link
	faults []*linkFault // what loses or delays messages
	healed bool         // no more loss, duplicates or late messages
	free   []bft.Time   // when an endpoint has sent what it was given

	// decide is what the adversary wants done with a message.
	decide  func(m *message) byz.Fate
	deliver func(m *message)
	lost    func(m *message)
	hit     func(f *Fault)
	stats   *Stats
}

type link struct {
	r     *rand.Rand
	count int
	drops Ranges // those that are lost in any case
}

// linkFault is a fault that hits messages.
type linkFault struct {
	*Fault
	left int // messages, if it is transient
}

func newNetwork(q *queue, o *Options, stats *Stats, ids []bft.ReplicaID, endpoints int) *network {
	w := &network{q: q, opts: o, ids: ids, stats: stats, links: make([][]link, endpoints), free: make([]bft.Time, endpoints)}
	for i := range w.links {
		w.links[i] = make([]link, endpoints)
	}
	for _, d := range o.Drops {
		w.links[d.From][d.To].drops = d.Messages
	}
	return w
}

// replica tells whether an endpoint is one, or a twin.
func (w *network) replica(e endpoint) bool { return int(e) < len(w.ids) }

// of tells whether an endpoint is one of these replicas.
func (w *network) of(e endpoint, ids []bft.ReplicaID) bool {
	return w.replica(e) && slices.Contains(ids, w.ids[e])
}

func (w *network) link(from, to endpoint) *link {
	l := &w.links[from][to]
	if l.r == nil {
		l.r = stream(w.opts.Seed, fmt.Sprint("link ", from, " ", to))
	}
	return l
}

// begin puts a fault of messages in force, end takes it away.
func (w *network) begin(f *Fault) {
	w.faults = append(w.faults, &linkFault{Fault: f, left: f.Count})
}

func (w *network) end(f *Fault) {
	w.faults = slices.DeleteFunc(w.faults, func(x *linkFault) bool { return x.Fault == f })
}

// heal makes the network behave from now on. Cuts end as their faults do.
func (w *network) heal() { w.healed = true }

// send takes a frame, which nobody may change from now on.
func (w *network) send(from, to endpoint, frame []byte, lie bool) {
	w.stats.Sent++
	l := w.link(from, to)
	l.count++
	m := &message{from: from, to: to, frame: frame, sent: w.q.now, number: l.count, lie: lie}
	lost, delay := w.meets(m, l)
	if lost {
		w.stats.Lost++
		w.lost(m)
		return
	}
	w.carry(m, l, delay)
	if !w.healed && chance(l.r, w.opts.Network.Duplicate) {
		w.stats.Duplicated++
		w.carry(m, l, delay)
	}
}

// meets is what the network, the faults and the adversary do to a message.
func (w *network) meets(m *message, l *link) (lost bool, delay bft.Time) {
	if w.replica(m.from) && w.replica(m.to) {
		fate := w.decide(m)
		lost, delay = fate.Lose, fate.Delay
	}
	for _, f := range w.faults {
		if !w.hits(f, m) {
			continue
		}
		timeout := bft.Time(w.opts.Protocol.RequestTimeout)
		switch f.Kind {
		case Lossy:
			if !chance(l.r, 33) {
				delay += between(l.r, 0, 10*bft.Time(w.opts.Network.Delay))
				continue
			}
			lost = true
		case Late:
			delay += between(l.r, timeout/2, 2*timeout)
		case Jitter:
			delay += between(l.r, 0, timeout/2)
		case Dawdle:
			if f.Every > 0 {
				delay += bft.Time(f.Every)
			} else {
				delay += timeout / 4
			}
		default:
			lost = true
		}
		w.hit(f.Fault)
	}
	if !w.healed && chance(l.r, w.opts.Network.Loss) {
		lost = true
	}
	if k := w.opts.Network.ClientLoss; k > 0 && !w.healed && !(w.replica(m.from) && w.replica(m.to)) && chance(l.r, k) {
		lost = true
	}
	return lost || l.drops.Has(m.number), delay
}

// hits tells whether a fault hits a message.
func (w *network) hits(f *linkFault, m *message) bool {
	switch out, in := w.of(m.from, f.Targets), w.of(m.to, f.Targets); f.Kind {
	case Cut, CutFrom, CutTo: // between replicas, and not among those on one side
		return w.replica(m.from) && w.replica(m.to) && out != in && (out && f.Kind != CutTo || in && f.Kind != CutFrom)
	case Lossy:
		return true
	}
	end := m.from
	if f.Kind == ReceiveOmission {
		end = m.to
	}
	if !w.of(end, f.Targets) || f.On != "" && (len(m.frame) == 0 || bft.MessageType(m.frame[0]).String() != f.On) {
		return false
	}
	switch {
	case f.Count > 0:
		f.left--
		return f.left >= 0
	case f.Every > 0 && f.Kind != Dawdle:
		return (Duration(w.q.now)-f.At)/f.Every%2 == 0
	}
	return true
}

// carry delivers a message after a delay that is drawn. What is large takes its time to leave.
func (w *network) carry(m *message, l *link, more bft.Time) {
	o := &w.opts.Network
	d := bft.Time(o.Delay) + between(l.r, 0, bft.Time(o.Jitter))
	if !w.healed && chance(l.r, o.Reorder) {
		d += between(l.r, 0, 10*d)
	}
	if o.Bandwidth > 0 {
		w.free[m.from] = max(w.free[m.from], w.q.now) + bft.Time(len(m.frame))*bft.Second/bft.Time(o.Bandwidth)
		d += w.free[m.from] - w.q.now
	}
	w.q.after(d+more, func() { w.deliver(m) })
}
