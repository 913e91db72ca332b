// Package single is what a cluster is compared with: one server without replicas, under the same load.
//
// # What it does as a replica does
//
// It is made of the same parts. Clients are those of package client, told that one reply is to be
// believed (client.Unreplicated); they bundle and sign as always. Channels are those of package
// transport. The client's signature of each bundle is verified once, in the batches of package verify.
// Sessions, results that are kept for a retry and the services are those of bft/exec, the services' data
// those of package store. What bundles wait together become a batch, whose record, the bundles as they
// came, is synced to the disk before it is executed, so that no result leaves before its operation is
// durable; a next batch is formed when the last one is durable, so that a lone bundle waits for
// nothing and many share one fsync. At each multiple of the cluster's checkpoint interval, counted in batches,
// a snapshot of the state is written and synced, and the log behind it cut; no more than the cluster's window of
// batches is ever without one. A restart restores the newest snapshot and executes the log behind it.
// Reads of either consistency are answered from the executed state.
//
// # What it leaves out
//
// All that makes it more than one machine: votes and their signatures and records, proposals and the
// fetching of bodies, view changes, marks of what may have committed, certificates of checkpoints, transfer of
// state, receipts. Bundles are not heard from each client by all. Nobody tolerates anything: what
// this server says is the result, and while it is down there is none. bftnode does not offer it.
package single
