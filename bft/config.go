package bft

import (
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/crypto"
)

// Config is the same for all replicas of an epoch, Self, the batch bounds and those of the pool excepted.
type Config struct {
	Self    ReplicaID
	Cluster Digest // digest of the genesis manifest
	Epoch   Epoch
	// Members are the public keys of the replicas, by ReplicaID.
	Members []crypto.PublicKey

	// Clients are the keys whose bundles are taken; nil: all.
	Clients []ClientID

	// Interval is K: a checkpoint is taken at each multiple of it.
	Interval Seq
	// Window is L: the high watermark is H = h + L. A multiple of Interval, at least twice it.
	Window Seq
	// Pipeline is W: how many numbers may be proposed and not committed; at most 64 and Window.
	Pipeline Seq

	// Passive: some service is replicated passively (bft/passive.go), so that the primary has updates computed
	// before it proposes. W is then 1.
	Passive bool

	// MaxBatchOps and MaxBatchBytes bound what this replica proposes as primary; it may choose them
	// for itself. Each must hold one bundle of the largest size.
	MaxBatchOps, MaxBatchBytes int
	// MaxBundleOps and MaxBundleBytes bound a bundle.
	MaxBundleOps, MaxBundleBytes int
	// MaxOpBytes bounds one operation, with the name of its service; 0: the bundle's bound alone.
	MaxOpBytes int
	// MaxPoolBytes bounds the waiting bundles of all clients together.
	MaxPoolBytes int
	// PoolFloor is the number of operations that may always wait (rule 26).
	PoolFloor int

	// RequestTimeout is the time from a pre-prepare to its execution after which the primary is suspected.
	RequestTimeout Time
	// MaxTimeout bounds the back-off of RequestTimeout.
	MaxTimeout Time
	// SuspectFloor is the least d of rule 14.
	SuspectFloor Time
	// StatusInterval is how often a replica tells its peers where it stands.
	StatusInterval Time
	// ClockAhead is how far a fresh proposal's time may lie ahead of a backup's clock; ClockBehind
	// how far behind, doubled with each failed view (rule 5).
	ClockAhead, ClockBehind Time
}

// DefaultConfig holds the defaults that docs/configuration.md lists. Self, Cluster and Members are unset.
func DefaultConfig() Config {
	return Config{
		Interval: 128, Window: 256, Pipeline: 8,
		MaxBatchOps: 4096, MaxBatchBytes: 2 << 20,
		MaxBundleOps: 256, MaxBundleBytes: 1280 << 10,
		MaxPoolBytes: 64 << 20, PoolFloor: 16384,
		RequestTimeout: Second, MaxTimeout: 4 * Second,
		SuspectFloor: 250 * Millisecond, StatusInterval: 100 * Millisecond,
		ClockAhead: 2 * Second, ClockBehind: 4 * Second,
	}
}

// N is the number of replicas.
func (c *Config) N() int { return len(c.Members) }

// Validate says what is wrong with c, all at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.Members) >= 4, "members: %d, but at least 4 are needed to tolerate one fault", len(c.Members))
	bad(len(c.Members) <= MaxMembers, "members: %d, at most %d are supported", len(c.Members), MaxMembers)
	bad(int(c.Self) < len(c.Members), "self: %d is not an index of the %d members", c.Self, len(c.Members))
	bad(!c.Cluster.IsZero(), "cluster: the cluster id is not set")
	bad(c.Interval >= 1, "interval: must be at least 1")
	bad(c.Interval >= 1 && c.Window%c.Interval == 0 && c.Window >= 2*c.Interval,
		"window: %d is not a multiple of the checkpoint interval %d, or less than twice it", c.Window, c.Interval)
	bad(c.Window <= MaxWindow, "window: %d, at most %d", c.Window, MaxWindow)
	bad(c.Pipeline >= 1 && c.Pipeline <= 64 && c.Pipeline <= c.Window, "pipeline: %d is not within 1 to 64 and the window", c.Pipeline)
	bad(!c.Passive || c.Pipeline == 1, "pipeline: %d, but with a service that is replicated passively it must be 1", c.Pipeline)
	bad(c.MaxBundleOps >= 1 && c.MaxBundleOps <= WindowOps, "max bundle operations: %d is not within 1 to %d", c.MaxBundleOps, WindowOps)
	bad(c.MaxBundleBytes >= 1024 && c.MaxBundleBytes <= MaxBundleBytes, "max bundle bytes: %d is not within 1024 to %d", c.MaxBundleBytes, MaxBundleBytes)
	bad(c.MaxBatchOps >= c.MaxBundleOps, "max batch operations: less than one bundle's %d", c.MaxBundleOps)
	bad(c.MaxBatchBytes >= c.MaxBundleBytes+64 && c.MaxBatchBytes <= MaxProposalBytes, "max batch bytes: %d is not within one signed bundle's %d and %d", c.MaxBatchBytes, c.MaxBundleBytes+64, MaxProposalBytes)
	bad(c.MaxPoolBytes >= c.MaxBatchBytes, "max pool bytes: less than one batch")
	bad(c.PoolFloor >= c.MaxBundleOps, "pool floor: less than one bundle's operations")
	bad(c.RequestTimeout > 0 && c.MaxTimeout >= c.RequestTimeout, "request timeout: must be positive and at most the maximum timeout")
	bad(c.SuspectFloor > 0 && c.SuspectFloor <= c.RequestTimeout, "suspect floor: must be positive and at most the request timeout")
	bad(c.StatusInterval > 0, "status interval: must be positive")
	bad(c.ClockAhead > 0 && c.ClockBehind > 0, "clock bounds: must be positive")
	// What a view-change must hold in the worst case: for each number a certificate in which f liars
	// padded their envelopes to the limit.
	n, f := len(c.Members), MaxFaulty(len(c.Members))
	worst := int(c.Window) * (f*(maxVotes*48+160) + (Quorum(n)-1-f)*260 + 200)
	bad(worst <= MaxFrameBytes, "window: with %d members a view-change over a window of %d may need %d bytes, a frame holds %d", n, c.Window, worst, MaxFrameBytes)
	return errors.Join(errs...)
}

// Bounds of the wire format.
const (
	MaxMembers     = 64
	MaxWindow      = 4096
	MaxFrameBytes  = 16 << 20
	MaxBundleBytes = 2 << 20
	// MaxProposalBundles and MaxProposalBytes bound a proposal, whatever bounds its primary chose
	// for itself: what a backup checks is the same for all (rule 3).
	MaxProposalBundles = 256
	MaxProposalBytes   = 4 << 20
	// MaxUpdateBytes bounds the updates of a proposal, all together.
	MaxUpdateBytes = 2 << 20
	// PartSize is the size of the parts in which a snapshot travels.
	PartSize = 256 << 10
)
