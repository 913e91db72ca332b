// Package account names those who broke the protocol, from nothing but signed envelopes, with
// evidence that anyone with the manifest can check (oracles A1 and A2; rule 33).
//
// A [Book] is fed with the envelopes that honest replicas received or sent. It finds members that
// signed what no honest replica signs: two statements that contradict each other, or one that
// contradicts what it carries itself. For each it keeps [Evidence], the few envelopes that show
// it. [Check] verifies evidence from scratch: it trusts neither the Book nor the file.
//
// # What counts
//
// The [Kind]s list it. Each follows from what an honest replica does across crashes, too: a message
// leaves only after its record is durable (rule 16), so a statement that left is known to every
// later life of its signer, and one that was lost with its record was never seen. An honest replica
// is therefore never named, however many others lie and whoever repeats its messages (A2):
// only signatures count, never the channel on which an envelope came, nor the order of arrival.
//
// Left out is what bytes alone do not prove:
//
//   - silence, delay, withheld votes and censorship;
//   - a commit without a prepared certificate: its signer may hold one that nobody else holds;
//   - a checkpoint that differs from a certified one: once agreement is broken, honest replicas
//     have executed different histories, and each reports its own. Two that one member signed
//     for one number are evidence, and two certificates for one number share f+1 such signers;
//   - votes of a view that its signer had left: nothing signed tells what was signed first;
//   - a commit or checkpoint certificate that does not hold, passed on in data: the channel
//     authenticates who sent it, but nothing signs it. What view-changes and new-views carry
//     is signed;
//   - a top-level payload that does not decode: it misleads nobody.
//
// # Accountability
//
// Let n = 3f+1 or more, Q the quorum, and t faulty replicas, f < t ≤ 2f. If two honest replicas
// execute different proposals d and d' for number m, the envelopes that the honest replicas hold
// prove at least f+1 of the faulty ones guilty. (The argument is that of Sheng, Wang, Nayak, Kannan
// and Viswanath, "BFT Protocol Forensics", CCS 2021, for PBFT with signatures; here with
// our certificates.)
//
// An honest replica executes m by a commit certificate that it holds, or takes over a state by a
// checkpoint certificate, one of whose Q > t signers is honest; the first honest replica to sign
// for such a state had executed m. So there are commit certificates for (v, m, d) and (v', m, d')
// with v ≤ v', both held by honest replicas.
//
// Same view, v = v': two quorums share 2Q−n ≥ f+1 members, and each of these signed two commits
// ([TwoVotes]).
//
// Different views: an honest one of the signers in v' holds a prepared certificate for (v', m, d').
// Let w > v be the lowest view for which honest replicas hold, anywhere, also inside
// view-changes, a prepared certificate for m that names another proposal than d; let it name e.
// Its Q signers, the primary among them, include an honest one. That one entered w by a
// new-view which it checked, and which names Q view-changes that it held: new-views name them
// by digest, and a replica that lacks one fetches it before it enters. In w it accepted e for m.
// So no view-change named has a stable checkpoint at m or above, for then the new-view would leave no
// room for m. At least 2Q−n ≥ f+1 of those who signed these view-changes have also signed
// commits for (v, m, d). If each of their view-changes has no certificate for m of view v or
// higher, or one of view v that does not name d, all of them are guilty ([LostCertificate]).
// Otherwise some view-change has a certificate of view v or higher, and the highest one decided
// what w proposes for m. Was its view above v, it named d, as w is the lowest view in which
// something else prepared, and the new-view would have proposed d, not e. So its view is v, and it
// names something other than d: it and the commit certificate are statements of two
// quorums in one view, and 2Q−n ≥ f+1 members have signed both a proposal or prepare for the one
// and a commit for the other ([VoteAgainstOwn], or [TwoProposals] and [TwoVotes] besides).
//
// What the argument needs from the Book's feeder: every pre-prepare, votes, view-change and
// new-view that an honest replica verified or sent, those in data (view-changes that were fetched,
// commit and checkpoint certificates) included. [Book.AddFrame] takes them all out of a frame.
package account
