package byz

// environments are the behaviours of what surrounds the protocol of a replica.
var environments = []Behaviour{}
