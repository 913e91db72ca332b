package exec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
)

// model is rules 24 and 25 as simply as they can be said: lists, maps and no bounds in bytes.
type model struct {
	limits   Limits
	now      bft.Time
	last     bft.SessionID
	taped    int
	live     []*modelSession // least recently used first
	closed   []*modelSession // closed first, first
	openings []*modelOpening
}

type modelSession struct {
	id       bft.SessionID
	client   bft.ClientID
	low      uint64
	results  map[uint64]string // of all decided numbers at or above low, and those below that are kept
	lastUsed bft.Time
	closed   bool
}

type modelOpening struct {
	id       bft.SessionID
	client   bft.ClientID
	nonce    bft.Nonce
	notAfter bft.Time
	refused  bool
	count    uint64
	results  map[uint64]string
}

func only(s Status) string { return string(rune(s)) }

func all(b *bft.Bundle, s Status) (results []string) {
	for range max(1, len(b.Ops)) {
		results = append(results, only(s))
	}
	return results
}

func of[T any](list []T, is func(T) bool) (n int) {
	for _, x := range list {
		if is(x) {
			n++
		}
	}
	return n
}

func (m *model) bundle(b *bft.Bundle) (bft.SessionID, []string) {
	if b.Session == 0 {
		return m.open(b)
	}
	find := func(s *modelSession) bool { return s.id == b.Session && s.client == b.Client }
	if i := slices.IndexFunc(m.live, find); i >= 0 {
		s := m.live[i]
		m.live = append(slices.Delete(m.live, i, i+1), s)
		results := m.run(b, s)
		if b.Close && !m.late(b) {
			m.live = m.live[:len(m.live)-1]
			s.closed = true
			m.closed = append(m.closed, s)
			mine := func(x *modelSession) bool { return x.client == s.client }
			if of(m.closed, mine) > m.limits.SessionsPerClient {
				first := slices.IndexFunc(m.closed, mine)
				m.closed = slices.Delete(m.closed, first, first+1)
			}
			m.closed = m.closed[max(0, len(m.closed)-m.limits.MaxClosed):]
		}
		return s.id, results
	}
	if i := slices.IndexFunc(m.closed, find); i >= 0 {
		results := all(b, StatusOK)
		for k := range b.Ops {
			results[k] = m.closed[i].known(b.First+uint64(k), StatusUnknownSession)
		}
		return b.Session, results
	}
	return b.Session, all(b, StatusUnknownSession)
}

// known is the result of a decided number, or else the status.
func (s *modelSession) known(n uint64, otherwise Status) string {
	if result, ok := s.results[n]; ok {
		return result
	}
	if n < s.low {
		return only(StatusForgotten)
	}
	return only(otherwise)
}

func (m *model) late(b *bft.Bundle) bool { return b.Expires != 0 && b.Expires < m.now }

func (m *model) run(b *bft.Bundle, s *modelSession) []string {
	s.lastUsed = m.now
	answered := min(b.AnsweredBelow, s.low+bft.WindowOps)
	s.low = max(s.low, answered)
	s.settle(min(b.AnsweredBelow, s.low))
	for _, o := range m.openings {
		for n := range o.results {
			if o.id == s.id && n < b.AnsweredBelow {
				o.results[n] = only(StatusForgotten)
			}
		}
	}
	var results []string
	for i, op := range b.Ops {
		n := b.First + uint64(i)
		if known := s.known(n, StatusNotNow); known != only(StatusNotNow) {
			results = append(results, known)
			continue
		}
		result, fits := only(StatusTooLate), n < s.low+bft.WindowOps
		switch {
		case !m.late(b) && fits:
			result = m.execute(op)
		case !m.late(b):
			result = only(StatusTooFar)
		}
		if fits {
			s.results[n] = result
			s.settle(0)
		}
		results = append(results, result)
	}
	s.settle(0)
	if len(b.Ops) == 0 {
		results = all(b, StatusOK)
		if m.late(b) {
			results = all(b, StatusTooLate)
		}
	}
	return results
}

// settle advances low and drops results.
func (s *modelSession) settle(answered uint64) {
	for s.results[s.low] != "" {
		s.low++
	}
	for n := range s.results {
		if n < answered || n+bft.WindowOps < s.low {
			delete(s.results, n)
		}
	}
}

func (m *model) execute(op []byte) string {
	m.taped++
	return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(m.taped))) + string(op[2:])
}

func (m *model) open(b *bft.Bundle) (bft.SessionID, []string) {
	for _, o := range m.openings {
		if o.client == b.Client && o.nonce == b.Nonce {
			return o.repeat(b)
		}
	}
	l := &m.limits
	switch mine := func(o *modelOpening) bool { return o.client == b.Client }; {
	case b.NotAfter < m.now:
		return 0, all(b, StatusExpired)
	case m.late(b):
		return 0, all(b, StatusTooLate)
	case b.NotAfter > m.now+l.MaxAhead, len(m.openings) == l.MaxOpenings, of(m.openings, mine) == l.OpeningsPerClient:
		return 0, all(b, StatusNotNow)
	}
	m.last++
	o := &modelOpening{m.last, b.Client, b.Nonce, b.NotAfter, false, uint64(len(b.Ops)), map[uint64]string{}}
	m.openings = append(m.openings, o)
	if !b.Close && !m.room(b.Client) {
		o.refused = true
		return 0, all(b, StatusRefused)
	}
	s := &modelSession{m.last, b.Client, 1, map[uint64]string{}, m.now, false}
	results := m.run(b, s)
	for i := range b.Ops {
		o.results[b.First+uint64(i)] = results[i]
	}
	if !b.Close {
		m.live = append(m.live, s)
	}
	return s.id, results
}

func (o *modelOpening) repeat(b *bft.Bundle) (bft.SessionID, []string) {
	if o.refused {
		return 0, all(b, StatusRefused)
	}
	results := all(b, StatusOK)
	for i := range b.Ops {
		var ok bool
		if results[i], ok = o.results[b.First+uint64(i)]; !ok {
			results[i] = only(StatusSuperseded)
		}
	}
	return o.id, results
}

// room tells whether a session may be opened, after evicting one that was idle for long.
func (m *model) room(client bft.ClientID) bool {
	mine := func(s *modelSession) bool { return s.client == client }
	i := 0
	switch {
	case of(m.live, mine) >= m.limits.SessionsPerClient:
		i = slices.IndexFunc(m.live, mine)
	case len(m.live) < m.limits.MaxSessions:
		return true
	}
	if m.now-m.live[i].lastUsed <= m.limits.MaxAhead {
		return false
	}
	m.live = slices.Delete(m.live, i, i+1)
	return true
}

func (m *model) tick(now bft.Time) {
	m.now = max(m.now, now)
	m.openings = slices.DeleteFunc(m.openings, func(o *modelOpening) bool { return o.notAfter < m.now })
}

// drawBundle draws from few clients, nonces, sessions and numbers, so that they collide.
func drawBundle(t *rapid.T, now bft.Time, last bft.SessionID) *bft.Bundle {
	near := func(label string) bft.Time { return now + bft.Time(rapid.IntRange(-2, 12).Draw(t, label)) }
	b := &bft.Bundle{Client: []bft.ClientID{alice, bob}[rapid.IntRange(0, 1).Draw(t, "client")], First: 1}
	if rapid.IntRange(0, 3).Draw(t, "opens") == 0 {
		b.Nonce[0] = rapid.Byte().Draw(t, "nonce") % 8
		b.NotAfter = near("not after")
	} else {
		b.Session = last + 1 - min(last, bft.SessionID(rapid.IntRange(0, 8).Draw(t, "session back")))
		b.First = rapid.OneOf(rapid.Uint64Range(1, 12), rapid.Uint64Range(bft.WindowOps-3, bft.WindowOps+6)).Draw(t, "first")
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "operations") {
		b.Ops = append(b.Ops, op(fmt.Sprintf("%d.%d", rapid.IntRange(0, 2).Draw(t, "variant"), i)))
	}
	if rapid.IntRange(0, 2).Draw(t, "answers") == 0 {
		b.AnsweredBelow = rapid.OneOf(rapid.Uint64Range(0, 14), rapid.Just(uint64(bft.WindowOps)), rapid.Just(^uint64(0))).Draw(t, "answered")
	}
	if rapid.IntRange(0, 4).Draw(t, "expires?") == 0 {
		b.Expires = near("expires")
	}
	b.Close = rapid.IntRange(0, 6).Draw(t, "close") == 0
	return b
}

// TestRules24And25AgainstTheModel compares the machine with the model on random batches, and
// with a twin that is now and then a fresh machine restored from a snapshot of it.
func TestRules24And25AgainstTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, func(l *Limits) {
			l.MaxSessions, l.SessionsPerClient, l.MaxClosed = 3, 2, 3
			l.MaxOpenings, l.OpeningsPerClient, l.MaxAhead = 8, 6, 10
		})
		m := &model{limits: r.table.limits, now: r.time}
		twin := r.again()
		var seen []*bft.Bundle
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				now := r.time + bft.Time(rapid.IntRange(-3, 6).Draw(t, "time"))
				m.tick(now)
				var bundles []*bft.Bundle
				for range rapid.IntRange(1, 4).Draw(t, "bundles") {
					b := drawBundle(t, m.now, m.last)
					if len(seen) > 0 && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
						b = rapid.SampledFrom(seen).Draw(t, "seen")
					}
					bundles, seen = append(bundles, b), append(seen, b)
				}
				got, same := r.at(now, bundles...), twin.at(now, bundles...)
				for i, b := range bundles {
					session, results := m.bundle(b)
					compare(t, b, got.Replies[i], session, results)
					compare(t, b, same.Replies[i], session, results)
				}
				checkMarks(t, m, got.Executed.Marks)
				if r.tape.ops != m.taped {
					t.Fatalf("%d operations were executed, want %d", r.tape.ops, m.taped)
				}
			},
			"restore": func(t *rapid.T) { twin = r.again() },
			"replay": func(t *rapid.T) {
				if len(seen) > 0 {
					r.Replay(rapid.SampledFrom(seen).Draw(t, "replayed"))
				}
			},
			"": func(*rapid.T) {
				r.check()
				twin.check()
				if !bytes.Equal(r.bytes(), twin.bytes()) || r.HistoryRoot() != twin.HistoryRoot() {
					t.Fatalf("a restored machine went another way")
				}
			},
		})
	})
}

func compare(t *rapid.T, b *bft.Bundle, got Reply, session bft.SessionID, results []string) {
	var have []string
	for _, result := range got.Results {
		have = append(have, string(result))
	}
	if got.Session != session || !slices.Equal(have, results) {
		t.Fatalf("bundle %+v\ngot  session %d, %q\nwant session %d, %q", b, got.Session, have, session, results)
	}
	if got.Client != b.Client || got.First != b.First || got.Nonce != b.Nonce {
		t.Fatalf("bundle %+v: the reply is for another: %+v", b, got)
	}
}

func checkMarks(t *rapid.T, m *model, marks []bft.SessionMark) {
	for _, mark := range marks {
		i := slices.IndexFunc(m.live, func(s *modelSession) bool { return s.id == mark.Session })
		if mark.Gone != (i < 0) {
			t.Fatalf("the mark of session %d says gone is %v", mark.Session, mark.Gone)
		}
		if i < 0 {
			continue
		}
		s := m.live[i]
		if mark.Low != s.low || mark.Client != s.client {
			t.Fatalf("the mark of session %d says %d, want %d", s.id, mark.Low, s.low)
		}
		for n := uint64(1); n < s.low+bft.WindowOps; n++ {
			if want := n < s.low || s.results[n] != ""; mark.Decided(n, 1) != want {
				t.Fatalf("the mark of session %d says %v of number %d (low %d)", s.id, !want, n, s.low)
			}
		}
	}
}
