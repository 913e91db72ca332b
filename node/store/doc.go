// Package store keeps what one replica must not lose: the records of its
// protocol core, its birth record, the snapshots of its state, and a part for
// services whose state does not fit memory. It is one Pebble database and a
// few files beside it:
//
//	birth            who this replica is; written once, by Init
//	lock             held by the process that has the store open
//	mark             how far the records reached, see below
//	db/              the database
//	snapshots/       <seq>.snap, see Snapshots
//
// # What detects what
//
// Rule 19 demands that lost records are noticed, except those that were never
// reported durable. Pebble v2.1.7 alone does not notice everything:
//
//   - The write-ahead log has format FormatWALSyncChunks or newer: each chunk
//     says up to where the log was synced when it was written. A bad chunk
//     followed by one that says so is corruption, and Open fails. A bad chunk
//     at the end is taken for a write that a crash cut short, and is dropped. That is
//     right for what was not synced; but the last synced chunk, or all that a
//     truncation took away, goes without a word. All logs but the newest must
//     end cleanly.
//   - Blocks of tables have checksums, checked when they are read, not on Open.
//     FormatTableFormatV6 extends them to a table's footer.
//   - The manifest is read up to its first bad chunk. Tables that only a later
//     one names are deleted as left-overs, without a word.
//
// So two checks stand above it. Each commit writes a head record: the last
// LSN, the number of live core records and the sum of their hashes. Open reads all
// of them and compares, which notices any loss or change within the database,
// whichever file it happened in. And after each commit, once it is durable, its LSN is
// written to the mark file, which is not synced each time: it outlives the
// process, and after a loss of power it is merely older. A database whose head is behind the
// mark has lost records. What remains is a loss of power together with damage to the
// end of the log; then the replica's peers know (rule 19), as it signs nothing after a start
// before a quorum has told what they hold signed by it.
//
// Damage is an error of Open, see [DamageError]; nothing is repaired in
// silence. [Rebuild] begins anew as an amnesiac and keeps the damaged files.
package store
