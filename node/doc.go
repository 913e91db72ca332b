// Package node hosts one replica: it gives the pure core of package bft its network, disk,
// clock, signatures and executed state.
//
// # The pipeline
//
//	stream readers → decode, cheap checks → verify (batches) → inbox → core (one goroutine)
//	core → store (group commit), beside it the signer → transport (one writer a peer)
//	core → executor → replies to clients
//	executor → snapshot writer; readers of queries beside it
//
// A hand-over between goroutines costs more than most steps here, when nine processes share two cores.
// So the reader of a stream decodes and, when nobody else is at it, verifies; the core signs one
// or two votes itself while the store syncs their records. Everything that waits when the core
// comes round is one turn: it leaves under one signature and one fsync. Records of a turn that asks
// for no signature, such as commit certificates, hold nothing back: they share the next fsync that
// something waits for, or have their own 5 ms later.
//
// # Bounds
//
// Every queue has a bound and an answer when it is full:
//
//	inbox of a peer            peerInboxFrames, peerInboxBytes     frame dropped: peers retransmit
//	inbox of all clients       clientInboxBundles                  Busy
//	claims to verify           verifyClaims                        frame dropped
//	records for the disk       store.DefaultQueueBytes             Busy, and frames of peers dropped
//	batches to execute         executorBacklog                     Busy
//	waiting reads              maxReads                            refused
//	snapshots to write         snapshotBacklog                     the older one is skipped
//	parts to serve             partBacklog                         refused
//	results of a reply         replyBytes                          replaced: executed, result not told
//	routes of replies          2·routesKept                        oldest forgotten: the client repeats
//	frames to a peer, client   transport.Limits                    dropped: repeated
//
// Dropping frames of peers while the disk is behind spares Status and Fetch, which make no
// records: so a slow disk does not look like a dead replica.
//
// # Restart
//
// The newest durable snapshot is the base of the executed state, and the core has the committed
// batches above it executed again. That holds for services in memory and for those on the
// replica's Pebble alike: the latter's database is made anew and filled from the snapshot.
// A damaged snapshot is set aside and an older one, or genesis, is the base; if the log does not
// reach back to it, the state is fetched from the peers. Damaged records are another matter: Start
// fails, and with Options.AcceptLoss the replica begins anew as an amnesiac (rule 19).
package node
