package meter

import (
	"reflect"

	"github.com/baluarte-bft/baluarte/bft"
)

// Bounds of the client that package bft does not export.
const (
	maxQueries     = 64                    // frames of reads that await answers
	maxSpare       = 64                    // bundles kept for reuse
	keptPerReplica = 2 * bft.MaxFrameBytes // full results of one replica
	bundleOverhead = 160                   // of a bundle without its operations
)

var clientParts = []part{
	{name: "configuration", fields: []string{"cfg.Claim.Instance"}, why: "it is the host's"},
	{name: "waiting", fields: []string{"waiting.items", "reads"}},
	{name: "sent", fields: []string{"bundles", "spare"}},
	{name: "queries", fields: []string{"queries"}},
	{name: "kept", fields: []string{"kept"}},
	{name: "repliers", fields: []string{"asked.shunned"}},
	{name: "outbox", fields: []string{"ready.Sign", "ready.Messages", "ready.Results", "spent.Sign", "spent.Messages", "spent.Results",
		"ready.Answered", "ready.Leaving", "spent.Answered", "spent.Leaving"},
		why: "it is handed to the host, and let go of at the next Ready"},
}

// BoundClient is the formula for a client of cfg, whose zero values mean the defaults. Each replica
// may send whatever it likes; its terms are per peer.
func BoundClient(cfg *bft.ClientConfig) Formula {
	c, def := *cfg, bft.DefaultClientConfig()
	for _, f := range []struct{ v, def *int }{{&c.MaxBundleOps, &def.MaxBundleOps}, {&c.MaxBundleBytes, &def.MaxBundleBytes},
		{&c.MaxCalls, &def.MaxCalls}, {&c.MaxBytes, &def.MaxBytes}} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	of := structSizes(reflect.TypeFor[bft.Client]())
	n, ops, calls := int64(c.N), int64(c.MaxBundleOps), int64(c.MaxCalls)
	entry := grown(ops) * (of["sentCall"] + 24)
	const outstanding = bft.WindowOps + 1 // one that only opens or closes a session has no number
	return Formula{Peers: n, of: reflect.TypeFor[bft.Client](), parts: clientParts, Terms: []Term{
		{"waiting", "calls", "at most MaxCalls, in three queues that keep their room", Shared, 3 * grown(calls), of["waitingCall"]},
		{"waiting", "operations", "at most MaxBytes of calls that have not ended", Shared, 1, frame(int64(c.MaxBytes))},
		{"sent", "bundles", "a window of operations, and those kept for reuse", Shared, outstanding + maxSpare,
			of["sentBundle"] + n*of["resultVote"] + 3*pointerBytes + entry},
		{"sent", "payloads", "of a window of operations; those of calls that were given up too, for they may yet be executed", Shared, bft.WindowOps,
			frame(int64(c.MaxBundleBytes) + bundleOverhead)},
		{"sent", "results in full", "keptPerReplica bytes of replies and answers", PerPeer, 1, frame(keptPerReplica) + bft.WindowOps*24},
		{"queries", "frames of reads", "at most maxQueries", Shared, maxQueries,
			of["sentQuery"] + n*of["resultVote"] + 3*pointerBytes + entry + frame(int64(c.MaxBundleBytes))},
		{"queries", "results in full", "keptPerReplica bytes of replies and answers", PerPeer, 1, frame(keptPerReplica) + maxQueries*ops*24},
		{"kept", "bytes kept", "a number for each replica", Shared, n, 8},
		{"repliers", "those that failed", "an entry for each replica", Shared, n, of["shunned"]},
	}}
}
