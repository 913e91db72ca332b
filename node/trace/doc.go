// Package trace says where the time of one call went: in which of the five phases, as the client saw
// it and at each replica. It has the frames by which a client asks replicas for their times, and the
// arithmetic; package node takes the times of a replica, package client those of a client.
//
// # Phases
//
// In the order in which a call goes through them here:
//
//	request       the client signs and sends, the replica receives
//	coordination  the primary gives the request a number, and the replica sees that proposal
//	agreement     prepare and commit: a quorum promises that order
//	execution     the service executes, in order, and so behind what was ordered before
//	response      the replica sends, the client receives, and waits until enough replies are alike
//
// # Clocks
//
// No clock of one machine is compared with one of another. A replica reports durations since it received
// the request. The client knows when it sent to a replica and when that one's reply came; what the replica
// does not account for between the two was spent on the way, and half of it is taken for each
// direction. So the phases of a replica add up to the time that the client itself measured, whatever
// a replica says: one whose durations do not fit between the two is not believed.
package trace
