// Package transport moves opaque frames between replicas, and between clients
// and replicas, over libp2p connections: TCP, TLS 1.3 and yamux, nothing else.
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
// The parts of libp2p below its host are used directly (upgrader, TLS, yamux,
// multistream): a host's swarm would share and reuse connections, delay
// redials by its own back-off, and bring an identify exchange with every
// connection, none of which is wanted here.
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
// reason), elsewhere it is a violation. Every violation closes the connection.
//
// # Bounds
//
// Every queue, buffer and wait is bounded by [Limits]. For one connection the
// memory is at most the queue of unsent frames, 4 MiB (a client's: 1 MiB) on
// their way through yamux, its receive window, one frame being read and
// small buffers. yamux grants a receive window of 256 KiB at first and widens it
// up to the limit only while the reader keeps up. It keeps each of its
// messages in a buffer of its own, so a client that sends one byte a message
// while its handler blocks costs about 40 times its window.
//
// Frames up to 1 KiB are carved from slabs of 16 KiB that are never reused: a
// handler that retains n small frames keeps at most n slabs alive, and should
// copy what it retains for long.
package transport
