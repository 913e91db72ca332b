package sim

import (
	"fmt"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/draw"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Record runs a simulation as Run does, and describes what happened from from until until for a diagram;
// until 0: to the end. What it describes takes memory: some 2 KiB for each broadcast. Recording changes
// nothing: the trace hash is that of Run. Messages that were under way when the run ended are not part of
// it. If an oracle broke, the diagram has its failure.
func Record(o Options, from, until Duration) (*Report, draw.Run, error) {
	if from < 0 || until < 0 || until != 0 && until <= from {
		return nil, draw.Run{}, fmt.Errorf("sim: there is nothing between %v and %v: record a stretch that ends after it begins", from, until)
	}
	w, err := newWorld(o)
	if err != nil {
		return nil, draw.Run{}, err
	}
	r := newRecorder(w, from, until)
	report, err := w.run()
	if err != nil {
		return nil, draw.Run{}, err
	}
	return report, r.result(report), nil
}

// recorder writes down a run for a diagram.
type recorder struct {
	w           *world
	from, until int64
	run         draw.Run

	// arrived are the messages that a replica's machine has, and its process has not yet taken: if it
	// never does, they are lost.
	arrived map[passage][]int
	// said keeps what frames say, for a broadcast is one frame.
	said map[*byte]*said
	// down and band are, for each instance, its last crash and its last view: indices of the run's marks and
	// bands, -1 if it is up, or in none.
	down, band []int
	// calls are the marks of calls that have no result yet, by client.
	calls map[int][]int
}

// passage identifies a message on its link.
type passage struct{ from, to, number int }

// said is what a frame says.
type said struct {
	kind, text, detail string
	view, seq          uint64
}

func newRecorder(w *world, from, until Duration) *recorder {
	r := &recorder{w: w, from: int64(from), until: int64(until), arrived: make(map[passage][]int), said: make(map[*byte]*said), calls: make(map[int][]int)}
	if until == 0 {
		r.until = draw.Forever
	}
	for _, h := range w.hosts {
		r.run.Lines = append(r.run.Lines, draw.Line{Name: w.trace.name(h.at), Byzantine: h.liar != nil})
		r.down, r.band = append(r.down, -1), append(r.band, -1)
	}
	for _, c := range w.clients {
		r.run.Lines = append(r.run.Lines, draw.Line{Name: w.trace.name(c.endpoint()), Client: true, Byzantine: c.bad})
	}
	for i := range w.opts.Faults {
		r.fault(&w.opts.Faults[i])
	}
	deliver, tell := w.net.deliver, w.trace.tell
	w.net.deliver = func(m *message) {
		r.arrives(m)
		deliver(m)
	}
	w.trace.tell = func(e *Event) {
		if tell != nil {
			tell(e)
		}
		r.happens(e)
	}
	return r
}

// fault marks a fault of the options. Crashes and pauses are marked when they happen.
func (r *recorder) fault(f *Fault) {
	mark := draw.Mark{Line: draw.Everyone, At: int64(f.At), Until: int64(f.Until), Kind: "fault", Text: string(f.Kind)}
	if f.permanent() {
		mark.Until = draw.Forever
	}
	switch f.Kind {
	case Crash, CrashLoop, Blackout, DiskLoss, Pause:
		return
	case Cut:
		mark.Kind, mark.Text = "partition", "cut off"
	case CutFrom:
		mark.Kind, mark.Text = "partition", "nobody hears it"
	case CutTo:
		mark.Kind, mark.Text = "partition", "hears nobody"
	}
	if f.On != "" {
		mark.Text += " " + f.On
	}
	mark.Text += "\n" + f.String()
	if len(f.Targets) == 0 {
		r.mark(mark)
		return
	}
	r.w.each(f, func(h *host) {
		mark.Line = int(h.at)
		r.mark(mark)
	})
}

// mark adds a mark, and tells which it is.
func (r *recorder) mark(m draw.Mark) int {
	r.run.Marks = append(r.run.Marks, m)
	return len(r.run.Marks) - 1
}

// arrives notes that a message has reached a machine. It counts as lost until the process takes it.
func (r *recorder) arrives(m *message) {
	now := int64(r.w.q.now)
	if !r.w.net.replica(m.to) || int64(m.sent) > r.until || now < r.from {
		return
	}
	p := passage{int(m.from), int(m.to), m.number}
	r.arrived[p] = append(r.arrived[p], len(r.run.Messages))
	r.message(&Event{At: r.w.q.now, From: p.from, To: p.to, Frame: m.frame, Sent: m.sent, Lie: m.lie}, true)
}

// message adds a message.
func (r *recorder) message(e *Event, lost bool) {
	s := r.says(e.Frame)
	m := draw.Message{From: e.From, To: e.To, Sent: int64(e.Sent), Arrived: int64(e.At), Lost: lost, Lie: e.Lie,
		Type: s.kind, View: s.view, Seq: s.seq, Text: s.text, Detail: s.detail}
	if e.Kind == KindLose {
		m.Arrived = 0
	}
	r.run.Messages = append(r.run.Messages, m)
}

// taken notes that a process has taken a message that its machine had.
func (r *recorder) taken(e *Event) {
	p := passage{e.From, e.To, e.Number}
	if !r.w.net.replica(endpoint(e.To)) {
		if int64(e.Sent) <= r.until && int64(e.At) >= r.from {
			r.message(e, false)
		}
		return
	}
	if waiting := r.arrived[p]; len(waiting) > 0 {
		m := &r.run.Messages[waiting[0]]
		m.Lost, m.Arrived = false, int64(e.At)
		r.arrived[p] = waiting[1:]
	}
}

// happens notes an event.
func (r *recorder) happens(e *Event) {
	r.views()
	now := int64(e.At)
	mark := draw.Mark{Line: e.From, At: now, Kind: e.Kind.String()}
	switch e.Kind {
	case KindDeliver:
		r.taken(e)
	case KindLose:
		if now >= r.from && now <= r.until {
			r.message(e, true)
		}
	case KindCrash:
		mark.Until = draw.Forever
		k := r.mark(mark)
		if e.From < len(r.down) { // clients that crash do not come back, and have no views
			r.down[e.From] = k
			r.leave(e.From)
		}
	case KindStart:
		if k := r.down[e.From]; k >= 0 {
			r.run.Marks[k].Until = now
			r.down[e.From] = -1
		}
		mark.Text = e.Text()
		r.mark(mark)
	case KindPause:
		mark.Until, mark.Text = int64(r.w.hosts[e.From].paused), e.Text()
		r.mark(mark)
	case KindCall:
		mark.Until, mark.Text = draw.Forever, e.Text()
		r.calls[e.From] = append(r.calls[e.From], r.mark(mark))
	case KindResult:
		mark.Text = e.Text()
		r.answered(&mark)
		r.mark(mark)
	case KindPhase:
		mark.Text = e.Text()
		r.mark(mark)
	case KindFault:
		// Marked from the options, which know the end of each.
	default:
		r.point(e, mark)
	}
}

// point adds a mark of a moment, if it is in the stretch that is recorded: there are many.
func (r *recorder) point(e *Event, mark draw.Mark) {
	if mark.At < r.from || mark.At > r.until {
		return
	}
	mark.Text = e.Text()
	if e.Kind == KindExecute {
		_, _ = fmt.Sscanf(mark.Text, "number %d", &mark.Seq) // 0 where the text names none
	}
	r.mark(mark)
}

// answered ends the mark of the call that a result belongs to: the oldest of its client that asked the same.
func (r *recorder) answered(result *draw.Mark) {
	open := r.calls[result.Line]
	for i, k := range open {
		if call := &r.run.Marks[k]; strings.HasPrefix(result.Text, call.Text+":") {
			call.Until = result.At
			r.calls[result.Line] = append(open[:i:i], open[i+1:]...)
			return
		}
	}
}

// views notes which views the replicas are in. It looks at each event: they are dense enough.
func (r *recorder) views() {
	now := int64(r.w.q.now)
	for i, h := range r.w.hosts {
		k := r.band[i]
		if !h.up || h.replica == nil {
			r.leave(i)
			continue
		}
		info := h.replica.Info()
		if k >= 0 {
			if b := &r.run.Bands[k]; b.View == uint64(info.View) && b.Changing == info.Changing {
				continue
			}
			r.run.Bands[k].Until = now
		}
		r.band[i] = len(r.run.Bands)
		r.run.Bands = append(r.run.Bands, draw.Band{Line: i, From: now, Until: draw.Forever, View: uint64(info.View), Changing: info.Changing})
	}
}

// leave notes that an instance is in no view any more.
func (r *recorder) leave(i int) {
	if k := r.band[i]; k >= 0 {
		r.run.Bands[k].Until = int64(r.w.q.now)
		r.band[i] = -1
	}
}

// result is the run as it was recorded.
func (r *recorder) result(report *Report) draw.Run {
	o := &report.Options
	r.run.Title = fmt.Sprint("seed ", o.Seed)
	r.run.Notes = append(r.run.Notes, r.cast(o))
	if f := report.Failure; f != nil {
		r.run.Failure = &draw.Mark{Line: draw.Everyone, At: int64(f.At), Kind: f.Oracle, Text: f.Detail}
	} else {
		r.run.Notes = append(r.run.Notes, "Every oracle held.")
	}
	return draw.Window(r.run, r.from, min(r.until, int64(report.Stats.Virtual)))
}

// cast says who takes part, and what befalls them.
func (r *recorder) cast(o *Options) string {
	var b strings.Builder
	f := bft.MaxFaulty(o.Protocol.N)
	clients := "1 client"
	if o.Load.Clients > 1 {
		clients = fmt.Sprint(o.Load.Clients, " clients")
	}
	fmt.Fprintf(&b, "%d replicas, of which %d may be faulty, and %s of the service %s.", o.Protocol.N, f, clients, o.Load.Service)
	if len(o.Behaviours) > 0 {
		var names []string
		for _, l := range r.run.Lines {
			if l.Byzantine {
				names = append(names, l.Name)
			}
		}
		fmt.Fprintf(&b, " The adversary owns %s: %s.", strings.Join(names, ", "), strings.Join(o.Behaviours, ", "))
	}
	for i, f := range o.Faults {
		if i == 0 {
			b.WriteString(" Faults: ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	if len(o.Faults) > 0 {
		b.WriteString(".")
	}
	fmt.Fprintf(&b, " Faults end at %v.", o.Heal)
	return b.String()
}

// says describes a frame, once.
func (r *recorder) says(frame []byte) *said {
	if len(frame) == 0 {
		return &said{kind: "garbage", text: "an empty frame"}
	}
	s := r.said[&frame[0]]
	if s == nil {
		s = &said{kind: wire.TypeOf(frame).String(), text: wire.Describe(frame), detail: content(frame)}
		if strings.HasPrefix(s.kind, "type ") {
			s.kind = "garbage" // a type that does not exist
		}
		s.about(frame)
		r.said[&frame[0]] = s
	}
	return s
}

// about finds out which view and number a frame is about: of several votes the highest.
func (s *said) about(frame []byte) {
	e := wire.Envelope(frame)
	switch wire.TypeOf(frame) {
	case bft.TypePrePrepare:
		if h, err := wire.Header(e); err == nil {
			s.view, s.seq = h.View, h.Seq
		}
	case bft.TypeVotes:
		if v, err := wire.Votes(e); err == nil {
			s.view = v.View
			phases := make(map[uint32]bool)
			for _, x := range v.Votes {
				phases[x.Phase] = true
				s.seq = max(s.seq, x.Seq)
			}
			if len(phases) == 1 {
				s.kind = bft.Phase(v.Votes[0].Phase).String()
			}
		}
	case bft.TypeCheckpoint:
		if c, err := wire.Checkpoint(e); err == nil {
			s.seq = c.Seq
		}
	case bft.TypeViewChange:
		if v, err := wire.ViewChange(e); err == nil {
			s.view = v.View
		}
	case bft.TypeNewView:
		if v, err := wire.NewView(e); err == nil {
			s.view = v.View
		}
	case bft.TypeReply:
		if p, err := bft.DecodeReply(frame); err == nil {
			s.view = uint64(p.View)
		}
	}
}
