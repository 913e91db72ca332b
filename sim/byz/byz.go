// Package byz has the adversaries of the simulator, one behaviour a file: at its head the story of
// the attack and the defence that it aims at.
//
// A behaviour of a replica wraps a real one. It sees every frame that the replica gets and may
// keep it away from it; it sees every frame that the replica sends and may alter, drop, multiply
// or replace it; it may send whatever it likes. It may have the network delay and lose messages,
// as an asynchronous network may before it is healed. It has its own disk and its own services in
// its hands. It signs with the keys of the replicas that belong to it, and has no others: what an
// honest replica signed it can only repeat. A behaviour of a client does the same around a real
// client.
//
// Whenever a behaviour departs from the protocol it says so, by base.lie: the simulator counts lies
// by their names, draws them, and can have a lie not told, which is how it finds the lies that a
// failure needs.
package byz

import (
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Adversary stands between one replica and the world. What a method returns is carried out only if
// the lie is to be told: if not, the replica's own doing is.
type Adversary interface {
	// Receive sees a frame of a peer; if false the replica does not get it.
	Receive(from bft.ReplicaID, frame []byte) bool
	// Request sees a request of a client; if false the replica does not get it.
	Request(client bft.ClientID, frame []byte) bool
	// Checked is what the replica is told about the signature of a client.
	Checked(valid bool) bool
	// Verified is what the replica is told about the signatures of a peer's message.
	Verified(valid bool) bool
	// Send is what becomes of a frame that the replica sends to its peers.
	Send(out bft.Outbound) []bft.Outbound
	// Reply is what becomes of a frame that the replica sends to a client.
	Reply(client bft.ClientID, frame []byte) [][]byte
	// Inject is called now and then: what to send out of turn.
	Inject(now bft.Time) []bft.Outbound
	// Schedule decides about a message between two replicas, of whomever: until the heal the network
	// is the adversary's too, afterwards it is asked only about messages from or to its own.
	Schedule(p Passing) Fate
	// Records is what the replica finds on its disk when it starts.
	Records(records []bft.KV) []bft.KV
	// Sync tells whether records that the replica is told are durable really are.
	Sync(records []bft.Record) bool
	// Execute tells what befalls the replica as it executes the batch of a number.
	Execute(seq bft.Seq) Execution
	// Updates is what the replica proposes in the place of the updates that it computed.
	Updates(updates []byte) []byte
	// Machine wraps the services of the replica, one by one.
	Machine(service string, m exec.StateMachine) exec.StateMachine
	// Told returns the names of the lies since the last call, and forgets them.
	Told() []string
}

// Passing is a message on its way from one replica to another.
type Passing struct {
	Now      bft.Time
	From, To bft.ReplicaID
	// FromInstance and ToInstance tell twins apart: the replicas by their IDs, then the twins.
	FromInstance, ToInstance int
	Frame                    []byte
}

// Fate is what the network does with a message besides what it would do anyway.
type Fate struct {
	Lose  bool
	Delay bft.Time
}

// Execution is what befalls a replica as it executes.
type Execution struct {
	// Delay is how much longer it takes.
	Delay bft.Time
	// Crash ends the process.
	Crash bool
	// Apply, if set, is what is done with each operation of the batch instead of applying it to m.
	Apply func(m exec.StateMachine, ctx exec.Context, op []byte) []byte
}

// ClientAdversary stands between one client and the world.
type ClientAdversary interface {
	// Sign is what becomes of the client's signature over a bundle.
	Sign(message []byte, signature crypto.Signature) crypto.Signature
	// Send is what becomes of a frame that the client sends.
	Send(out bft.Outbound) []bft.Outbound
	// Receive sees a frame of a replica; if false the client does not get it.
	Receive(from bft.ReplicaID, frame []byte) bool
	// Inject is called now and then: what to send out of turn.
	Inject(now bft.Time) []bft.Outbound
	// Told returns the names of the lies since the last call, and forgets them.
	Told() []string
}

// Env is what the behaviour of a replica knows.
type Env struct {
	wire.Member
	N    int
	Plan *Plan
	Rand *rand.Rand
	// Timeout is the request timeout of the run.
	Timeout bft.Time
	// Interval and Window are those of the protocol's configuration.
	Interval, Window bft.Seq
}

// ClientEnv is what the behaviour of a client knows.
type ClientEnv struct {
	Key     bft.ClientID
	Cluster bft.Digest
	Sign    func(message []byte) crypto.Signature
	N       int
	Plan    *Plan
	Rand    *rand.Rand
	Timeout bft.Time
}

// base behaves well, but for what the embedding behaviour overrides.
type base struct {
	Env
	told []string
}

func newBase(env Env) base { return base{Env: env} }

func (b *base) Receive(bft.ReplicaID, []byte) bool                      { return true }
func (b *base) Request(bft.ClientID, []byte) bool                       { return true }
func (b *base) Checked(valid bool) bool                                 { return valid }
func (b *base) Verified(valid bool) bool                                { return valid }
func (b *base) Send(out bft.Outbound) []bft.Outbound                    { return []bft.Outbound{out} }
func (b *base) Reply(_ bft.ClientID, frame []byte) [][]byte             { return [][]byte{frame} }
func (b *base) Inject(bft.Time) []bft.Outbound                          { return nil }
func (b *base) Schedule(Passing) Fate                                   { return Fate{} }
func (b *base) Records(records []bft.KV) []bft.KV                       { return records }
func (b *base) Sync([]bft.Record) bool                                  { return true }
func (b *base) Execute(bft.Seq) Execution                               { return Execution{} }
func (b *base) Updates(updates []byte) []byte                           { return updates }
func (b *base) Machine(_ string, m exec.StateMachine) exec.StateMachine { return m }
func (b *base) own(e *bftpb.Envelope) bool                              { return e != nil && e.Signer == uint32(b.Self) }
func (b *base) chance(percent int) bool                                 { return b.Rand.IntN(100) < percent }
func (b *base) envelopeFrame(e *bftpb.Envelope) []byte                  { return wire.Frame(bft.MessageType(e.Type), e) }
func (b *base) primary(view uint64) bft.ReplicaID                       { return bft.ReplicaID(view % uint64(b.N)) }
func (b *base) faulty() int                                             { return bft.MaxFaulty(b.N) }
func (b *base) quorum() int                                             { return bft.Quorum(b.N) }

// lie notes that what the method is about to return departs from the protocol.
func (b *base) lie(name string) { b.told = append(b.told, name) }

// Told implements Adversary.
func (b *base) Told() []string {
	t := b.told
	b.told = nil
	return t
}

// receivers lists the replicas that an outbound frame is for.
func (b *base) receivers(out bft.Outbound) []bft.ReplicaID {
	if out.To != bft.Everyone {
		return []bft.ReplicaID{out.To}
	}
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(b.N) {
		if id != b.Self {
			ids = append(ids, id)
		}
	}
	return ids
}

// peer draws another replica.
func (b *base) peer() bft.ReplicaID {
	return (b.Self + 1 + bft.ReplicaID(b.Rand.IntN(b.N-1))) % bft.ReplicaID(b.N)
}

// seal makes the frame of an envelope of this member.
func (b *base) seal(t bft.MessageType, payload []byte) []byte {
	return b.envelopeFrame(b.Seal(t, payload))
}

// votesFrame makes a frame of votes, all for one digest.
func (b *base) votesFrame(s slot, digest bft.Digest, phases ...bft.Phase) []byte {
	v := bftpb.Votes{View: s.view}
	for _, p := range phases {
		v.Votes = append(v.Votes, &bftpb.Vote{Phase: uint32(p), Seq: s.seq, Digest: digest[:]})
	}
	return b.seal(bft.TypeVotes, wire.Marshal(&v))
}

// clientBase behaves well, but for what the embedding behaviour overrides.
type clientBase struct {
	ClientEnv
	told []string
}

func newClientBase(env ClientEnv) clientBase { return clientBase{ClientEnv: env} }

func (b *clientBase) Sign(_ []byte, signature crypto.Signature) crypto.Signature { return signature }
func (b *clientBase) Send(out bft.Outbound) []bft.Outbound                       { return []bft.Outbound{out} }
func (b *clientBase) Receive(bft.ReplicaID, []byte) bool                         { return true }
func (b *clientBase) Inject(bft.Time) []bft.Outbound                             { return nil }
func (b *clientBase) chance(percent int) bool                                    { return b.Rand.IntN(100) < percent }

// lie notes that what the method is about to return departs from the protocol.
func (b *clientBase) lie(name string) { b.told = append(b.told, name) }

// Told implements ClientAdversary.
func (b *clientBase) Told() []string {
	t := b.told
	b.told = nil
	return t
}
