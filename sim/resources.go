package sim

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/sim/meter"
)

// resources watches what the others cost an honest replica: oracles R1, its memory, and R2, the
// signatures that it verifies for their bytes and the answers that it sends for their questions.
type resources struct {
	*verdict
	every   bft.Time // between two measurements of a replica
	formula meter.Formula
	of      []costs
}

// costs are those of one replica.
type costs struct {
	due  bft.Time // the next measurement
	peak int      // the most requests that waited when it was last measured
	work meter.Work
	// answers are the data that each peer was sent, less what it was entitled to.
	answers []allowance
}

// allowance is filled by what is sent and emptied by time.
type allowance struct {
	sent float64
	at   bft.Time
}

const (
	// Each question is answered by data once, a fetch of state by as many as there are parts ahead;
	// beside 200 questions a second and a burst of 64 a replica sends some on its own account, to a peer
	// whose status says that it lags.
	answersASecond = 2000
	answersAtOnce  = 1000
)

func newResources(v *verdict, cfg *bft.Config, instances int) *resources {
	l := exec.DefaultLimits()
	r := &resources{verdict: v, every: 12 * cfg.RequestTimeout, of: make([]costs, instances)}
	r.formula = meter.Bound(cfg, l.MaxSessions+l.MaxClosed)
	for i := range r.of {
		r.of[i].answers = make([]allowance, cfg.N())
		// Not all at once, so that together they see more of the run.
		r.of[i].due = bft.Time(i+1) * r.every / bft.Time(instances)
	}
	return r
}

// soon has every replica measured at its next turn.
func (r *resources) soon() {
	for i := range r.of {
		r.of[i].due = 0
	}
}

// turned measures a replica, now and then and when twice as much waits as ever before, after a turn of
// its core (R1).
func (r *resources) turned(h *host) {
	c := &r.of[h.at]
	waiting := h.replica.Info().Pending
	if h.w.q.now < c.due && waiting < 2*c.peak+64 {
		return
	}
	c.due, c.peak = h.w.q.now+r.every, max(c.peak, waiting)
	if err := r.formula.Check(h.replica); err != nil {
		r.fail("R1", "replica %d: %v", h.id, err)
	}
}

// received notes a frame that a replica got.
func (r *resources) received(h *host, m *message) {
	w := &r.of[h.at].work
	switch bft.MessageType(m.frame[0]) {
	case bft.TypeRequest, bft.TypePrePrepare, bft.TypeData:
		w.Frame(meter.Remote(m.from), m.frame)
	default:
		w.Received(meter.Remote(m.from), len(m.frame))
	}
}

// answered notes data that a replica sends to a peer: whoever asks again and again must not have it
// send without end (R2).
func (r *resources) answered(h *host, out bft.Outbound) {
	if len(out.Frame) == 0 || bft.MessageType(out.Frame[0]) != bft.TypeData || int(out.To) >= h.w.n {
		return
	}
	a := &r.of[h.at].answers[out.To]
	now := h.w.q.now
	a.sent = max(0, a.sent-answersASecond*float64(now-a.at)/float64(bft.Second)) + 1
	if a.at = now; a.sent > answersAtOnce {
		r.fail("R2", "replica %d answers all that replica %d asks: more than %d answers and %d a second", h.id, out.To, answersAtOnce, answersASecond)
	}
}

// judge holds the work of all honest replicas against what the others sent.
func (r *resources) judge(hosts []*host) {
	for _, h := range hosts {
		if err := r.of[h.at].work.Judge(); h.honest() && err != nil {
			r.fail("R2", "replica %d: %v", h.id, err)
		}
	}
}
