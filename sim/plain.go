package sim

// Plain is a small cluster of four in which nothing goes wrong: what scripts begin with, and what a run is
// shrunk towards.
func Plain() Options {
	return Options{
		Seed:       1,
		Signatures: "fast",
		Protocol: Protocol{N: 4, Interval: 8, Window: 16, Pipeline: 4, MaxBatchOps: 8, MaxBundleOps: 4,
			RequestTimeout: 500 * millisecond, MaxTimeout: second, SuspectFloor: 200 * millisecond, StatusInterval: 100 * millisecond},
		Load:    Load{Service: "kv", Clients: 1, Outstanding: 1, Keys: 1, Think: 20 * millisecond, Sequences: 20},
		Network: Network{Delay: millisecond},
		Machine: Machine{Sync: 200 * microsecond, Snapshot: millisecond, Sign: 50 * microsecond, Verify: 40 * microsecond,
			Execute: 20 * microsecond, Turn: 5 * microsecond},
		Heal: 2 * second,
	}
}
