// Package app is what the programmer of a service needs: the interfaces to implement, under
// one roof. A service is a [StateMachine] made by a [Factory]; package app/counter is the
// shortest complete one, app/echo one that keeps its state in a [Store].
//
// The rules for a service are few, and apptest.Check finds most breaches of them:
//
//   - Apply depends on the state, the operation and the [Context], and on nothing else. The
//     usual slips are ranging over a map, time.Now, math/rand and floating point.
//   - Apply survives any bytes: whoever may send operations may send nonsense.
//   - Query runs beside Apply, so shared state needs a lock or an atomic, and it changes nothing.
//   - Equal states write equal snapshots, whatever led to them.
//   - A result says what a retry needs to know: it is kept and repeated, the operation is not.
package app

import "github.com/baluarte-bft/baluarte/bft/exec"

type (
	// StateMachine is a replicated service.
	StateMachine = exec.StateMachine
	// Snapshot is the state of a service at one point.
	Snapshot = exec.StateSnapshot
	// Validator is implemented by services that refuse malformed operations at the door.
	Validator = exec.Validator
	// Updater is implemented by services that are replicated passively.
	Updater = exec.Updater
	// Draft is what the primary executes the operations of an Updater on.
	Draft = exec.Draft
	// UpdateValidator is implemented by drafts that can judge an update.
	UpdateValidator = exec.UpdateValidator
	// Context is what an operation may know besides its bytes and the state.
	Context = exec.Context
	// Factory makes a service.
	Factory = exec.Factory
	// Store is an ordered map that may be larger than memory.
	Store = exec.Store
	// Reader is what can be read of a Store.
	Reader = exec.Reader
	// StoreSnapshot is the contents of a Store at one point.
	StoreSnapshot = exec.StoreSnapshot
)
