package byz

// clients are the behaviours of a client, alone or with replicas.
var clients = []Behaviour{
	{Number: 37, Name: "badly signed requests", Role: Client, Defences: []string{"bad-client-signature-accepted"}, Replica: newBadSignature,
		Client: func(e ClientEnv) ClientAdversary { return &badSigner{newClientBase(e)} }},
}
