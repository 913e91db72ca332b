package exec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
)

// Config is the same at all replicas of an epoch: it is part of the replicated semantics.
type Config struct {
	// Cluster is the digest of the genesis manifest. A snapshot of another cluster is refused.
	Cluster bft.Digest
	// Services are what the cluster hosts, in any order, at least one, with different names.
	Services []Service
	// Limits; see DefaultLimits.
	Limits Limits
}

// Service is a state machine under the name by which operations address it.
type Service struct {
	Name    string
	Machine StateMachine
}

// Limits bound what clients can make a replica keep. They are in every snapshot, so that a
// replica configured differently is found out at its first checkpoint.
type Limits struct {
	// MaxSessions is the number of live sessions of all clients, SessionsPerClient that of one key.
	// When either is used up, the least recently used session makes room if it was idle for
	// longer than MaxAhead; else opening is refused.
	MaxSessions, SessionsPerClient int
	// MaxClosed is the number of closed sessions whose results are still there for a retry;
	// SessionsPerClient bounds those of one key. The one closed first makes room.
	MaxClosed int
	// MaxOpenings is the number of openings that are remembered until their NotAfter, with their
	// results; OpeningsPerClient that of one key. When it is used up, opening gets StatusNotNow.
	MaxOpenings, OpeningsPerClient int
	// MaxAhead is how far NotAfter of an opening may lie ahead of the agreed time, and how long an
	// idle session is safe: T of rule 24.
	MaxAhead bft.Time
	// SessionResultBytes bounds the kept results of a session, and of an opening; ClientResultBytes
	// those of a key, TotalResultBytes all. Each result counts as ResultOverhead more than its
	// length. A session that would take any of them over its bound loses its own, lowest number first.
	SessionResultBytes, ClientResultBytes, TotalResultBytes int
}

// ResultOverhead is what a kept result counts for besides its length, in bytes.
const ResultOverhead = 24

// DefaultLimits are those of docs/configuration.md.
func DefaultLimits() Limits {
	return Limits{
		MaxSessions: 10_000, SessionsPerClient: 256, MaxClosed: 10_000,
		MaxOpenings: 65_536, OpeningsPerClient: 4_096,
		MaxAhead:           24 * 3600 * bft.Second,
		SessionResultBytes: 16 << 20, ClientResultBytes: 32 << 20, TotalResultBytes: 256 << 20,
	}
}

// all lists the limits in a fixed order, for the snapshot.
func (l *Limits) all() []uint64 {
	return []uint64{
		uint64(l.MaxSessions), uint64(l.SessionsPerClient), uint64(l.MaxClosed),
		uint64(l.MaxOpenings), uint64(l.OpeningsPerClient), uint64(l.MaxAhead),
		uint64(l.SessionResultBytes), uint64(l.ClientResultBytes), uint64(l.TotalResultBytes),
	}
}

// Validate says what is wrong with c, all at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("exec: "+format, args...))
		}
	}
	bad(len(c.Services) > 0, "services: none")
	names := make([]string, 0, len(c.Services))
	for _, s := range c.Services {
		bad(ValidServiceName(s.Name), "services: %q is not a service name", s.Name)
		bad(s.Machine != nil, "services: %q has no machine", s.Name)
		bad(!slices.Contains(names, s.Name), "services: %q occurs twice", s.Name)
		names = append(names, s.Name)
	}
	l := &c.Limits
	bad(l.SessionsPerClient >= 1 && l.MaxSessions >= l.SessionsPerClient,
		"sessions per client: %d is not within 1 and the maximum of sessions, %d", l.SessionsPerClient, l.MaxSessions)
	bad(l.MaxClosed >= 1, "max closed: must be at least 1")
	bad(l.OpeningsPerClient >= 1 && l.MaxOpenings >= l.OpeningsPerClient,
		"openings per client: %d is not within 1 and the maximum of openings, %d", l.OpeningsPerClient, l.MaxOpenings)
	bad(l.MaxAhead > 0, "max ahead: must be positive")
	bad(l.SessionResultBytes >= 0 && l.ClientResultBytes >= l.SessionResultBytes && l.TotalResultBytes >= l.ClientResultBytes,
		"result bytes: a session's %d, a client's %d and the total of %d must not decrease",
		l.SessionResultBytes, l.ClientResultBytes, l.TotalResultBytes)
	const most = 1 << 24 // keeps a snapshot's counts far from overflow
	bad(max(l.MaxSessions, l.MaxClosed, l.MaxOpenings) <= most, "sessions, closed and openings: at most %d each", most)
	return errors.Join(errs...)
}

// sorted returns the services in the order of their names.
func (c *Config) sorted() []Service {
	s := slices.Clone(c.Services)
	slices.SortFunc(s, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return s
}
