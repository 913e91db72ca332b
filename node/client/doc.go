// Package client calls the services of a cluster. It believes a result only once f+1 replicas
// sent it alike, so that up to f lying replicas cannot make it return a wrong one.
//
//	c, err := client.Open(ctx, "cluster")                // the directory with manifest and key
//	defer c.Close()
//	reply, err := c.Invoke(ctx, op)                      // ordered, executed exactly once
//	reply, err = c.Query(ctx, q, client.Linearizable)    // a read, not ordered
//	reply, err = c.Service("kv").Invoke(ctx, op)         // where a cluster hosts several services
//
// A Client is safe for concurrent use, and fastest when many calls are made at the same time:
// what is submitted while an earlier bundle is being signed leaves together under one
// signature. [Client.Submit] makes calls without a goroutine for each.
//
// # When a call fails
//
// The error tells by errors.Is whether the operation may have been executed. After
// [ErrNotSubmitted] and [ErrRejected] it was not and never will be; after [ErrOutcomeUnknown] it may
// have been, or may yet be. [ErrOverloaded] and [ErrSessionExpired] come with one of the two.
// The error's text says what was missing, such as "2 of 4 replicas reachable, 3 needed".
// Where the caller's context ended the call, the error is also ctx.Err().
//
// A client repeats what was not answered by itself, for as long as the call's context allows: its
// user need not. What makes a repetition safe is the client's session, so an operation whose
// outcome is unknown must not be invoked again by another Client without a thought about what
// executing it twice would do.
//
// # Bounds
//
// At most [Options.MaxCalls] calls and 64 MiB of operations are outstanding; more are refused
// with ErrOverloaded. Received frames that wait are bounded by some 32 MiB for each replica;
// then that replica alone is slowed down.
package client
