package byz

import (
	"bytes"
	"context"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Commits withheld from f victims.
//
// The accomplices prepare as they should, but their commits reach only some, and of the honest ones'
// commits the network delivers few. So an operation is executed by one honest replica and by the
// accomplices, who tell its client: f+1 alike, it is done. The others do not know it yet. Now somebody reads without
// ordering, and the accomplices answer from the state that was before: so would every replica that answers what
// it has, and the reader would not see what was acknowledged.
//
// Aims at: rule 27: a read is answered once everything is executed for which a commit was let out, and believed
// when Q answer alike; rule 21: the victims catch up although nobody who lies helps them.
type withheld struct {
	conspirator
	// queried are what the questions since the last reply were answered before the last change.
	queried [][]byte
}

func newWithheld(env Env) Adversary {
	a := &withheld{conspirator: newConspirator(env)}
	a.Plan.shift.secret = true
	return a
}

// Send implements Adversary.
func (a *withheld) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if wire.TypeOf(out.Frame) != bft.TypeVotes || !a.own(e) {
		return []bft.Outbound{out}
	}
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	prepares := slices.DeleteFunc(slices.Clone(v.Votes), func(x *bftpb.Vote) bool { return x.Phase == uint32(bft.PhaseCommit) })
	if len(prepares) == len(v.Votes) {
		return []bft.Outbound{out}
	}
	var less []byte
	if len(prepares) > 0 {
		less = a.seal(bft.TypeVotes, wire.Marshal(&bftpb.Votes{View: v.View, Votes: prepares}))
	}
	victims := a.Plan.victims(v.View, a.faulty())
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		switch {
		case !victims[to]:
			sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
			continue
		case less != nil:
			sent = append(sent, bft.Outbound{To: to, Frame: less})
		}
		a.lie("withheld commits")
	}
	return sent
}

// victims draws so many honest replicas for a view, but not the one that shall know what is executed.
func (p *Plan) victims(view uint64, count int) []bool {
	if s, ok := p.sides[view]; ok {
		return s
	}
	honest := slices.DeleteFunc(p.honest(), func(id bft.ReplicaID) bool { return p.shift != nil && p.shift.act == actWork && id == p.shift.knower })
	s := make([]bool, p.n)
	for _, k := range p.r.Perm(len(honest))[:count] {
		s[honest[k]] = true
	}
	p.sides[view] = s
	return s
}

// Machine implements Adversary.
func (a *withheld) Machine(_ string, m exec.StateMachine) exec.StateMachine {
	return &stale{StateMachine: m, a: a, answers: make(map[string]*answers)}
}

// Reply implements Adversary: a read that was not ordered is answered from the state before.
func (a *withheld) Reply(_ bft.ClientID, frame []byte) [][]byte {
	queried := a.queried
	a.queried = nil
	var r bftpb.Answer
	if wire.Read(bft.TypeAnswer, frame, &r) != nil || len(r.Results) == 0 || len(queried) < len(r.Results) {
		return [][]byte{frame}
	}
	queried = queried[len(queried)-len(r.Results):]
	changed := false
	for i, was := range queried {
		if result := append([]byte{0}, was...); was != nil && !bytes.Equal(result, r.Results[i]) {
			r.Results[i], changed = result, true
		}
	}
	if !changed {
		return [][]byte{frame}
	}
	a.lie("stale answer")
	return [][]byte{wire.Frame(bft.TypeAnswer, &r)}
}

// stale is a service that remembers what it would have answered before the last change.
type stale struct {
	exec.StateMachine
	a       *withheld
	answers map[string]*answers
	// asked are the questions, in the order in which they were first asked.
	asked []string
}

// answers to one question: the present one and the one before.
type answers struct{ now, before []byte }

// keptQuestions is how many questions are remembered.
const keptQuestions = 16

// Apply notes what is answered now, then applies.
func (s *stale) Apply(ctx exec.Context, op []byte) []byte {
	for _, q := range s.asked {
		s.sample(q)
	}
	return s.StateMachine.Apply(ctx, op)
}

// sample notes what a question is answered now.
func (s *stale) sample(q string) {
	x := s.answers[q]
	r, err := s.StateMachine.Query(context.Background(), []byte(q))
	if err == nil && !bytes.Equal(r, x.now) {
		x.before, x.now = x.now, r
	}
}

// Query answers, and notes what it would have answered before.
func (s *stale) Query(ctx context.Context, q []byte) ([]byte, error) {
	if s.answers[string(q)] == nil && len(s.asked) < keptQuestions {
		s.answers[string(q)] = &answers{}
		s.asked = append(s.asked, string(q))
	}
	var before []byte
	if x := s.answers[string(q)]; x != nil {
		s.sample(string(q))
		before = x.before
	}
	s.a.queried = append(s.a.queried, before)
	return s.StateMachine.Query(ctx, q)
}
