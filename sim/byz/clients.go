package byz

// clients are the behaviours of a client, alone or with replicas.
var clients = []Behaviour{
	{Number: 36, Name: "two operations under one number", Role: Client, Defences: []string{"session-check-skipped"}, Client: newTwoOperations},
	{Number: 37, Name: "badly signed requests", Role: Client, Defences: []string{"bad-client-signature-accepted", "small-order-key-accepted"}, Ed25519: true,
		Replica: newBadSignature, Client: func(e ClientEnv) ClientAdversary { return &badSigner{newClientBase(e)} }},
	{Number: 38, Name: "bundles to one replica", Role: Client, Defences: []string{"vote-without-body"}, Replica: newOneReplica, Client: newWhisperer},
	{Number: 39, Name: "replayed requests", Role: Client, Defences: []string{"session-check-skipped"}, Replica: newReplayRequests,
		Client: func(e ClientEnv) ClientAdversary { return &repeater{clientBase: newClientBase(e)} }},
	{Number: 40, Name: "floods of requests", Role: Client, Defences: []string{"admission-without-bound"}, Client: newFloodRequests},
}
