// Package coverage says what a campaign of runs exercised.
//
// Two tables are fed by the simulator while it runs: [Faults], the stage of the receiver × the
// classes and durations of the faults in force, and [Messages], the type of a message × the
// stage of its receiver. A [Tracker] tells the stage of a replica from what can be seen outside
// of it. Cells that were never reached are listed, and apart from them those that cannot be.
//
// [Rules] tells which rules of the protocol were entered: it builds the simulator with the
// instrumentation of go build -cover, runs seeds, and holds the blocks that were executed against
// the comments of the core that cite a rule.
package coverage
