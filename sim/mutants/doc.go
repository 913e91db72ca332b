// Package mutants breaks the protocol on purpose, one rule at a time, and shows that it is noticed.
//
// Each file patches/NN-name.patch is a unified diff of a few lines against the source tree, with
// a head that says which rule it breaks and what should notice. A patch is never applied to the
// tree: the changed files are written to a temporary directory, and the go command is told of
// them with -overlay. A mutant is killed by the first seed of bftsim fuzz on which an oracle
// breaks or, if it survives the seeds, by a test of the core; what survives both is a defect of
// the simulator and of the tests. The code without a patch must pass the same seeds and tests, or
// nothing is shown.
//
// A patch that does not fit the tree any more, since the code it changes was changed, is stale.
// That is neither a kill nor a survival, but an error: the patch must be written anew. A test of
// this package finds such patches, without building anything.
package mutants
