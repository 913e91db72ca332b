// Package teach holds short scenarios that show how things fail, and what helps.
//
// Most are small exact models: they do one thing, without the engine, and enumerate every case
// where there are few enough. Those of the last group run the real engine in the simulator. A scenario prints its story, then what happened, then what that shows. Nothing
// of the last two is written down beforehand: each statement is made of values that the model
// computed, and Result holds the same values for programs.
//
// The subject and its order are those of the chapter on fault tolerance of Tanenbaum & van Steen,
// Distributed Systems (ch. 8); the sources of single results stand in the stories.
//
// A scenario is a function of its Options: the same ones give the same text.
package teach
