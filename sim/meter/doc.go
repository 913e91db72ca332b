// Package meter measures what a replica holds and what it is made to verify, from outside the
// pure core, and holds both against formulas: oracles R1 and R2.
//
// R1: whatever peers and clients send, the memory that a replica keeps has a bound that follows
// from its configuration alone. [Size] measures, by walking over everything that can be reached;
// [Bound] computes, term by term, from the limits of bft.Config and those that each queue and map
// of package bft has; [Formula.Check] compares them field by field, so that a small map without a
// bound is not hidden by the room that a large one has. A field of the replica for which no term
// is stated is an error too: whoever adds a queue must say what bounds it.
//
// R2: a signature that is verified must have been paid for with bytes on the wire. [Work] counts
// both for each remote.
//
// Nothing here is part of the protocol: a replica behaves the same whether it is measured or not.
package meter
