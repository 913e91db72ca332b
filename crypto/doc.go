// Package crypto holds what the replicas sign, check and prove with: digests,
// Ed25519 keys and their verification one by one and in batches, Merkle trees,
// the ring of member keys and the files that private keys are kept in.
//
// # One rule of verification
//
// A certificate is judged by many replicas, some of which check its signatures
// in a batch and some one by one. If two ways of checking could disagree on one
// signature, a faulty signer could split the honest replicas with it. So there
// is one rule, ZIP-215: the cofactored equation, every encoding of a point
// accepted, S below the group order. [Ed25519] decodes and computes the same
// way for both.
//
// ZIP-215 lets keys of small order verify signatures that nobody made.
// Therefore [PublicKey.Check] refuses them where keys come in: in a manifest
// ([NewKeyRing]), in a session, on a command line ([ParsePublicKey]).
package crypto
