package teach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/draw"
)

// Times of the engine's scenarios.
const (
	engineMilli = sim.Duration(bft.Millisecond)
	// engineFault is when faults begin, and the picture a little before.
	engineFault = 500 * engineMilli
	// enginePicture is how much of a run is drawn.
	enginePicture = 600 * engineMilli
)

// engineRows bounds the list of what happened.
const engineRows = 14

// engineRun is a run of the real engine.
type engineRun struct {
	opts   sim.Options
	report *sim.Report
	run    draw.Run // all of it
	events []engineEvent
}

// engineEvent is what a scenario wants to know of an event of the simulator.
type engineEvent struct {
	kind     sim.Kind
	from, to int
	text     string
}

// runEngine runs the engine. It keeps the events of the kinds that are asked for.
func runEngine(o sim.Options, kinds ...sim.Kind) (*engineRun, error) {
	e := &engineRun{opts: o}
	o.Observe = func(x *sim.Event) {
		if slices.Contains(kinds, x.Kind) {
			e.events = append(e.events, engineEvent{x.Kind, x.From, x.To, x.Text()})
		}
	}
	var err error
	e.report, e.run, err = sim.Record(o, 0, 0)
	return e, err
}

// oracle is the oracle that broke, or "none".
func (e *engineRun) oracle() string {
	if e.report.OK() {
		return "none"
	}
	return e.report.Failure.Oracle
}

// broke tells in words what broke.
func (e *engineRun) broke() string {
	if e.report.OK() {
		return "nothing breaks"
	}
	detail, _, _ := strings.Cut(e.report.Failure.Detail, "\n")
	return e.report.Failure.Oracle + ": " + detail
}

// safe tells whether no oracle of safety broke: those whose names begin with S, and A1, which says that one
// of them broke and nobody is to be blamed for it.
func (e *engineRun) safe() bool {
	return e.report.OK() || !strings.HasPrefix(e.report.Failure.Oracle, "S") && e.report.Failure.Oracle != "A1"
}

// hits is how often the faults and lies of the run really took place.
func (e *engineRun) hits() int {
	n := 0
	for _, i := range e.report.Stats.Injected {
		n += i.Count
	}
	return n
}

// row is a line of the comparison of runs.
func (e *engineRun) row(name string) []string {
	s := &e.report.Stats
	return []string{name, fmt.Sprint(e.opts.Protocol.N), fmt.Sprint(e.hits()), fmt.Sprint(s.Operations + s.Reads), fmt.Sprint(s.Views), e.oracle()}
}

var engineHead = []string{"run", "replicas", "times it hit", "calls answered", "last view", "oracle that broke"}

// cluster is a small cluster with two clients that read and write two keys.
func cluster(o Options, n int) sim.Options {
	so := sim.Plain()
	so.Seed = o.Seed
	so.Protocol.N = n
	so.Heal = 2 * engineFault
	so.Load.Clients, so.Load.Keys, so.Load.Linearizable, so.Load.Sequences = 2, 2, 20, 40
	return so
}

// draws keeps the stretch of the run around what happened for the diagram, and lists it.
func (p *page) draws(e *engineRun, from sim.Duration) {
	until := from + enginePicture
	if f := e.report.Failure; !e.safe() {
		until = min(until, f.At+engineMilli)
		from = max(0, until-enginePicture/4)
	}
	w := draw.Window(e.run, int64(from), int64(until))
	p.res.run = &w
	p.happened(e)
}

// drawWindow is the stretch of a run that the diagram shows.
func drawWindow(e *engineRun, from sim.Duration) draw.Run {
	return draw.Window(e.run, int64(from), int64(from+enginePicture))
}

// loss is when the last phase of the run begins, in which all lose power; never if an oracle broke before.
func (e *engineRun) loss() int64 {
	i := slices.IndexFunc(e.run.Marks, func(m draw.Mark) bool { return m.Kind == "phase" && m.Text == "loss" })
	if i < 0 {
		return draw.Forever
	}
	return e.run.Marks[i].At
}

// replaced tells whether honest replicas left the first view, and with it its primary, before the last phase.
func (e *engineRun) replaced() bool {
	return slices.ContainsFunc(e.run.Bands, func(b draw.Band) bool { return b.View > 0 && !b.Changing && b.From < e.loss() && b.Line > 0 })
}

// deed is the word for what a faulty replica does: not all mean it.
func (e *engineRun) deed() string {
	b, _ := byz.Find(e.opts.Behaviours[0])
	return word(b.Role == byz.Value || b.Role == byz.State, "fault", "lies")
}

// moment is a line of what happened.
type moment struct {
	at        int64
	who, what string
}

// happened lists what a reader wants to know of a run: faults, crashes, restarts, views, and what broke.
func (p *page) happened(e *engineRun) {
	var ms []moment
	name := func(line int) string {
		if line == draw.Everyone {
			return "all"
		}
		return e.run.Lines[line].Name
	}
	lies, end := 0, e.loss()
	if end != draw.Forever {
		ms = append(ms, moment{end, "all", "lose power, some their disks: the test of what was acknowledged (D1)"})
	}
	crashed := make([]bool, len(e.run.Lines))
	for _, m := range e.run.Marks {
		text, _, _ := strings.Cut(m.Text, "\n")
		switch {
		case m.At >= end:
		case m.Kind == "fault" || m.Kind == "partition" || m.Kind == "pause":
			ms = append(ms, moment{m.At, name(m.Line), m.Kind + ": " + text})
		case m.Kind == "crash":
			crashed[m.Line] = true
			ms = append(ms, moment{m.At, name(m.Line), "crashes"})
		case m.Kind == "start" && crashed[m.Line]:
			ms = append(ms, moment{m.At, name(m.Line), "starts again: " + text})
		case m.Kind == "lie":
			lies++
			if lies <= 3 {
				ms = append(ms, moment{m.At, name(m.Line), e.deed() + ": " + distinct(text)})
			}
		}
	}
	for _, b := range e.run.Bands {
		if b.View > 0 && b.From < end && !b.Changing && !e.run.Lines[b.Line].Byzantine {
			ms = append(ms, moment{b.From, name(b.Line), fmt.Sprintf("enters view %d", b.View)})
		}
	}
	slices.SortStableFunc(ms, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	var rows [][]string
	for _, m := range ms[:min(len(ms), engineRows)] {
		rows = append(rows, []string{fmt.Sprintf("%.1f ms", float64(m.at)/1e6), m.who, cutTo(m.what, 80)})
	}
	if len(ms) > engineRows {
		rows = append(rows, []string{"", "", fmt.Sprintf("... and %d more", len(ms)-engineRows)})
	}
	if f := e.report.Failure; f != nil {
		rows = append(rows, []string{fmt.Sprintf("%.1f ms", float64(f.At)/1e6), "oracle", cutTo(e.broke(), 70)})
	}
	p.table([]string{"at", "who", "what"}, rows)
}

// distinct leaves out what a list says twice.
func distinct(list string) string {
	var out []string
	for _, x := range strings.Split(list, ", ") {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return strings.Join(out, ", ")
}

// cutTo shortens a text to k columns.
func cutTo(s string, k int) string {
	if width(s) <= k {
		return s
	}
	return string([]rune(s)[:k-1]) + "…"
}

// firstReplicas are the replicas 0 to k-1: the first primary is among them.
func firstReplicas(k int) []bft.ReplicaID {
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(k) {
		ids = append(ids, id)
	}
	return ids
}

// classScenario runs a failure class with f faulty replicas of four, and with f+1. It says whether the primary was
// replaced where that is the remedy; stops: beyond f nothing worse is expected than that the service stops.
func classScenario(name, title, story string, strike func(o *sim.Options, targets []bft.ReplicaID), replaced, stops bool) Scenario {
	return scenario(name, title, story, func(p *page, o Options) error {
		const n = 4
		f := bft.MaxFaulty(n)
		var runs [2]*engineRun
		for i := range runs {
			so := cluster(o, n)
			strike(&so, firstReplicas(f+i))
			so.Beyond = i > 0
			var err error
			if runs[i], err = runEngine(so); err != nil {
				return err
			}
		}
		p.section("%d of %d replicas is faulty: the first primary", f, n)
		p.draws(runs[0], engineFault-20*engineMilli)
		p.section("Beside it: %d of %d", f+1, n)
		p.happened(runs[1])
		p.section("Side by side")
		p.table(engineHead, [][]string{runs[0].row(fmt.Sprintf("%d faulty", f)), runs[1].row(fmt.Sprintf("%d faulty", f+1))})
		p.claim("hit", runs[0].hits() > 0 && runs[1].hits() > 0, "The fault really took place, in both runs.", "The fault never took place.")
		p.claim("masked", runs[0].report.OK(), fmt.Sprintf("%d faulty of %d: every oracle held, and every call was answered.", f, n), fmt.Sprintf("%d faulty of %d: %s.", f, n, runs[0].broke()))
		if replaced {
			p.claim("replaced", runs[0].replaced(), "The other replicas went on with another primary, in the next view.", "The faulty replica stayed primary.")
		}
		p.claim("beyond-breaks", !runs[1].report.OK(), fmt.Sprintf("%d faulty of %d are more than f: oracle %s breaks.", f+1, n, runs[1].oracle()), fmt.Sprintf("%d faulty of %d: nothing breaks either.", f+1, n))
		if stops {
			p.claim("beyond-safe", runs[1].safe(), "No oracle of safety breaks even then: the service stops, but it says nothing wrong.", "An oracle of safety breaks: not all who are honest are told the same any more.")
		} else {
			p.claim("beyond-safe", runs[1].safe(), "No oracle of safety breaks even then.", "An oracle of safety breaks: not all who are honest are told the same any more.")
		}
		return nil
	})
}

// strikeAll gives the targets a permanent fault.
func strikeAll(f sim.Fault) func(o *sim.Options, targets []bft.ReplicaID) {
	return func(o *sim.Options, targets []bft.ReplicaID) {
		f := f
		f.Lasts, f.Targets, f.At = sim.Permanent, targets, engineFault
		o.Faults = []sim.Fault{f}
	}
}

// dawdle makes the targets slow, for long enough that the others can tell: they judge by several windows of time.
func dawdle(o *sim.Options, targets []bft.ReplicaID) {
	o.Load.Sequences *= 2
	strikeAll(sim.Fault{Kind: sim.Dawdle, Every: 400 * engineMilli})(o, targets)
}

// lieAs has the targets behave in that way.
func lieAs(behaviour string) func(o *sim.Options, targets []bft.ReplicaID) {
	return func(o *sim.Options, targets []bft.ReplicaID) {
		o.Behaviours, o.Byzantine = []string{behaviour}, targets
	}
}

func classScenarios() []Scenario {
	return []Scenario{
		classScenario("class-crash", "Failure class: crash",
			`The primary of four real replicas crashes and never comes back. The others wait for what it should have proposed,
			lose patience, and elect the next one: a change of view. The clients see a delay and nothing else. The list shows
			when who crashed and when the others entered the next view; at the end of every run all replicas lose power and some
			lose their disks, to see whether all that was acknowledged is still there. Then the same with two of four: what is
			left is no quorum, and a system that needs 2f+1 of 3f+1 must stand still.`,
			strikeAll(sim.Fault{Kind: sim.Crash}), true, true),
		classScenario("class-send-omission", "Failure class: send omission",
			`The primary hears everything, but nothing that it sends arrives anywhere: a broken transmitter, or a full outgoing
			buffer. To the others it looks like a crash; to itself all seems well, but for the answers that do not come. It even
			follows the others into the next view, for it hears of it. Omission is milder than lying and worse than crashing:
			who omits goes on changing its state, and does not know that it has failed. Then the same with two of four.`,
			strikeAll(sim.Fault{Kind: sim.SendOmission}), true, true),
		classScenario("class-receive-omission", "Failure class: receive omission",
			`The primary is deaf: what it sends arrives, but it hears nobody. It gets no requests and no votes, and what it still
			says about itself is true and of no use. Worse, it may believe that all the others have failed: a replica that hears
			nobody must not drive the others into a change of view for that. Here the others notice that their requests are not
			proposed, and go on with the next primary, of which the deaf one never hears. Then the same with two of four.`,
			strikeAll(sim.Fault{Kind: sim.ReceiveOmission}), true, true),
		classScenario("class-timing", "Failure class: timing",
			`All that the primary sends comes 400 ms late: just under the request timeout of 500, so that nobody could complain
			that it failed. But a slow primary is a faulty one: by what they measure among themselves the others know how fast
			it could be, and replace it. No safety rests on time, only progress does: a late message is a message, and counts.
			In an asynchronous network one could not even say what late means; here it is late by the measure of those who are
			on time. Then the same with two of four, when no quorum is on time.`,
			dawdle, true, true),
		classScenario("class-value", "Failure class: value",
			`A replica computes wrong results, and answers with them in good faith: a wrong library, a flipped bit, a division
			that rounds. Nothing about the message itself is wrong, so it cannot be refused; it must be outvoted. A client
			believes only what f+1 replicas say alike, for at least one of them is honest. Then two of four have the same fault:
			now f+1 say the same wrong thing, a client has every reason to believe them, and only an observer who knows the
			service sees that it cannot be.`,
			lieAs("wrong result"), false, false),
		classScenario("class-state-transition", "Failure class: state transition",
			`The host of a replica crashes and is set back to an older copy of its disk, and nobody tells the replica: it has
			forgotten votes that it gave. That is a state into which no correct transition leads, and its next vote might
			contradict a forgotten one. It must not sign again as if nothing had been. It is found out because after every start
			a replica hears from the others what they hold that it signed; being shown a vote that its own records lack, it
			knows that it has amnesia, and signs nothing from then on: better one that is silent than one that contradicts
			itself. Then the same with two of four: they stay silent too, and the others are no quorum.`,
			lieAs("amnesia"), true, true),
		classScenario("class-arbitrary", "Failure class: arbitrary (Byzantine)",
			`The primary does the worst: it proposes different things to different replicas, votes for both, and keeps its
			signatures valid. Any two quorums of 2f+1 out of 3f+1 have an honest replica in common, which votes only once; so at
			most one of the two proposals can be decided, and when neither is, the others change the view. Then two of four lie
			together. With two votes for each story, and one honest replica on either side, each side has its quorum: two honest
			replicas execute different things under one number, which oracle S1 sees (Castro & Liskov, OSDI'99).`,
			lieAs("equivocating primary"), false, false),
	}
}

func engineScenarios() []Scenario {
	return append(classScenarios(),
		divisionScenario(),
		passiveScenario(),
		scenario("equivocation", "Equivocation against 3f and against 3f+1",
			`The same attack by a coalition of two: against six replicas, which is 3·2, and against seven, which is 3·2+1; and by
			one against four. With six, each half of the honest ones makes a quorum with the liars; with seven a quorum is one
			larger, and two of them share an honest replica. One replica more is all the difference. Three replicas and one liar
			cannot be tried with the engine, which refuses a cluster that tolerates nothing: what happens there is shown by
			vectors-three. Oracle S1 says when two honest replicas take different decisions.`, equivocation),
		scenario("engine-bank-transfer", "The doubled bank transfer, on the real engine",
			`The real client adds amounts to a real replicated counter, as a bank does to an account. Some of its replies are
			lost, from all replicas, so that it sends the same request again. Each request has a session and a sequence number;
			the replicas remember what they have executed and what they answered, and that memory is part of the replicated
			state: it survives crashes and is the same everywhere. The list shows what the client was told. The sum is kept
			beside it, each amount once: an answer that differs would be a transfer made twice, or not at all.`, engineBank),
		scenario("engine-rpc-failures", "The five RPC failures, on the real client and the real engine",
			`No server; a lost request; a server crash; a lost reply; a client crash: each is brought about while the real client
			works with four real replicas that count. To the client the group is one server that does not fail: it sends its
			request to all and again until f+1 say the same, under one sequence number, and the group executes it once. The
			first four are masked; they cost time. The fifth cannot be: whoever has crashed is told nothing. Its request is
			executed all the same, since the others had received it, and other clients go on.`, engineRPC),
		scenario("engine-call-semantics", "Exactly once, at most once, at least once, maybe, on the real engine",
			`Real clients add to a real replicated counter, each call with one of four semantics. Then requests are lost, replies are
			lost, or clients crash. What differs is only what leaves the client: the same bytes again and again, the same bytes until
			a deadline that the replicas know too, a new operation each time, or one message and never another. The table counts
			what callers were told beside what the replicas did. Oracle C1 holds each single call to its promise: it would end the
			run and name the call. See call-semantics for all that can happen to one call, and docs/calls.md for the promises.`, engineCalls))
}

// equivocation runs the attack against four, six and seven.
func equivocation(p *page, o Options) error {
	sizes := []struct{ n, liars int }{{4, 1}, {6, 2}, {7, 2}}
	runs := make([]*engineRun, len(sizes))
	var rows [][]string
	for i, s := range sizes {
		so := cluster(o, s.n)
		so.Beyond = true
		lieAs("equivocating primary")(&so, firstReplicas(s.liars))
		var err error
		if runs[i], err = runEngine(so); err != nil {
			return err
		}
		rows = append(rows, runs[i].row(plural(s.liars, "liar")+" of "+fmt.Sprint(s.n)))
	}
	three := bft.DefaultConfig()
	three.Members = make([]crypto.PublicKey, 3)
	refused := three.Validate()
	p.section("Two liars of six")
	p.draws(runs[1], 0)
	p.section("Side by side")
	p.table(engineHead, rows)
	p.section("Quorums")
	var quorums [][]string
	for _, s := range sizes {
		q, honest := bft.Quorum(s.n), s.n-s.liars
		quorums = append(quorums, []string{fmt.Sprint(s.n), fmt.Sprint(s.liars), fmt.Sprint(q), fmt.Sprint(2*q - s.n), fmt.Sprint(2*q - s.n - s.liars), fmt.Sprintf("%d and %d", honest/2+s.liars, honest-honest/2+s.liars)})
	}
	p.table([]string{"replicas", "liars", "quorum", "two quorums share", "honest of these", "votes for each side"}, quorums)
	p.fact("four", runs[0].oracle(), "One liar of four (3f+1): oracle that broke: %s.")
	p.fact("six", runs[1].oracle(), "Two liars of six (3f): oracle that broke: %s. Each half of the honest ones and the two liars are a quorum.")
	p.fact("seven", runs[2].oracle(), "Two liars of seven (3f+1): oracle that broke: %s.")
	p.claim("lied", runs[0].hits() > 0 && runs[1].hits() > 0 && runs[2].hits() > 0, "The liars really lied, in each of the runs.", "In some run nobody lied.")
	text := fmt.Sprint(refused)
	p.claim("three-refused", strings.Contains(text, "at least 4"), "Three replicas are refused by the engine, for at least 4 are needed to tolerate one fault.", "Three replicas are not refused by the engine: "+text)
	return nil
}
