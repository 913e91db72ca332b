// Package transport moves opaque frames between replicas, and between clients
// and replicas, over libp2p connections: TCP and TLS 1.3, nothing else.
// It knows nothing of what the frames mean.
//
// # Who is at the other end
//
// The TLS handshake binds a connection to the Ed25519 key of the process that
// dialled or accepted it: the member key of a replica, the client key of a
// client. What arrives on a channel is therefore authentic without a further
// signature, and the handler is told the member or the key, never an address.
//
// # Connections
//
// Every connection carries one stream. A replica dials each other member and
// only writes on that stream; it only reads on those that it accepted. Each
// direction has a connection of its own, so there is no tie to break when two
// replicas dial each other, and either direction can fail and return alone. A
// client dials every replica and uses its stream both ways. Only the dialling
// side reconnects, for ever, with back-off and jitter.
//
// The parts of libp2p below its host are used directly (TCP, upgrader, TLS,
// multistream): a host's swarm would share and reuse connections, delay
// redials by its own back-off, and bring an identify exchange with every
// connection, none of which is wanted here. With one stream for each connection there is nothing
// to multiplex either: where libp2p has a stream muxer stands one that hands TLS out as that stream.
//
// # What travels on a stream
//
// The stream negotiates /baluarte/replica/1 or /baluarte/client/1 by
// multistream-select. The dialling side then sends its hello, 40 bytes:
//
//	"BLRT"  version uint16  reserved uint16 (0)  cluster id [32]byte
//
// and the accepting side answers before anything else:
//
//	"BLRT"  version uint16  code uint8  reserved uint8  length uint16  reason
//
// Code 0 accepts; every other one refuses, with a reason for humans of at most
// 256 bytes, see [Refusal]. The form of the answer never changes, and a
// protocol id of any version is selected, so that a process of another version
// is told so. After that come frames: a length, 4 bytes big-endian, and as many
// bytes. A length of zero is no frame: from a replica to a client it introduces
// the reason for which the replica now closes the stream (length uint16,
// reason), elsewhere it is a violation. A length of 2^32-1 is a sign of life, which both ends write
// when they have nothing else to write. Every violation closes the connection.
//
// # Bounds
//
// Every queue, buffer and wait is bounded by [Limits]. For one connection the
// memory is at most the queue of unsent frames, one frame being read and buffers of some 200 KiB (a client's: 64 KiB);
// what waits for a handler that is busy waits in the buffers of the kernel, and then at the other end.
//
// Frames up to 1 KiB are carved from slabs of 16 KiB that are never reused: a
// handler that retains n small frames keeps at most n slabs alive, and should
// copy what it retains for long.
package transport
