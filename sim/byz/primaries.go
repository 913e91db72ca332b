package byz

// primaries are the behaviours of a primary.
var primaries = []Behaviour{
	{Number: 1, Name: "equivocating primary", Role: Primary, Defences: []string{"quorum-too-small", "bundles-not-timed-anew"},
		Replica: func(e Env) Adversary { return &equivocate{newBase(e)} }},
	{Number: 2, Name: "equivocation to a victim", Role: Primary, Defences: []string{"second-proposal-accepted", "commits-for-another-digest"},
		Replica: newVictimised},
	{Number: 3, Name: "prepare of the primary", Role: Primary, Defences: []string{"primary-prepare-counted"}, Replica: newOwnPrepare},
	{Number: 4, Name: "altered O", Role: Primary, Defences: []string{"o-not-compared"}, Replica: newAlteredO},
	{Number: 5, Name: "new-view of too few", Role: Primary, Defences: []string{"new-view-of-too-few", "repeated-view-changes-accepted"},
		Replica: newFewViewChanges},
	{Number: 6, Name: "two new-views", Role: Primary, Defences: []string{"second-new-view-accepted"}, Replica: newTwoNewViews},
	{Number: 7, Name: "censored client", Role: Primary, Defences: []string{"timer-restarted-by-progress"}, Replica: newCensor},
	{Number: 8, Name: "delayed pre-prepares", Role: Primary, Defences: []string{"silence-not-suspected"}, Replica: newDelay},
	{Number: 9, Name: "silent primary", Role: Primary, Defences: []string{"silence-not-suspected"}, Replica: newSilent},
	{Number: 10, Name: "skipped numbers", Role: Primary, Defences: []string{"gap-not-suspected", "gap-ends-o"}, Replica: newSkip},
	{Number: 11, Name: "front-running", Role: Primary, Defences: []string{"timer-restarted-by-progress"}, Replica: newFrontRun},
	{Number: 12, Name: "duplicated requests", Role: Primary, Defences: []string{"session-check-skipped"}, Replica: newDuplicate},
	{Number: 13, Name: "absurd time", Role: Primary, Defences: []string{"time-unchecked", "time-not-clamped"}, Replica: newAbsurdTime},
	{Name: "lying update", Role: Primary, Defences: []string{"updates-not-judged"}, Passive: true,
		Replica: func(e Env) Adversary { return &lyingUpdate{newBase(e)} }},
}
