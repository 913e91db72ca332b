package bft

import "fmt"

// BundleName is how a client's journal names a bundle: by its session, or its nonce if it opened one, and its first number.
type BundleName struct {
	Session SessionID
	Nonce   Nonce
	First   uint64
}

// Name names the bundle among those of its client.
func (b *Bundle) Name() BundleName {
	n := BundleName{Session: b.Session, First: b.First}
	if b.Opens() {
		n.Nonce = b.Nonce
	}
	return n
}

// errVoided: the client has used the operation's number up before it was ordered (rule 25).
var errVoided = &CallError{ErrNotSubmitted, nil, "it was ended before it was ordered"}

// Resume takes over what an earlier life of the client has left outstanding: signed bundles of this client, all of one
// session, in the order of their numbers, or the one that opens it, and a call for each of their operations. It comes before
// all else. They are repeated as they are; or, with end, others without operations take their numbers (extermination):
// then what was not executed before never will be, and its call ends in ErrNotSubmitted. Other calls
// wait until all these have ended; they are made in a new session, for the highest number of the old one is not known. An error
// says that the bundles cannot be of one life.
func (c *Client) Resume(bundles []*Bundle, calls [][]CallID, end bool) error {
	if len(bundles) == 0 {
		return nil
	}
	first := bundles[0]
	for i, b := range bundles {
		switch {
		case b.Client != c.cfg.Key:
			return fmt.Errorf("client: bundle %d is of another key", i)
		case b.Session != first.Session || b.Opens() && len(bundles) > 1:
			return fmt.Errorf("client: bundle %d is of another session", i)
		case i > 0 && b.First < bundles[i-1].First+uint64(len(bundles[i-1].Ops)):
			return fmt.Errorf("client: bundle %d repeats a number", i)
		case len(calls) != len(bundles) || len(calls[i]) != len(b.Ops):
			return fmt.Errorf("client: bundle %d has %d operations", i, len(b.Ops))
		}
	}
	c.phase, c.session, c.nonce = phaseOpen, first.Session, first.Nonce
	if first.Opens() {
		c.phase = phaseOpening
	}
	c.over, c.resumed = true, true
	for i, b := range bundles {
		s := c.newBundle()
		s.Bundle = *b
		s.Ops = nil
		s.deadline, s.backoff, s.votes = never, c.cfg.RetryAfter, make([]resultVote, c.cfg.N)
		for k, id := range calls[i] {
			s.calls = append(s.calls, sentCall{id: id, deadline: never, size: len(b.Ops[k])})
			c.calls++
			c.bytes += len(b.Ops[k])
		}
		c.next = max(c.next, b.First+uint64(len(b.Ops)))
		c.bundles = append(c.bundles, s)
		if end {
			c.void(s)
			continue
		}
		s.signed, s.asked, s.replier, s.sentAt, s.retryAt = true, c.all(), Everyone, c.now, c.now
		c.wakeAt(c.now)
	}
	return nil
}

// void replaces what s repeats by a bundle that takes its numbers for nothing.
func (c *Client) void(s *sentBundle) {
	s.voids, s.Expires, s.Close = true, 0, false
	s.Ops = make([][]byte, len(s.calls))
	s.Payload = EncodeBundle(&s.Bundle)
	s.Ops = nil
	c.signID++
	s.signID = c.signID
	c.ready.Sign = append(c.ready.Sign, SignRequest{ID: s.signID, Type: TypeRequest, Message: RequestSigningBytes(c.cfg.Cluster, s.Payload)})
}

// outcome is what a result says to a call of b.
func (b *sentBundle) outcome(result []byte) ([]byte, error) {
	if b.voids && len(result) == 1 && ResultStatus(result[0]) == ResultInvalid {
		return nil, errVoided
	}
	return splitResult(result)
}

// closeResumed closes the session that was resumed; false if there is none.
func (c *Client) closeResumed() bool {
	if !c.resumed || c.phase != phaseOpen {
		return false
	}
	c.resumed = false
	b := c.newBundle()
	b.Close, b.deadline = true, never
	c.issue(b)
	return true
}
