package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Bundles to one replica only.
//
// A client should send its requests to all replicas, which then wait for the primary to propose them. This
// one tells each bundle to a single replica. If that is an honest backup, it alone knows that something is
// to be done, and will be the only one to suspect a primary who never heard of it. If it is an accomplice
// that leads, it proposes what no honest replica has seen, and hands the content out to nobody: whoever
// votes for a list of digests helps to decide something that can never be executed.
//
// Aims at: rule 4: no vote for a proposal whose body is not held; rule 13: a backup passes on what it waits
// for before it suspects; rule 23: what did not come on the client's channel is verified; rule 21.
type oneReplica struct {
	base
	// secret are the bundles that this replica heard from clients of the adversary.
	secret map[bft.Digest]bool
}

func newOneReplica(env Env) Adversary {
	return &oneReplica{base: newBase(env), secret: make(map[bft.Digest]bool)}
}

// Request implements Adversary.
func (a *oneReplica) Request(client bft.ClientID, frame []byte) bool {
	for _, id := range a.Plan.ours {
		if b := bundleOf(frame); id == client && b != nil {
			a.secret[b.Digest] = true
		}
	}
	return true
}

// Send implements Adversary: it tells nobody what is in a secret bundle.
func (a *oneReplica) Send(out bft.Outbound) []bft.Outbound {
	switch wire.TypeOf(out.Frame) {
	case bft.TypeRequest:
		if b := bundleOf(out.Frame); b != nil && a.secret[b.Digest] {
			a.lie("request not passed on")
			return nil
		}
	case bft.TypeData:
		var d bftpb.Data
		if wire.Read(bft.TypeData, out.Frame, &d) != nil {
			break
		}
		if hidden := a.hide(&d.Bundles); !hidden && !a.commits(&d) {
			break
		}
		a.lie("withheld bundle")
		return []bft.Outbound{{To: out.To, Frame: wire.Frame(bft.TypeData, &d)}}
	}
	return []bft.Outbound{out}
}

// hide takes secret bundles out of a list, and tells whether there were any.
func (a *oneReplica) hide(list *[]*bftpb.Request) bool {
	var rest []*bftpb.Request
	for _, q := range *list {
		if b := bundleOf(wire.Frame(bft.TypeRequest, q)); b == nil || !a.secret[b.Digest] {
			rest = append(rest, q)
		}
	}
	hidden := len(rest) < len(*list)
	*list = rest
	return hidden
}

// commits hides what is in committed batches.
func (a *oneReplica) commits(d *bftpb.Data) bool {
	hidden := false
	for _, c := range d.Committed {
		hidden = a.hide(&c.Bundles) || hidden
	}
	return hidden
}

// whisperer is the client of the story.
type whisperer struct {
	clientBase
	// told is the replica that each bundle was told to.
	told map[bft.Digest]bft.ReplicaID
}

func newWhisperer(env ClientEnv) ClientAdversary {
	env.Plan.enlist(env.Key)
	return &whisperer{clientBase: newClientBase(env), told: make(map[bft.Digest]bft.ReplicaID)}
}

// Send implements ClientAdversary.
func (c *whisperer) Send(out bft.Outbound) []bft.Outbound {
	b := bundleOf(out.Frame)
	if b == nil {
		return []bft.Outbound{out}
	}
	to, ok := c.told[b.Digest]
	if !ok {
		if to = bft.ReplicaID(c.Rand.IntN(c.N)); c.chance(60) {
			to = c.Plan.faulty[c.Rand.IntN(len(c.Plan.faulty))]
		}
		c.told[b.Digest] = to
	}
	c.lie("bundle to one replica only")
	if out.To != bft.Everyone && out.To != to {
		return nil
	}
	return []bft.Outbound{{To: to, Frame: out.Frame}}
}

// Inject implements ClientAdversary: it has more to tell than its callers, so that there is always a secret.
func (c *whisperer) Inject(bft.Time) []bft.Outbound {
	if !c.chance(15) {
		return nil
	}
	c.lie("bundle to one replica only")
	return []bft.Outbound{{To: c.Plan.faulty[c.Rand.IntN(len(c.Plan.faulty))], Frame: c.signed(opening(c.Rand, c.Key))}}
}
