package bft

import (
	"math/bits"
	"slices"
)

// With ClientConfig.Lowest the replier is the lowest replica that is active: it can be reached, the members do not
// hold it for silent, and it has not failed this client. So one replica does for all clients what costs most, and an operator
// knows which. The members' tables are no part of the protocol, and what they say is a hint: a replier that does not
// answer, or does not tell the truth, costs one more round, like any other (rule 28).

// SetFit tells which replicas are fit to answer, as far as the host knows: bit i for replica i. At first all are. One that
// becomes fit again is forgiven what it failed.
func (c *Client) SetFit(fit uint64) {
	fit &= c.all()
	c.failed &^= fit &^ c.fit
	c.fit = fit
	c.elect()
}

// Replier is the replica that is named for results in full.
func (c *Client) Replier() ReplicaID { return c.replier }

// elect makes the lowest active replica the replier. If all have failed they begin anew.
func (c *Client) elect() {
	if !c.cfg.Lowest {
		return
	}
	active := c.up & c.fit
	if active&^c.failed == 0 {
		c.failed = 0
	}
	shunned := c.asked.unfit()
	for _, set := range [...]uint64{active &^ c.failed &^ shunned, active &^ c.failed, c.up} {
		if set != 0 {
			c.replier = ReplicaID(bits.TrailingZeros64(set))
			return
		}
	}
}

// withReplier is a set of replicas with the replier in the place of another, if it is not among them.
func (c *Client) withReplier(set uint64) uint64 {
	if set>>c.replier&1 != 0 {
		return set
	}
	return set&(set-1) | 1<<c.replier
}

// failedReplier moves on from a replier that owes results while others have answered. Where nobody has, it is the cluster
// that is slow, and with Lowest nobody is to blame.
func (c *Client) failedReplier(replier ReplicaID, votes []resultVote) {
	if c.cfg.Lowest && !slices.ContainsFunc(votes, func(v resultVote) bool { return v.cast }) {
		return
	}
	c.rotate(replier)
}
