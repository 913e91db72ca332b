package byz

import "github.com/baluarte-bft/baluarte/bft"

// Badly signed requests.
//
// A Byzantine client sends bundles whose signature is not valid to all replicas, each over its own
// channel, where it is authentic all the same (rule 23). The Byzantine primary proposes them
// although it should have verified them, and those who heard them vote. From then on the bundle
// is in prepared certificates that no view change may stumble over.
//
// Aims at: rule 23: what an honest replica signed is not checked again in O and under certificates,
// or the cluster halts.
type badSignature struct{ base }

func newBadSignature(env Env) Adversary { return &badSignature{newBase(env)} }

// Checked implements Adversary: every signature is good enough.
func (a *badSignature) Checked(valid bool) bool {
	if !valid {
		a.lie("badly signed request taken")
	}
	return true
}

// Send implements Adversary: now and then it is slow, so that views change while such requests are
// prepared.
func (a *badSignature) Send(out bft.Outbound) []bft.Outbound {
	if a.chance(3) {
		a.lie("withheld message")
		return nil
	}
	return []bft.Outbound{out}
}
