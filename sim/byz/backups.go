package byz

// backups are the behaviours of a backup, and of whoever takes part in a view change.
var backups = []Behaviour{
	{Number: 17, Name: "replay", Role: Backup, Defences: []string{}, Replica: newReplay},
	{Number: 19, Name: "forged certificates", Role: Backup, Defences: []string{"duplicate-voters-counted"}, Replica: newForge},
	{Number: 21, Name: "omitted certificates", Role: Backup, Defences: []string{"certificate-forgotten"}, Replica: newOmit},
	{Number: 26, Name: "false checkpoints", Role: Backup, Defences: []string{"checkpoint-digest-not-compared"},
		Replica: func(e Env) Adversary { return &falseState{newBase(e)} }},
	{Number: 27, Name: "withheld checkpoints", Role: Backup, Defences: []string{"checkpoints-not-resent"}, Replica: newWithheldCheckpoints},
	{Number: 28, Name: "poisoned state transfer", Role: Backup, Defences: []string{"state-part-unchecked", "transfer-asks-one-peer"}, Replica: newStateTransfer},
	{Number: 29, Name: "false heights", Role: Backup, Defences: []string{"one-peer-says-how-far"}, Replica: newFalseHeights},
	{Number: 30, Name: "floods", Role: Backup, Defences: []string{"checkpoints-without-bound"}, Replica: newFlood},
	{Number: 31, Name: "amplifying messages", Role: Backup, Defences: []string{"answers-without-bound"}, Replica: newAmplify},
	{Number: 32, Name: "malformed messages", Role: Backup, Defences: []string{"index-unchecked"},
		Replica: func(e Env) Adversary { return &malformed{newBase(e)} }},
	{Number: 33, Name: "borrowed identities", Role: Backup, Defences: []string{"unheard-bundle-accepted", "bad-client-signature-accepted", "client-channel-unchecked", "signer-believed"},
		Replica: newBorrow, Client: newImpostor},
	{Number: 34, Name: "wrong replies", Role: Backup, Defences: []string{"f-replies-enough"},
		Replica: func(e Env) Adversary { return &wrongReply{newBase(e)} }},
	{Number: 35, Name: "framing the honest", Role: Backup, Defences: []string{"shown-signatures-unchecked"}, Replica: newFrameUp},
}
