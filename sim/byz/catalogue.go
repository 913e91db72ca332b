package byz

import (
	"fmt"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Role is as what a behaviour attacks.
type Role string

// The roles.
const (
	Primary     Role = "primary"
	Backup      Role = "backup"
	Client      Role = "client"
	Environment Role = "environment"
	// Value and State are the faults of these classes, by accident and not by malice.
	Value Role = "value"
	State Role = "state transition"
)

// Behaviour is a way of breaking the protocol.
type Behaviour struct {
	// Number is that of the catalogue, 1 to 45; 0 for what stands beside it.
	Number int
	Name   string
	Role   Role
	// Defences are the mutants that take away what keeps this behaviour from doing harm, by their
	// names in sim/mutants. With each of them, runs under this behaviour break an oracle.
	Defences []string
	// Why says why no single defence exists, if there are none.
	Why string
	// Replica makes the behaviour of a replica, Client that of a client. At least one of them is set,
	// or Twin.
	Replica func(Env) Adversary
	Client  func(ClientEnv) ClientAdversary
	// Twin has the Byzantine replicas run twice, with one key and a disk each.
	Twin bool
	// Service may ask for a certain service of the run; empty for any.
	Service string
	// Passive asks for a service that is replicated passively. Seeds that draw one do not draw the behaviour.
	Passive bool
	// Ed25519 has real signatures in about half of the runs.
	Ed25519 bool
	// Outages has the power fail for all replicas at once while views change, as it may in any run.
	Outages bool
}

// groups are the behaviours by role; each list stands in the file of its role.
var groups = [][]Behaviour{primaries, backups, clients, environments, accidents}

// All lists the behaviours in the order of their numbers, those without one at the end.
func All() []Behaviour {
	all := slices.Concat(groups...)
	slices.SortStableFunc(all, func(a, b Behaviour) int { return rank(&a) - rank(&b) })
	return all
}

func rank(b *Behaviour) int {
	if b.Number == 0 {
		return 1000
	}
	return b.Number
}

// Names lists the names of all behaviours, in the order of All.
func Names() []string {
	var names []string
	for _, b := range All() {
		names = append(names, b.Name)
	}
	return names
}

// Drawn lists the names of those that the options of any seed may have, in the order of All.
func Drawn() []string {
	return slices.DeleteFunc(Names(), func(name string) bool {
		b, _ := Find(name)
		return b.Passive
	})
}

// Find returns the behaviour of a name.
func Find(name string) (Behaviour, bool) {
	for _, g := range groups {
		for _, b := range g {
			if b.Name == name {
				return b, true
			}
		}
	}
	return Behaviour{}, false
}

// New makes what stands between a replica and the world when it behaves in all these ways at once.
// It panics if there is none of a name: the options of a run are validated before.
func New(names []string, env Env) Adversary {
	env.Plan.join(env.Member)
	var c chain
	for _, name := range names {
		b, ok := Find(name)
		if !ok {
			panic(fmt.Sprintf("byz: no behaviour %q", name))
		}
		if b.Replica != nil {
			c = append(c, b.Replica(env))
		}
	}
	if len(c) == 1 {
		return c[0]
	}
	return c
}

// NewClient makes what stands between a client and the world. It panics if there is no behaviour of
// a name.
func NewClient(names []string, env ClientEnv) ClientAdversary {
	var c clientChain
	for _, name := range names {
		b, ok := Find(name)
		if !ok {
			panic(fmt.Sprintf("byz: no behaviour %q", name))
		}
		if b.Client != nil {
			c = append(c, b.Client(env))
		}
	}
	return c
}

// chain has several behaviours one after the other, each at what the one before it has made.
type chain []Adversary

func (c chain) all(ok func(a Adversary) bool) bool {
	yes := true
	for _, a := range c { // each sees everything
		yes = ok(a) && yes
	}
	return yes
}

func (c chain) Receive(from bft.ReplicaID, frame []byte) bool {
	return c.all(func(a Adversary) bool { return a.Receive(from, frame) })
}

func (c chain) Request(client bft.ClientID, frame []byte) bool {
	return c.all(func(a Adversary) bool { return a.Request(client, frame) })
}

func (c chain) Sync(records []bft.Record) bool {
	return c.all(func(a Adversary) bool { return a.Sync(records) })
}

func (c chain) Checked(valid bool) bool {
	for _, a := range c {
		valid = a.Checked(valid)
	}
	return valid
}

func (c chain) Verified(valid bool) bool {
	for _, a := range c {
		valid = a.Verified(valid)
	}
	return valid
}

func (c chain) Send(out bft.Outbound) []bft.Outbound {
	sent := []bft.Outbound{out}
	for _, a := range c {
		var next []bft.Outbound
		for _, o := range sent {
			next = append(next, a.Send(o)...)
		}
		sent = next
	}
	return sent
}

func (c chain) Reply(client bft.ClientID, frame []byte) [][]byte {
	sent := [][]byte{frame}
	for _, a := range c {
		var next [][]byte
		for _, f := range sent {
			next = append(next, a.Reply(client, f)...)
		}
		sent = next
	}
	return sent
}

func (c chain) Inject(now bft.Time) []bft.Outbound {
	var sent []bft.Outbound
	for _, a := range c {
		sent = append(sent, a.Inject(now)...)
	}
	return sent
}

func (c chain) Schedule(p Passing) Fate {
	var f Fate
	for _, a := range c {
		g := a.Schedule(p)
		f.Lose, f.Delay = f.Lose || g.Lose, max(f.Delay, g.Delay)
	}
	return f
}

func (c chain) Records(records []bft.KV) []bft.KV {
	for _, a := range c {
		records = a.Records(records)
	}
	return records
}

func (c chain) Execute(seq bft.Seq) Execution {
	var e Execution
	for _, a := range c {
		g := a.Execute(seq)
		e.Crash, e.Delay = e.Crash || g.Crash, max(e.Delay, g.Delay)
		if g.Apply != nil {
			e.Apply = g.Apply
		}
	}
	return e
}

func (c chain) Updates(updates []byte) []byte {
	for _, a := range c {
		updates = a.Updates(updates)
	}
	return updates
}

func (c chain) Machine(service string, m exec.StateMachine) exec.StateMachine {
	for _, a := range c {
		m = a.Machine(service, m)
	}
	return m
}

func (c chain) Told() []string {
	var told []string
	for _, a := range c {
		told = append(told, a.Told()...)
	}
	return told
}

// clientChain has several behaviours of a client one after the other.
type clientChain []ClientAdversary

func (c clientChain) Sign(message []byte, signature crypto.Signature) crypto.Signature {
	for _, a := range c {
		signature = a.Sign(message, signature)
	}
	return signature
}

func (c clientChain) Send(out bft.Outbound) []bft.Outbound {
	sent := []bft.Outbound{out}
	for _, a := range c {
		var next []bft.Outbound
		for _, o := range sent {
			next = append(next, a.Send(o)...)
		}
		sent = next
	}
	return sent
}

func (c clientChain) Receive(from bft.ReplicaID, frame []byte) bool {
	yes := true
	for _, a := range c {
		yes = a.Receive(from, frame) && yes
	}
	return yes
}

func (c clientChain) Inject(now bft.Time) []bft.Outbound {
	var sent []bft.Outbound
	for _, a := range c {
		sent = append(sent, a.Inject(now)...)
	}
	return sent
}

func (c clientChain) Told() []string {
	var told []string
	for _, a := range c {
		told = append(told, a.Told()...)
	}
	return told
}
