package byz

// environments are what surrounds the replicas: copies of them, cables, disks, services, and all of it at once.
var environments = []Behaviour{
	{Number: 41, Name: "twins", Role: Environment, Defences: []string{"quorum-too-small"}, Replica: newTwins, Twin: true},
	{Number: 42, Name: "partitions", Role: Environment, Defences: []string{"view-changes-sent-once"}, Replica: newPartitions},
	{Number: 43, Name: "failing disks", Role: Environment, Defences: []string{"amnesiac-signs", "restart-forgets-view", "votes-forgotten-on-restart", "stable-not-recorded",
		"start-without-answers", "view-change-not-recorded", "log-cut-too-far", "body-not-recorded"}, Replica: newFailingDisk, Outages: true},
	{Number: 44, Name: "sick service", Role: Environment, Defences: []string{"f-replies-enough"}, Replica: newSickService},
	{Number: 45, Name: "conspiracy", Role: Environment, Defences: []string{"quorum-too-small"}, Replica: newConspiracy, Outages: true},
}
