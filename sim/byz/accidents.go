package byz

// accidents are the faults of the classes value and state transition: the replica means well. How long one
// lasts, sim.Options.Lying says: once, by turns, or always.
var accidents = []Behaviour{
	{Name: "flipped bit", Role: Value, Defences: []string{"f-replies-enough"}, Replica: func(e Env) Adversary { return &flippedBit{newBase(e)} }},
	{Name: "wrong result", Role: Value, Defences: []string{"f-replies-enough"}, Replica: func(e Env) Adversary { return &wrongResults{newBase(e)} }},
	{Name: "misapplied batch", Role: State, Defences: []string{"f-replies-enough"}, Replica: func(e Env) Adversary { return &misapplied{newBase(e)} }},
	{Name: "view jump", Role: State, Defences: []string{"commits-of-views-mixed"}, Replica: func(e Env) Adversary { return &viewJump{newBase(e)} }},
	{Name: "unpersisted vote", Role: State, Defences: []string{"amnesiac-signs"}, Replica: func(e Env) Adversary { return &unpersisted{base: newBase(e)} }},
	{Name: "skipped check", Role: State, Defences: []string{"signature-demanded-in-o"}, Replica: func(e Env) Adversary { return &skippedCheck{newBase(e)} },
		Client: func(e ClientEnv) ClientAdversary { return &badSigner{newClientBase(e)} }},
	{Name: "amnesia", Role: State, Defences: []string{"amnesiac-signs"}, Replica: newAmnesia},
	{Name: "wrong quorum rule", Role: State, Defences: []string{"quorum-too-small"}, Replica: func(e Env) Adversary { return &wrongQuorum{newBase(e)} }},
}
