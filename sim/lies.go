package sim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/byz"
)

// liar is who tells lies: it keeps to how long it shall.
type liar struct {
	w     *world
	at    endpoint
	r     *rand.Rand
	skip  int      // chances that one who lies once lets pass
	turns bft.Time // how long one who lies by turns lies, and then not
	said  int
}

func newLiar(w *world, at endpoint, r *rand.Rand) *liar {
	return &liar{w: w, at: at, r: r, skip: r.IntN(10), turns: between(r, 1, 2*bft.Time(w.opts.Protocol.RequestTimeout))}
}

// tells decides whether what bears these names is carried out, and counts it. Without a name it is no lie.
func (l *liar) tells(names []string) bool {
	if len(names) == 0 {
		return true
	}
	w := l.w
	switch w.opts.Lying {
	case Transient:
		l.said++
		if l.said != l.skip+1 {
			return false
		}
	case Intermittent:
		if w.q.now/l.turns%2 == 1 {
			return false
		}
	}
	w.chances++
	if w.opts.Lies != nil && !w.opts.Lies.Has(w.chances) {
		return false
	}
	number := w.chances
	w.trace.lie(w.q.now, l.at, number, strings.Join(names, ", "))
	w.stats.Deeds++
	w.inflicted[cell{w.opts.lieClass(), w.opts.lying()}]++
	for _, name := range names {
		w.lies[name]++
	}
	return true
}

// lieClass is the class of failure that the adversary's lies belong to: the worst of its behaviours'.
func (o *Options) lieClass() Class {
	class := ClassValue
	for _, name := range o.Behaviours {
		switch b, _ := byz.Find(name); b.Role {
		case byz.Value:
		case byz.State:
			class = ClassState
		default:
			return ClassArbitrary
		}
	}
	return class
}

// sent marks what an adversary made of one frame, and counts what it only kept back.
func (l *liar) sent(original []byte, lied bool, frames []bft.Outbound) []sending {
	var out []sending
	wrong := false
	for _, f := range frames {
		s := sending{f, lied && !bytes.Equal(f.Frame, original)}
		wrong = wrong || s.lie
		out = append(out, s)
	}
	if lied && !wrong {
		l.w.stats.Endured++
	}
	return out
}

// sending is a frame that is to leave.
type sending struct {
	bft.Outbound
	lie bool
}

// judged counts what became of a lie at an honest receiver.
func (w *world) judged(m *message, err error) {
	switch {
	case !m.lie:
	case err != nil:
		w.stats.Refused++
	default:
		w.stats.Outvoted++
	}
}

// liesTold lists the lies by name.
func (w *world) liesTold() []Lie {
	var out []Lie
	for _, name := range SortedKeys(w.lies) {
		out = append(out, Lie{name, w.lies[name]})
	}
	return out
}

// injections lists what was inflicted, by class and duration.
func (w *world) injections() []Injection {
	var out []Injection
	for c, n := range w.inflicted {
		out = append(out, Injection{c.class, c.lasts, n})
	}
	slices.SortFunc(out, func(a, b Injection) int {
		return strings.Compare(string(a.Class)+" "+string(a.Lasts), string(b.Class)+" "+string(b.Lasts))
	})
	return out
}
