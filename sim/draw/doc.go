// Package draw makes space-time diagrams, after Lamport (1978), of a run or of a window of it: one
// line for each replica and client, an arrow for each message, the views as bands behind the
// lines, faults and lies marked. HTML writes a page to explore, which is complete in itself; SVG
// writes a still picture for a document.
//
// The package knows nothing of the simulator: whoever has a run describes it as a Run.
//
// # Why time runs from left to right
//
// The figures of the PBFT papers do, and whoever knows the protocol knows it by them. A screen is
// wider than high: four to ten replicas and their clients fit its height with room for text, and
// the long side is left for time, of which there is always more to see. Names, labels and the
// texts of marks stay horizontal, so nobody has to tilt the head.
//
// # Idle time is folded
//
// Messages travel for milliseconds, and nothing happens for seconds. Where nothing that is shown
// happens for long, both forms fold the time axis, mark the fold and say how much is left out;
// the page can unfold it.
//
// Output depends on the input alone: one Run makes the same bytes, always.
package draw
