package bft

import "slices"

// Status, retransmission and catching up (rules 10, 12, 15, 21): each replica tells its peers
// where it stands, and they send what it lacks.

type helping struct {
	lastStatus Time
	peers      []peer
	newest     []newest
	// progress as of the last status, to tell a gap from what is just under way
	delivered Seq
	stuck     int
}

type peer struct {
	known            bool
	heardAt          Time
	view             View
	changing         bool
	stable, executed Seq
	sent, sentAt     Time // its last status, for the echo
	rtt              Time
	slow             bool // it complains of the primary of its view
	answeredAt       Time // its question for what it signed
	helpedAt, askAt  Time
	allowance        Time // serving budget, see mayServe
}

// newest is the newest that this replica holds signed by one member, to show to it when it
// has just started (rule 19).
type newest struct {
	votes *votes
	pre   *prePrepare
	vc    *viewChange
}

func (n *newest) seeVotes(v *votes) {
	if n.votes == nil || v.view > n.votes.view || v.view == n.votes.view && v.highest() >= n.votes.highest() {
		n.votes = v
	}
}

func (n *newest) seePrePrepare(p *prePrepare) {
	if n.pre == nil || p.view > n.pre.view || p.view == n.pre.view && p.seq > n.pre.seq {
		n.pre = p
	}
}

func (v *votes) highest() Seq {
	var h Seq
	for _, x := range v.votes {
		h = max(h, x.seq)
	}
	return h
}

func (h *helping) init(n int) {
	h.peers, h.newest = make([]peer, n), make([]newest, n)
}

func (h *helping) heard(from ReplicaID, now Time) {
	h.peers[from].known, h.peers[from].heardAt = true, now
}

// mayServe bounds what one peer can make this replica send: 200 answers a second, with a burst of 64.
func (h *helping) mayServe(from ReplicaID, now Time) bool {
	const cost, burst = 5 * Millisecond, 64 * 5 * Millisecond
	p := &h.peers[from]
	if p.allowance < now-burst {
		p.allowance = now - burst
	}
	if p.allowance+cost > now {
		return false
	}
	p.allowance += cost
	return true
}

func (r *Replica) tickHelp() {
	h := &r.help
	if r.now-h.lastStatus < r.cfg.StatusInterval && h.lastStatus != 0 {
		return
	}
	h.lastStatus = r.now
	if r.delivered > h.delivered {
		h.stuck = 0
	} else {
		h.stuck++
	}
	h.delivered = r.delivered
	r.askAround()
	r.retrySoon() // asks again for what was given up
	for id := range h.peers {
		if ReplicaID(id) != r.cfg.Self {
			r.sendStatus(ReplicaID(id), nil)
		}
	}
}

// askAround: a replica that has left its view alone, and whom nobody follows, makes its oldest
// waiting requests known to all, so that those who go on in that view order them.
func (r *Replica) askAround() {
	if !r.changing || r.change.quorumAt != 0 {
		return
	}
	sent := 0
	for _, x := range r.pool.inOrder() {
		if sent == 8 {
			return
		}
		if x.stage == &r.pool.parked {
			continue
		}
		if sent++; x.valid {
			r.send(Everyone, RequestFrame(x.bundle, 0))
		} else {
			r.checkBundle(x)
		}
	}
}

// sendStatus says where this replica stands; asked is the starting status that it answers, or nil.
func (r *Replica) sendStatus(to ReplicaID, asked *status) {
	p := &r.help.peers[to]
	s := &status{view: r.view, changing: r.changing, stable: r.stable, executed: r.delivered, sent: max(r.now, 1),
		echo: p.sent, echoDelay: r.now - p.sentAt, starting: r.start.on, boot: r.start.boot,
		slow: r.complains()}
	for i := Seq(0); i < 64; i++ {
		x := r.slots[r.delivered+1+i]
		if x == nil {
			continue
		}
		bit := uint64(1) << i
		if x.done != nil {
			s.held, s.prepared, s.committed = s.held|bit, s.prepared|bit, s.committed|bit
			continue
		}
		if x.pre != nil && x.pre.view == r.view {
			s.held |= bit
			if x.committing {
				s.prepared |= bit
			}
		}
	}
	if asked != nil {
		s.starting, s.answersStart, s.boot = false, true, asked.boot
		s.newest = r.newestOf(to, asked.stable)
	}
	r.send(to, statusFrame(s))
}

// newestOf collects what this replica holds signed by a member above that member's stable
// checkpoint. The newest alone would not do: with a pipeline, a commit of a lower number is often
// younger than the prepare of a higher one.
func (r *Replica) newestOf(id ReplicaID, stable Seq) []*Envelope {
	n := &r.help.newest[id]
	var out []*Envelope
	seen, room := map[*Envelope]bool{}, MaxFrameBytes/4
	add := func(e *Envelope) {
		if !seen[e] && len(out) < maxNewest && room > len(e.Payload) {
			seen[e] = true
			room -= len(e.Payload) + 128
			out = append(out, e)
		}
	}
	if n.vc != nil {
		add(n.vc.env)
	}
	if n.votes != nil {
		add(n.votes.env)
	}
	if n.pre != nil {
		add(n.pre.env)
	}
	seqs := sortedSeqs(r.slots, stable)
	slices.Reverse(seqs) // the highest first, should there be no room for all
	for _, seq := range seqs {
		s := r.slots[seq]
		for _, v := range s.votesOf(id) {
			add(v.env)
		}
		if s.pre != nil && s.pre.env.Signer == id {
			add(s.pre.env)
		}
	}
	return out
}

// votesOf gives every envelope with votes of a member that a slot holds, in certificates too.
func (s *slot) votesOf(id ReplicaID) []*votes {
	var out []*votes
	for _, v := range []*votes{s.prepares[id].votes, s.commits[id].votes} {
		if v != nil {
			out = append(out, v)
		}
	}
	var certs []*votes
	if s.prepared != nil {
		certs = append(certs, s.prepared.votes...)
	}
	if s.done != nil {
		certs = append(certs, s.done.votes...)
	}
	for _, v := range certs {
		if v.env.Signer == id {
			out = append(out, v)
		}
	}
	return out
}

// onStatus notes where a peer stands and sends what it lacks.
func (r *Replica) onStatus(from ReplicaID, s *status) error {
	p := &r.help.peers[from]
	p.view, p.changing, p.stable, p.executed, p.slow = s.view, s.changing, s.stable, s.executed, s.slow
	p.sent, p.sentAt = s.sent, r.now
	if s.echo > 0 && s.echo <= r.now && s.echoDelay >= 0 {
		if rtt := r.now - s.echo - s.echoDelay; rtt >= 0 {
			if p.rtt == 0 {
				p.rtt = rtt + 1
			}
			p.rtt += (rtt - p.rtt) / 8
			p.rtt = max(p.rtt, 1)
		}
	}
	if s.starting && (r.now-p.answeredAt >= r.cfg.StatusInterval/2 || p.answeredAt == 0) {
		p.answeredAt = max(r.now, 1)
		r.sendStatus(from, s)
	}
	if s.answersStart {
		r.onStartAnswer(from, s)
	}
	if r.now-p.helpedAt >= r.cfg.StatusInterval/2 || p.helpedAt == 0 {
		p.helpedAt = max(r.now, 1)
		r.helpPeer(from, s)
	}
	if s.executed > r.delivered && r.help.stuck > 1 && r.now-p.askAt >= r.cfg.StatusInterval {
		r.catchUp(from)
	}
	return nil
}

// helpPeer retransmits to a peer what its status lacks.
func (r *Replica) helpPeer(to ReplicaID, s *status) {
	switch {
	case r.changing && s.view <= r.view:
		if own := r.change.vcs[r.cfg.Self]; own != nil && own.view == r.view {
			r.send(to, envelopeFrame(own.env))
		}
	case !r.changing && r.change.newView != nil && (s.view < r.view || s.view == r.view && s.changing):
		r.send(to, envelopeFrame(r.change.newView.env))
	}
	own, cert := r.check.own, r.check.certified
	switch {
	case cert != nil && s.stable < cert[0].info.Seq && (s.executed < cert[0].info.Seq || own == nil || own.info.Seq < cert[0].info.Seq):
		// Also for one that has executed it and missed the certificate, when this replica's own
		// checkpoint is no longer at hand, after a restart.
		r.send(to, dataFrame(&data{checkpoint: cert}))
	case own != nil && s.stable < own.info.Seq:
		r.send(to, envelopeFrame(own.env))
	}
	if s.view == r.view && !s.changing && !r.changing {
		r.resend(to, s)
	}
}

// resend sends again what this replica said on numbers that the peer has open for a while.
func (r *Replica) resend(to ReplicaID, s *status) {
	sent := map[*Envelope]bool{}
	again := func(v voteBy) {
		if v.votes != nil && v.view == r.view && !sent[v.votes.env] {
			sent[v.votes.env] = true
			r.send(to, envelopeFrame(v.votes.env))
		}
	}
	for i := Seq(0); i < 64; i++ {
		x := r.slots[s.executed+1+i]
		bit := uint64(1) << i
		if x == nil || s.committed&bit != 0 || x.pre == nil || x.pre.view != r.view || r.now-x.since < r.cfg.StatusInterval {
			continue
		}
		if s.held&bit == 0 && x.pre.env.Signer == r.cfg.Self && !x.inO {
			if b := r.bodies[x.pre.prop.Body]; b != nil || x.pre.prop == Null {
				var c content
				if b != nil {
					c = b.content
				}
				r.send(to, prePrepareFrame(x.pre.env, c))
			}
		}
		if s.prepared&bit == 0 {
			again(x.prepares[r.cfg.Self])
		}
		again(x.commits[r.cfg.Self])
	}
}

// catchUp asks a peer that is ahead for the committed batches that follow mine.
func (r *Replica) catchUp(from ReplicaID) {
	p := &r.help.peers[from]
	if r.fetchS.on || p.executed <= r.delivered {
		return
	}
	p.askAt = r.now
	r.send(from, fetchFrame(&fetch{kind: fetchCommitted, from: r.delivered + 1, to: min(p.executed, r.delivered+maxCommitted)}))
}

// quorumRTT is the round trip within which a quorum, this replica included, can be reached.
func (r *Replica) quorumRTT() Time {
	var room [MaxMembers]Time
	rtts := room[:0]
	for i := range r.help.peers {
		if p := &r.help.peers[i]; ReplicaID(i) != r.cfg.Self && p.rtt > 0 {
			rtts = append(rtts, p.rtt)
		}
	}
	if len(rtts) < r.quorum()-1 {
		return r.cfg.RequestTimeout
	}
	slices.Sort(rtts)
	return rtts[r.quorum()-2]
}

// starting is the time between a start and the first signature (rule 19).
type starting struct {
	on      bool
	boot    uint64
	answers map[ReplicaID]bool
	again   []func() // what records promised, to be signed anew once this replica may
}

// onStartAnswer takes what a peer holds signed by this replica. Once Q−1 others have answered,
// any quorum that counted on a vote of mine has a member among them or me.
func (r *Replica) onStartAnswer(from ReplicaID, s *status) {
	for _, v := range s.newestVotes {
		for _, x := range v.votes {
			if d, ok := r.promises[promise{x.seq, v.view, x.phase}]; (!ok || d != x.digest) && x.seq > r.stable {
				r.becomeAmnesiac("a peer holds a " + x.phase.String() + " of this replica that its records lack")
			}
		}
	}
	for _, p := range s.newestPre {
		if d, ok := r.promises[promise{p.seq, p.view, PhasePrePrepare}]; (!ok || d != p.digest()) && p.seq > r.stable {
			r.becomeAmnesiac("a peer holds a pre-prepare of this replica that its records lack")
		}
	}
	for _, v := range s.newestVC {
		if v.view > r.view {
			r.becomeAmnesiac("a peer holds a view-change of this replica that its records lack")
		}
	}
	if !r.start.on || s.boot != r.start.boot {
		return
	}
	r.start.answers[from] = true
	if len(r.start.answers) < r.quorum()-1 {
		return
	}
	r.start.on = false
	for _, f := range r.start.again {
		f()
	}
	r.start.again = nil
	for _, seq := range sortedSeqs(r.slots, r.stable) {
		r.tryAccept(r.slots[seq])
		r.tryCommit(r.slots[seq])
	}
	r.retryEarly()
	r.checkpointAgain()
	// What the others said meanwhile has been kept, and is acted on now.
	r.joinChange()
	r.noteQuorum()
	r.tryNewView()
	r.change.retry(r)
}
