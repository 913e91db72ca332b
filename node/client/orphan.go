package client

import (
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// What a client that dies leaves behind are its orphans: operations on their way, a session, locks that it holds.
// docs/calls.md compares the ways to end them.

// MinLease and MinGrace bound leases and graces from below: shorter than a change of the primary takes, they would end
// sessions whose owners live.
const (
	MinLease = time.Second
	MinGrace = time.Second
)

// ErrReplaced: a newer client of the same key and instance has taken over. The operation was not executed; this client
// calls nothing any more.
var ErrReplaced = bft.ErrReplaced

// claims are what the options of this file set.
type claims struct {
	claim bft.Claim
	err   error
}

func (o *Options) name(instance string, replace bft.Replacement, grace time.Duration) {
	if !exec.ValidServiceName(instance) {
		o.claims.err = fmt.Errorf("client: instance %q: want 1 to %d of a-z 0-9 . - _", instance, exec.MaxServiceName)
		return
	}
	o.claims.claim.Instance, o.claims.claim.Replace, o.claims.claim.Grace = instance, replace, bft.Time(grace)
}

// Instance names the client among those that share its key, and has its sessions end all older ones of the same key and name
// (reincarnation): nothing of an older one is executed after its first operation was. A client that finds itself
// replaced ends all calls in [ErrReplaced]. The name is 1 to 64 of a-z 0-9 . - _. Older is whose clock was behind.
func Instance(name string) Option {
	return func(o *Options) { o.name(name, bft.ReplaceAll, 0) }
}

// GentleInstance is [Instance], but ends only those older sessions of which nothing new is ordered within grace, in agreed
// time (gentle reincarnation). A client of a gentle instance is heard at least three times in its grace, also while it
// calls nothing. Grace is at least [MinGrace].
func GentleInstance(name string, grace time.Duration) Option {
	return func(o *Options) {
		if grace < MinGrace {
			o.claims.err = fmt.Errorf("client: grace of %v: it must be at least %v", grace, MinGrace)
			return
		}
		o.name(name, bft.ReplaceSilent, grace)
	}
}

// Lease has the client's sessions end once nothing new of them was ordered for d, in agreed time (expiration). The client extends
// it three times in d, for as long as it lives and reaches the cluster. D is at least [MinLease] and at most session_ahead of
// the manifest.
func Lease(d time.Duration) Option {
	return func(o *Options) {
		if d < MinLease {
			o.claims.err = fmt.Errorf("client: lease of %v: it must be at least %v", d, MinLease)
			return
		}
		o.claims.claim.Lease = bft.Time(d)
	}
}
