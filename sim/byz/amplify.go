package byz

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Amplifying messages.
//
// A question costs a few bytes, its answer up to a whole frame. It asks one replica, a thousand times
// in a row, for all committed batches from the stable checkpoint on, for the first parts of the state,
// for the view-changes and bundles that were ever named: as fast as its line allows, what the other
// sends would fill the line of the other. Between the questions come the largest messages that there
// are, one a byte too long for a frame among them, of which every byte must be read and none is of use.
//
// Aims at: answers to a peer are bounded (rule 21 has everybody help, so help has a limit; oracle
// R2), frames have a largest size that is looked at first, and what was not asked for is not kept.
type amplify struct {
	base
	at heights
	// named are digests that were mentioned, which are asked for.
	named []byte
	// left are the storms until it has had enough.
	left int
}

// asked are the questions of a storm.
const asked = 1500

func newAmplify(env Env) Adversary {
	return &amplify{base: newBase(env), left: max(1, 4/len(env.Plan.faulty))}
}

// Receive implements Adversary.
func (a *amplify) Receive(_ bft.ReplicaID, frame []byte) bool {
	a.at.hear(frame)
	var p bftpb.PrePrepare
	if wire.Read(bft.TypePrePrepare, frame, &p) == nil {
		a.named = append(a.named, p.GetBody().GetBundles()...)
		a.named = a.named[max(0, len(a.named)-32*256):]
	}
	return true
}

// Inject implements Adversary.
func (a *amplify) Inject(bft.Time) []bft.Outbound {
	if a.left <= 0 || a.at.executed == 0 || !a.chance(10) {
		return nil
	}
	a.left--
	victim := a.Plan.honest()[a.Rand.IntN(len(a.Plan.honest()))]
	a.lie("frame that is too long")
	tooLong := make([]byte, bft.MaxFrameBytes+1)
	tooLong[0] = byte(bft.TypeData)
	sent := []bft.Outbound{{To: victim, Frame: tooLong}}
	a.lie("data that nobody asked for")
	sent = append(sent, bft.Outbound{To: victim, Frame: a.large()})
	question := a.question()
	for range asked {
		a.lie("question again and again")
		sent = append(sent, bft.Outbound{To: victim, Frame: question})
	}
	return sent
}

// question makes a small message with a large answer.
func (a *amplify) question() []byte {
	f := bftpb.Fetch{Kind: 4, From: a.at.stable + 1, To: 1 << 62}
	switch a.Rand.IntN(4) {
	case 0:
		f = bftpb.Fetch{Kind: 1, Digests: a.named}
	case 1:
		f = bftpb.Fetch{Kind: 4, From: 1, To: 1 << 62}
	}
	return wire.Frame(bft.TypeFetch, &f)
}

// large makes data of as many bundles as a message may have.
func (a *amplify) large() []byte {
	var d bftpb.Data
	for range 256 {
		var q bftpb.Request
		if wire.Read(bft.TypeRequest, invented(a.Rand, bft.ClientID(a.digest())), &q) == nil {
			d.Bundles = append(d.Bundles, &q)
		}
	}
	return wire.Frame(bft.TypeData, &d)
}
