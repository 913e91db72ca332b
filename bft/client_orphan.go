package bft

// What a client does so that what it leaves behind when it dies ends, and only then: it claims its sessions, and shows
// that it is alive.

// claimOverhead bounds what a claim adds to a bundle, in bytes.
const claimOverhead = 2 + MaxInstance + 2*(1+9) + 2

// completeClaim fills in how often a client must be heard that claims its sessions.
func (c *ClientConfig) completeClaim() error {
	if err := c.Claim.check(); err != nil {
		return err
	}
	every := never
	for _, d := range []Time{c.Claim.Lease, c.Claim.Grace} {
		if d > 0 {
			every = min(every, max(1, d/3))
		}
	}
	if every != never {
		c.keepAlive = every
	}
	return nil
}

// overhead bounds the bytes of a bundle without its operations.
func (c *Client) overhead() int {
	if c.cfg.Claim == (Claim{}) {
		return bundleOverhead
	}
	return bundleOverhead + claimOverhead
}

// showLife sends an operation that is for no service, when nothing was sent in the session for a while. Like every operation
// it takes a number, so that ordering it again shows nothing; and it expires, so that it shows when it was sent.
func (c *Client) showLife() {
	if at := c.lifeDue(); c.now < at {
		c.wakeAt(at)
		return
	}
	b := c.newBundle()
	b.deadline = never
	b.Ops = append(b.Ops, nil)
	b.Expires = c.clock + 3*c.cfg.keepAlive
	c.issue(b)
}

// lifeDue is when showLife has something to do next, unless anything else happens before.
func (c *Client) lifeDue() Time {
	if c.cfg.keepAlive == 0 || c.phase != phaseOpen || c.over || c.closing || c.next >= c.lowest()+WindowOps {
		return never
	}
	for _, b := range c.bundles {
		if len(b.calls) == 0 {
			return never // one is on its way
		}
	}
	return c.lastSent + c.cfg.keepAlive
}

// noteEnd takes from accepted results whether the session has ended without the client's doing. Other bundles of it are
// still answered, each for itself, and nothing more leaves in it.
func (c *Client) noteEnd(results [][]byte) {
	for _, r := range results {
		if len(r) == 0 {
			continue
		}
		switch ResultStatus(r[0]) {
		case ResultReplaced:
			c.over, c.replaced = true, true
		case ResultEnded:
			c.over = true
		}
	}
}

// leaveSession goes on after the end of a session, once nothing of it is outstanding; false if something is.
func (c *Client) leaveSession() bool {
	if len(c.bundles) > 0 || c.closeResumed() {
		return false
	}
	c.endSession()
	return true
}

// endReplaced ends the calls that have not left a client that was replaced.
func (c *Client) endReplaced() {
	c.waiting.filter(func(w *waitingCall) bool {
		c.end(w.id, nil, said(resultErrors[ResultReplaced], w.left()), len(w.op))
		return true
	})
}
