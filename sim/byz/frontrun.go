package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
)

// Reordering and front-running.
//
// The order of requests is the primary's to choose, and it chooses for its friends. It turns every batch
// round, so that who came last is served first, and it has the requests of half of the clients wait: it
// does not know of them before a backup passes them on, at the last moment at which it need not be
// deposed. Whatever comes from its friends meanwhile overtakes them, and null requests show that it is
// at work. No message is wrong. What is promised is only that each request is ordered in time, not that
// the order is fair.
//
// Aims at: rule 13: a backup times every request by itself, passes it on to the primary and then suspects,
// whatever else the primary has ordered meanwhile.
type frontRun struct{ lively }

func newFrontRun(env Env) Adversary { return &frontRun{newLively(env)} }

// Request implements Adversary: the half of the clients that is no friend has to wait.
func (a *frontRun) Request(client bft.ClientID, _ []byte) bool {
	if (client[0]^a.Cluster[0])%2 == 0 {
		return true
	}
	a.lie("request kept waiting")
	return false
}

// Send implements Adversary.
func (a *frontRun) Send(out bft.Outbound) []bft.Outbound {
	p, ok := a.proposal(out.Frame)
	if !ok || len(p.list) < 64 {
		return a.lively.Send(out)
	}
	frame := a.inPlace(out.Frame, "batch turned round", func() []byte {
		var list []byte
		for i := len(p.list) - 32; i >= 0; i -= 32 {
			list = append(list, p.list[i:i+32]...)
		}
		p.become(list)
		return a.put(p)
	})
	return a.lively.Send(bft.Outbound{To: out.To, Frame: frame})
}
