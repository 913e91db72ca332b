package files

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Mode says what a new content needs: that there is no file of the name, or that there is one.
type Mode byte

// The modes.
const (
	// Create makes a file; if there is one of the name it fails with ErrExists.
	Create Mode = iota
	// Update gives a file a new version; if there is none of the name it fails with ErrNotFound.
	Update
)

// An operation, or a query, is a letter and fields: bytes preceded by their length, and numbers, both as varints.
const (
	opPut    = 'P' // mode, name, content
	opBegin  = 'B' // mode, name, size
	opStage  = 'S' // upload, part, content
	opCommit = 'C' // upload, digest
	opAbort  = 'A' // upload
	opDelete = 'D' // name

	askFile     = 'f' // name, version; 0 for the present one
	askChunk    = 'c' // digest
	askList     = 'l' // after: a name or nothing, items
	askVersions = 'v' // name
	askHistory  = 'h' // after, items, name or nothing
	askUsage    = 'u' // client
)

// Put returns the operation that stores a whole content, of at most Limits.Chunk bytes.
func Put(mode Mode, name string, content []byte) []byte {
	b := make([]byte, 0, 8+len(name)+len(content))
	return appendField(appendField(append(b, opPut, byte(mode)), []byte(name)), content)
}

// Begin returns the operation that begins an upload of a content of that many bytes, and reserves room for it.
func Begin(mode Mode, name string, size uint64) []byte {
	return appendNumber(appendField([]byte{opBegin, byte(mode)}, []byte(name)), size)
}

// Stage returns the operation that adds a part to an upload: parts are numbered from 0, and each but the last
// has [Started.Chunk] bytes. They may come in any order.
func Stage(upload uint64, part int, content []byte) []byte {
	b := make([]byte, 0, 16+len(content))
	return appendField(appendNumber(appendNumber(append(b, opStage), upload), uint64(part)), content)
}

// Commit returns the operation that makes the content of an upload visible, at once and as a whole, if all parts are
// there and the digest of it all is that given; see [Digest].
func Commit(upload uint64, digest bft.Digest) []byte {
	return append(appendNumber([]byte{opCommit}, upload), digest[:]...)
}

// Abort returns the operation that drops an upload and its parts.
func Abort(upload uint64) []byte { return appendNumber([]byte{opAbort}, upload) }

// Delete returns the operation that removes a file with all its versions.
func Delete(name string) []byte { return appendField([]byte{opDelete}, []byte(name)) }

// File returns the query for a version of a file, 0 for the present one.
func File(name string, version uint64) []byte {
	return appendNumber(appendField([]byte{askFile}, []byte(name)), version)
}

// Chunk returns the query for a part of a content. The digest tells whether the answer is right, whoever gave it.
func Chunk(digest bft.Digest) []byte { return append([]byte{askChunk}, digest[:]...) }

// List returns the query for the files in the order of their names, from the first one above after; an empty after
// means from the first. Items out of [1, MaxItems] mean that maximum.
func List(after string, items int) []byte {
	return appendNumber(appendField([]byte{askList}, []byte(after)), bounded(items))
}

// Versions returns the query for the versions of a file that are kept, the oldest first.
func Versions(name string) []byte { return appendField([]byte{askVersions}, []byte(name)) }

// History returns the query for the requests with numbers above after, in order; with a name only those for it.
// Items out of [1, MaxItems] mean that maximum.
func History(after uint64, items int, name string) []byte {
	return appendField(appendNumber(appendNumber([]byte{askHistory}, after), bounded(items)), []byte(name))
}

// UsageOf returns the query for what is used of the limits by a client, and in all.
func UsageOf(client bft.ClientID) []byte { return append([]byte{askUsage}, client[:]...) }

func bounded(items int) uint64 {
	if items < 1 || items > MaxItems {
		return MaxItems
	}
	return uint64(items)
}

// ChunkDigest identifies a part of a content.
func ChunkDigest(part []byte) bft.Digest { return crypto.Hash("baluarte/files/chunk", part) }

// Digest identifies a content, by its size and the digests of its parts.
func Digest(size uint64, parts []bft.Digest) bft.Digest {
	all := make([]byte, 0, 32*len(parts))
	for i := range parts {
		all = append(all, parts[i][:]...)
	}
	return crypto.Hash("baluarte/files/content", bigEndian(size), all)
}

// operation is a decoded operation or query; content points into the encoding.
type operation struct {
	kind    byte
	mode    Mode
	name    string
	content []byte
	size    uint64
	upload  uint64
	part    uint64
	version uint64
	after   string
	number  uint64
	items   int
	digest  bft.Digest
	client  bft.ClientID
}

// decodeOp accepts exactly what the functions from Put to Delete encode, decodeQuery what the others do.
func decodeOp(b []byte) (operation, error) {
	if len(b) == 0 {
		return operation{}, ErrBadOp
	}
	o, f := operation{kind: b[0]}, &fields{rest: b[1:]}
	switch o.kind {
	case opPut:
		o.mode, o.name, o.content = f.mode(), f.name(), f.next(ChunkSize)
	case opBegin:
		o.mode, o.name, o.size = f.mode(), f.name(), f.number(anyNumber)
	case opStage:
		o.upload, o.part, o.content = f.number(anyNumber), f.number(anyNumber), f.next(ChunkSize)
	case opCommit:
		o.upload, o.digest = f.number(anyNumber), f.digest()
	case opAbort:
		o.upload = f.number(anyNumber)
	case opDelete:
		o.name = f.name()
	default:
		return operation{}, ErrBadOp
	}
	if !f.end() {
		return operation{}, ErrBadOp
	}
	return o, nil
}

func decodeQuery(b []byte) (operation, error) {
	if len(b) == 0 {
		return operation{}, ErrBadOp
	}
	o, f := operation{kind: b[0]}, &fields{rest: b[1:]}
	switch o.kind {
	case askFile:
		o.name, o.version = f.name(), f.number(anyNumber)
	case askChunk:
		o.digest = f.digest()
	case askList:
		o.after, o.items = string(f.next(MaxName)), int(f.number(MaxItems))
		f.bad = f.bad || o.items == 0
	case askVersions:
		o.name = f.name()
	case askHistory:
		o.number, o.items, o.name = f.number(anyNumber), int(f.number(MaxItems)), string(f.next(MaxName))
		f.bad = f.bad || o.items == 0 || o.name != "" && CheckName(o.name) != nil
	case askUsage:
		o.client = f.client()
	default:
		return operation{}, ErrBadOp
	}
	if !f.end() {
		return operation{}, ErrBadOp
	}
	return o, nil
}

func (f *fields) mode() Mode {
	m := f.take(1)
	if f.bad || m[0] > byte(Update) {
		f.bad = true
		return 0
	}
	return Mode(m[0])
}
