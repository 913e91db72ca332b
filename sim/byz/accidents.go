package byz

// accidents are the faults of the classes value and state transition: the replica means well.
var accidents = []Behaviour{}
