package byz

import "github.com/baluarte-bft/baluarte/bft"

// Amnesia.
//
// A replica comes back after each power failure with an older disk, as a machine does that is restored from
// its nightly copy, and nobody tells it. It remembers no vote since. What it then promises may contradict
// what it promised before, and it means no harm by it.
//
// Aims at: rule 19: shown its own vote that its records lack, it knows that it is amnesiac, and signs
// nothing any more. Nobody believes it before, as nobody signs after a start before a quorum has told what
// it holds.
type amnesia struct {
	base
	copied []bft.KV
	crash  bft.Seq
}

func newAmnesia(env Env) Adversary {
	a := &amnesia{base: newBase(env)}
	a.crash = bft.Seq(2 + a.Rand.IntN(int(a.Interval)))
	return a
}

// Execute implements Adversary.
func (a *amnesia) Execute(seq bft.Seq) Execution {
	if seq < a.crash {
		return Execution{}
	}
	a.crash = seq + a.Interval/2 + bft.Seq(a.Rand.IntN(int(a.Interval)))
	a.lie("power failure")
	return Execution{Crash: true}
}

// Records implements Adversary: the disk is the copy that was made two starts ago.
func (a *amnesia) Records(records []bft.KV) []bft.KV {
	old := a.copied
	if len(old) == 0 || a.chance(50) {
		a.copied = records
	}
	if len(records) == 0 {
		return records
	}
	a.lie("older disk")
	return old
}
