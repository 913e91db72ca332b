// Package store keeps what one replica must not lose: the records of its
// protocol core, its birth record and the snapshots of its state; and, beside that, a
// database for services whose state does not fit memory. It is a directory:
//
//	birth            who this replica is; written once, by Init
//	lock             held by the process that has the store open
//	mark             how far the records reached, see below
//	log/             the records, in numbered files
//	snapshots/       <seq>.snap, see Snapshots
//	state/           the services' database, made anew at each start
//
// # The log
//
// The core's records are written often, read at a start only, and cut two checkpoint intervals
// later at most. So they are in a log and nowhere else: files of 64 MiB in the format of
// Pebble's write-ahead log, written by its package wal. A database above that log would write
// each record twice more, into a table and into what tables are merged into. A file goes when
// nothing in it is live any more; the few records that live long, such as the newest
// view-change, are then moved to the newest file. What the log takes on the disk is bounded by the
// records of the core's log window, a file that is begun, and four that wait to be written over.
//
// # What detects what
//
// Rule 19 demands that lost records are noticed, except those that were never
// reported durable. Pebble v2.1.7 alone does not notice everything: in the format
// with sync offsets each chunk says up to where the log was synced when it was written. A bad chunk
// followed by one that says so is corruption, and Open fails. A bad chunk
// at the end is taken for a write that a crash cut short, and is dropped. That is
// right for what was not synced; but the last synced chunk, or all that a
// truncation took away, goes without a word.
//
// So three checks stand above it. Each file begins with a header that says which birth record
// it belongs to, which file is the oldest that is needed, and where the file before it ended: one that
// is missing, foreign, or shorter than it was is noticed. Each commit ends with a head: the last
// LSN, the number of live core records and the sum of their hashes. Open reads all
// of them and compares, which notices any loss or change within the log,
// whichever file it happened in. And after each commit, once it is durable, its LSN is
// written to the mark file, which is not synced each time: it outlives the
// process, and after a loss of power it is merely older. A log whose head is behind the
// mark has lost records. What remains is a loss of power together with damage to the
// end of the newest file; then the replica's peers know (rule 19), as it signs nothing after a start
// before a quorum has told what they hold signed by it.
//
// Damage is an error of Open, see [DamageError]; nothing is repaired in
// silence. [Rebuild] begins anew as an amnesiac and keeps the damaged files.
package store
