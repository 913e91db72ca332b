// Package baluarte is the root of Baluarte, a Byzantine-fault-tolerant state machine replication
// engine. It holds no code; begin with one of these:
//
//   - node/client: call a cluster from a program
//   - node and node/app: write a service and serve it
//   - bft: the protocol, as pure state machines
//   - sim: the simulator
//
// The commands are cmd/bftnode, cmd/bftsim and cmd/bftbench. README.md has a first session,
// DESIGN.md the architecture.
package baluarte
