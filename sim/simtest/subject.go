package simtest

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/sim"
)

// subject is the service of one replica, from its start until it crashes. It watches whether the service keeps
// what StateMachine asks for.
type subject struct {
	tr      *trial
	place   sim.Place
	machine app.StateMachine
	// came tells of a snapshot that the replica has restored, for the reports.
	came string
	// results are the last ones, with what was in them when they were returned.
	results []returned
	// open is the last snapshot, which is written again when operations have gone on.
	open *handle
	// asked counts the questions: some are asked with a look at the state before and after.
	asked int
}

// returned is a result as the service returned it, and a copy.
type returned struct {
	op, result, was []byte
}

const (
	// keptResults is how many results are watched.
	keptResults = 8
	// suspicious is how many more snapshots are taken when one differs, to find out whether all do.
	suspicious = 32
	// closely is how many questions of each replica are watched closely, and then ever fewer.
	closely = 4
)

// validating is a subject whose service has Validate.
type validating struct {
	*subject
	app.Validator
}

// Validate asks the service.
func (v validating) Validate(op []byte) (err error) {
	v.call("Validate", op, func() { err = v.Validator.Validate(bytes.Clone(op)) })
	return err
}

// newService makes the service of a replica.
func (tr *trial) newService(p sim.Place) (app.StateMachine, error) {
	s := &subject{tr: tr, place: p}
	var err error
	s.call("the factory", nil, func() { s.machine, err = tr.suite.factory(memstore.New()) })
	if err != nil {
		s.fail("FACTORY", "the factory fails: %v", err)
	}
	v, validates := s.machine.(app.Validator)
	u, updates := s.machine.(app.Updater)
	switch {
	case validates && updates:
		return struct {
			validating
			updating
		}{validating{s, v}, updating{s, u}}, nil
	case updates:
		return struct {
			*subject
			updating
		}{s, updating{s, u}}, nil
	case validates:
		return validating{s, v}, nil
	}
	return s, nil
}

// call calls the service, and takes a panic for what it is.
func (s *subject) call(method string, arg []byte, do func()) {
	s.tr.guard(method, arg, do, func(text, stack string) {
		// A replica whose state was spoilt by the adversary may well stop.
		if s.place.Sound() {
			s.place.Fail("PANIC", "replica %d: %s\n%s", s.place.Replica, text, stack)
		}
	})
}

// fail ends the run.
func (s *subject) fail(oracle, format string, args ...any) {
	s.place.Fail(oracle, format, args...)
	panic("simtest: " + oracle)
}

// Apply has the service apply an operation.
func (s *subject) Apply(ctx app.Context, op []byte) (result []byte) {
	own := bytes.Clone(op)
	s.call("Apply", op, func() { result = s.machine.Apply(ctx, own) })
	if !s.place.Honest() {
		return result
	}
	if !bytes.Equal(own, op) {
		s.fail("BYTES", "Apply changes the bytes of the operation that it is given: %s became %s", quote(op), quote(own))
	}
	was := bytes.Clone(result)
	for i := range own {
		own[i] ^= 0x55 + byte(s.place.Replica) // whoever kept a reference goes a way of its own
	}
	// A result may lie in the operation: it is copied by now.
	s.watch(op, result, was)
	s.look()
	if text := s.tr.log.applied(s, &ctx, op, was); text != "" {
		s.fail("S2", "%s", text)
	}
	return was
}

// watch looks whether the last results are what they were, and remembers another one.
func (s *subject) watch(op, result, was []byte) {
	for i := range s.results {
		if r := &s.results[i]; !bytes.Equal(r.result, r.was) {
			s.fail("BYTES", "a result was changed after Apply had returned it, by the time that it applied %s:\n  operation  %s\n  result     %s\n  now        %s",
				quote(op), quote(r.op), quote(r.was), quote(r.result))
		}
	}
	if len(result) == 0 || !bytes.Equal(result, was) {
		return
	}
	if len(s.results) == keptResults {
		s.results = append(s.results[:0], s.results[1:]...)
	}
	s.results = append(s.results, returned{bytes.Clone(op), result, was})
}

// Query has the service answer a question, some of them with a look at what that does to the state.
func (s *subject) Query(ctx context.Context, q []byte) ([]byte, error) {
	s.asked++
	if !s.place.Honest() || s.asked > closely && s.asked&(s.asked-1) != 0 {
		return s.ask(ctx, q)
	}
	before := s.present()
	answer, err := s.ask(ctx, q)
	answer = bytes.Clone(answer)
	again, err2 := s.ask(ctx, q)
	after := s.present()
	if !bytes.Equal(before, after) {
		for range suspicious {
			s.steady(after)
		}
		s.fail("QUERY", "Query of %s changes the state %s", quote(q), difference("before", before, "after", after))
	}
	if !bytes.Equal(answer, again) || fmt.Sprint(err) != fmt.Sprint(err2) {
		s.fail("S2", "Query answers a question differently when it is asked twice in the same state:\n  question  %s\n  first     %s, error %v\n  then      %s, error %v",
			quote(q), quote(answer), err, quote(again), err2)
	}
	return again, err
}

func (s *subject) ask(ctx context.Context, q []byte) (answer []byte, err error) {
	s.call("Query", q, func() { answer, err = s.machine.Query(ctx, bytes.Clone(q)) })
	return answer, err
}

// present writes a snapshot of the present state, for itself.
func (s *subject) present() []byte {
	h := s.take()
	b := h.bytes("a snapshot")
	h.close()
	return b
}

// steady checks that another snapshot of the present state is as one was.
func (s *subject) steady(was []byte) {
	if now := s.present(); !bytes.Equal(was, now) {
		s.fail("S7", "two snapshots of one state of replica %d differ %s", s.place.Replica, difference("the first", was, "the second", now))
	}
}

// Snapshot has the service take a snapshot.
func (s *subject) Snapshot() (app.Snapshot, error) {
	if !s.place.Honest() {
		return s.take(), nil
	}
	s.steady(s.present())
	s.look()
	h := s.take()
	h.watched = true
	return h, nil
}

func (s *subject) take() *handle {
	h := &handle{s: s, seq: s.place.Executed()}
	var err error
	s.call("Snapshot", nil, func() { h.state, err = s.machine.Snapshot() })
	if err != nil {
		s.fail("SNAPSHOT", "Snapshot fails: %v", err)
	}
	return h
}

// look writes the last snapshot again, when operations have gone on: it must be what it was.
func (s *subject) look() {
	h := s.open
	if h == nil {
		return
	}
	s.open = nil
	if now := h.bytes("a snapshot that was taken before the last operations"); !bytes.Equal(h.wrote, now) {
		s.fail("SNAPSHOT", "a snapshot changes when operations go on, %s", difference("at first", h.wrote, "later", now))
	}
	h.close()
}

// Restore has the service restore a snapshot. What reads it gets little at a time, as from a network.
func (s *subject) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.open != nil {
		s.open.close()
	}
	// The second time something is there already, as when a replica that lags is sent a snapshot.
	var rest *bytes.Reader
	for range 2 {
		rest = bytes.NewReader(b)
		s.call("Restore", nil, func() { err = s.machine.Restore(&dribble{r: rest}) })
		if err != nil {
			break
		}
	}
	s.results, s.open = nil, nil
	s.came = ", which had restored a snapshot"
	if !s.place.Honest() {
		return err
	}
	s.tr.restored++
	if err != nil {
		s.fail("RESTORE", "Restore refuses a snapshot of %d bytes that the service has written: %v", len(b), err)
	}
	if rest.Len() > 0 {
		s.fail("RESTORE", "Restore does not read to the end: it leaves %d of %d bytes", rest.Len(), len(b))
	}
	if now := s.present(); !bytes.Equal(b, now) {
		for range suspicious {
			s.steady(now)
		}
		s.fail("S7", "a snapshot that was restored, twice, and taken again at once differs %s", difference("restored", b, "taken again", now))
	}
	return nil
}

// dribble reads one byte at first, and then ever more: whoever takes what one Read gives for all notices.
type dribble struct {
	r    io.Reader
	most int
}

func (d *dribble) Read(p []byte) (int, error) {
	d.most = 2*d.most + 1
	return d.r.Read(p[:min(len(p), d.most)])
}

// handle is a snapshot of the service.
type handle struct {
	s     *subject
	state app.Snapshot
	seq   bft.Seq
	wrote []byte
	// watched snapshots are compared with those of the other replicas, and written again later.
	watched bool
}

// WriteTo writes the snapshot.
func (h *handle) WriteTo(w io.Writer) (int64, error) {
	b := h.bytes("a snapshot")
	if h.watched && h.s.place.Honest() {
		if again := h.bytes("a snapshot"); !bytes.Equal(b, again) {
			h.s.fail("S7", "a snapshot that is written twice differs %s", difference("first", b, "second", again))
		}
		h.wrote = b
		if text := h.s.tr.log.snapshot(h.s, h.seq, b); text != "" {
			h.s.fail("S7", "%s", text)
		}
	}
	n, err := w.Write(b)
	return int64(n), err
}

// bytes are what the service writes.
func (h *handle) bytes(what string) []byte {
	var b bytes.Buffer
	var n int64
	var err error
	h.s.call("WriteTo of "+what, nil, func() { n, err = h.state.WriteTo(&b) })
	if err != nil {
		h.s.fail("SNAPSHOT", "WriteTo of %s fails: %v", what, err)
	}
	if n != int64(b.Len()) {
		h.s.fail("SNAPSHOT", "WriteTo of %s says that it wrote %d bytes, but wrote %d", what, n, b.Len())
	}
	return b.Bytes()
}

// Close keeps a watched snapshot open, to look at it again when operations have gone on.
func (h *handle) Close() error {
	if h.wrote != nil {
		h.s.open = h
		return nil
	}
	h.close()
	return nil
}

func (h *handle) close() {
	var err error
	h.s.call("Close of a snapshot", nil, func() { err = h.state.Close() })
	if err != nil {
		h.s.fail("SNAPSHOT", "Close of a snapshot fails: %v", err)
	}
}
