package byz

// primaries are the behaviours of a primary.
var primaries = []Behaviour{
	{Number: 1, Name: "equivocating primary", Role: Primary, Defences: []string{"quorum-too-small"},
		Replica: func(e Env) Adversary { return &equivocate{newBase(e)} }},
	{Number: 9, Name: "silent primary", Role: Primary, Defences: []string{}, Replica: newSilent},
}
