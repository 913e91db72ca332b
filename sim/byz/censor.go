package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Censoring one client.
//
// The primary is quick and correct, but it never sees the requests of one client, whoever tells it of
// them. The others' requests go through, and null requests when there are none, so the cluster looks
// alive, and a backup that is content as long as anything is proposed will never suspect. Whom the
// accomplices censor they need not agree upon: it is the client with the lowest key.
//
// Aims at: rule 13: the oldest request of each client has its own deadline, whoever told of it.
type censor struct {
	lively
	client bft.ClientID
	known  bool
}

func newCensor(env Env) Adversary { return &censor{lively: newLively(env)} }

// Request implements Adversary.
func (a *censor) Request(client bft.ClientID, _ []byte) bool {
	if !a.known || bytes.Compare(client[:], a.client[:]) < 0 {
		a.client, a.known = client, true
	}
	if client != a.client {
		return true
	}
	a.lie("censored request")
	return false
}

// Receive implements Adversary: what others pass on is censored too.
func (a *censor) Receive(from bft.ReplicaID, frame []byte) bool {
	if wire.TypeOf(frame) != bft.TypeRequest || !a.known || clientOf(frame) != a.client {
		return a.lively.Receive(from, frame)
	}
	a.lie("censored request that was passed on")
	return false
}

// clientOf reads whose request a frame is, the zero key if it cannot be read.
func clientOf(frame []byte) (client bft.ClientID) {
	var r bftpb.Request
	var b bftpb.Bundle
	if wire.Read(bft.TypeRequest, frame, &r) == nil && b.UnmarshalVT(r.Payload) == nil && len(b.Client) == len(client) {
		copy(client[:], b.Client)
	}
	return client
}
