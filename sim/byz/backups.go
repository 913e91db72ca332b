package byz

// backups are the behaviours of a backup, and of whoever takes part in a view change.
var backups = []Behaviour{
	{Number: 17, Name: "replay", Role: Backup, Defences: []string{}, Replica: newReplay},
	{Number: 19, Name: "forged certificates", Role: Backup, Defences: []string{"duplicate-voters-counted"}, Replica: newForge},
	{Number: 21, Name: "omitted certificates", Role: Backup, Defences: []string{"certificate-forgotten"}, Replica: newOmit},
	{Number: 26, Name: "false checkpoints", Role: Backup, Defences: []string{"checkpoint-digest-not-compared"},
		Replica: func(e Env) Adversary { return &falseState{newBase(e)} }},
	{Number: 34, Name: "wrong replies", Role: Backup, Defences: []string{"f-replies-enough"},
		Replica: func(e Env) Adversary { return &wrongReply{newBase(e)} }},
}
