// Package members keeps a replica's table of all replicas: who is there, who is silent, and between whom only
// a link is broken. It serves people, who read it, and clients, who ask an active replica for full results; nothing
// in the protocol depends on it, so it never influences safety.
//
// # States
//
// All others start Disconnected, and any sign of life makes one Active; the replica itself starts Active. At each of
// its own ticks it looks how long each member has been silent, and the state worsens step by step: silent for more than AwaitingAfter
// ticks it is Awaiting confirmation, for more than UnresponsiveAfter Unresponsive, and then Disconnected, if there is no
// connection to it or it has been silent for more than DisconnectedAfter.
//
// # Whom it believes
//
// Each heartbeat tells how long ago its sender heard each member, and while a member is awaiting
// confirmation all others are asked. The rule for what others say is f+1: of f+1 members one at least is
// correct.
//
//   - A member that this replica hears is Active, whatever others say.
//   - One that it does not hear, but that f+1 others have heard since, is Active, and marked: the link to it is broken.
//   - One that f+1 others do not hear either is Unresponsive as soon as they say so. If they do not agree, or do
//     not answer within a tick, a replica believes itself.
//   - Of itself a replica believes the f+1 others who heard it last.
//
// So no member alone, nor f together, make another dead or alive.
//
// # Time
//
// [Table] is a function of its inputs: it has no clock, goroutine or lock. It is told the time with each call, and counts
// at most one interval between two calls, so that a process that was stopped blames nobody for the time it slept.
package members
