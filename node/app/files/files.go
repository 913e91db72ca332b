// Package files is a store of files with versions. A file is whole or not there: a content larger than an operation is
// sent in parts under an upload, and becomes visible by one last operation. Contents are cut into chunks, each of which is
// stored once, under its digest.
//
// The functions Put, Begin and so on encode operations, File, List and so on queries; each has a Decode for its result.
// An operation that fails leaves the state exactly as it was, and a request that failed is in no history.
//
// Every client may read and change every file; who did is recorded. Uploads belong to the client that began them.
package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

const (
	// ChunkSize is the size of a chunk, and so of a part of an upload, in bytes.
	ChunkSize = 512 << 10
	// MaxItems bounds a page of a list or history.
	MaxItems = 1000
)

// Limits bound what clients can make a replica keep. They are part of the state, so that a replica with other limits is
// found out at its first checkpoint.
type Limits struct {
	// Chunk is the size of a chunk in bytes, at most ChunkSize.
	Chunk uint64
	// File is the size of the largest file, in bytes.
	File uint64
	// ClientFiles and ClientBytes bound the present versions that a client made, with its uploads; Files and Bytes
	// those of all. A version that is to be replaced counts until it is.
	ClientFiles, ClientBytes uint64
	Files, Bytes             uint64
	// ClientUploads and Uploads bound the uploads under way, of one client and of all.
	ClientUploads, Uploads uint64
	// UploadTime is how long an upload lives without a new part, in agreed time.
	UploadTime time.Duration
	// Versions is how many versions of a file are kept, with the present one. OldBytes bounds the others of all files;
	// beyond it those replaced first are dropped.
	Versions, OldBytes uint64
	// Requests is how many requests the history keeps.
	Requests uint64
}

// DefaultLimits are those of docs/services/files.md.
func DefaultLimits() Limits {
	return Limits{
		Chunk: ChunkSize, File: 256 << 20,
		ClientFiles: 50_000, ClientBytes: 512 << 20, Files: 100_000, Bytes: 1 << 30,
		ClientUploads: 8, Uploads: 64, UploadTime: 10 * time.Minute,
		Versions: 8, OldBytes: 256 << 20, Requests: 10_000,
	}
}

// all lists the limits in a fixed order.
func (l *Limits) all() []uint64 {
	return []uint64{l.Chunk, l.File, l.ClientFiles, l.ClientBytes, l.Files, l.Bytes, l.ClientUploads, l.Uploads,
		uint64(l.UploadTime), l.Versions, l.OldBytes, l.Requests}
}

// maxParts bounds the chunks of a file, so that their digests fit one answer.
const maxParts = 1 << 16

// Validate says which limit is out of its bounds.
func (l *Limits) Validate() error {
	const most = 1 << 60 // sums of two do not overflow
	for _, n := range l.all() {
		if n < 1 || n > most {
			return fmt.Errorf("files: a limit of %d: each is from 1 to 2^60", n)
		}
	}
	if l.Chunk > ChunkSize || l.parts(l.File) > maxParts {
		return fmt.Errorf("files: chunks of %d bytes and files of %d: a chunk has at most %d, a file %d chunks", l.Chunk, l.File, ChunkSize, maxParts)
	}
	return nil
}

// Why an operation or query did not do what it was to do. The error's text says more; errors.Is finds these.
var (
	// ErrNotFound: there is no such file, version, chunk or upload.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is a file of the name already.
	ErrExists = errors.New("exists already")
	// ErrQuota: a limit would be exceeded.
	ErrQuota = errors.New("limit reached")
	// ErrBadPart: a part has the wrong number or size, is there with another content, or parts are missing, or
	// the digest of all is another.
	ErrBadPart = errors.New("bad part")
	// ErrBadOp: the operation is malformed, or its name is not one, see [CheckName].
	ErrBadOp = errors.New("files: malformed operation")
)

// machine is the service. All of its state is in the store.
type machine struct {
	// An operation makes many writes; queries wait, so that they see all of them or none.
	mu     sync.RWMutex
	store  app.Store
	limits Limits
}

// New makes the service with DefaultLimits.
func New(store app.Store) (app.StateMachine, error) { return Factory(DefaultLimits())(store) }

// Factory returns what makes the service with other limits, the same at all replicas.
func Factory(limits Limits) app.Factory {
	return func(store app.Store) (app.StateMachine, error) {
		if store == nil {
			return nil, errors.New("files: it needs a store")
		}
		if err := limits.Validate(); err != nil {
			return nil, err
		}
		store.Set([]byte{keyLimits}, limits.encode())
		return &machine{store: store, limits: limits}, nil
	}
}

// Apply executes one operation.
func (m *machine) Apply(ctx app.Context, op []byte) []byte {
	o, err := decodeOp(op)
	if err != nil {
		return failed(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.begin(ctx)
	t.expire()
	switch o.kind {
	case opPut:
		return t.put(&o)
	case opBegin:
		return t.beginUpload(&o)
	case opStage:
		return t.stage(&o)
	case opCommit:
		return t.commit(&o)
	case opAbort:
		return t.abort(&o)
	}
	return t.delete(o.name)
}

// Validate refuses malformed operations before they are ordered.
func (m *machine) Validate(op []byte) error {
	_, err := decodeOp(op)
	return err
}

// Query answers a question, from the state of one moment.
func (m *machine) Query(ctx context.Context, q []byte) ([]byte, error) {
	o, err := decodeQuery(q)
	if err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	result := m.answer(ctx, &o)
	return result, ctx.Err()
}

// turn is one operation at work: who, when, and the totals as they are read and written.
type turn struct {
	*machine
	client bft.ClientID
	now    uint64 // nanoseconds
	totals totals
}

func (m *machine) begin(ctx app.Context) *turn {
	return &turn{machine: m, client: ctx.Client, now: uint64(max(ctx.Nanos(), 0)), totals: m.totals()}
}

// save writes the totals; each operation that changes them ends so.
func (t *turn) save() { t.store.Set([]byte{keyTotals}, t.totals.encode()) }
