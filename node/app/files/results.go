package files

import (
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
)

// A result is a status, and what belongs to it: after statusOK the fields that the Decode functions tell, after the others
// a text that says what was wrong, the same at all replicas.
const (
	statusOK = iota
	statusNotFound
	statusExists
	statusQuota
	statusBadPart
	statusBadOp
)

var statusErrors = []error{nil, ErrNotFound, ErrExists, ErrQuota, ErrBadPart, ErrBadOp}

// refusal is an error of the service, with its text.
type refusal struct {
	kind error
	text string
}

// Error returns the text.
func (r *refusal) Error() string { return r.text }

// Unwrap returns ErrNotFound or another of them.
func (r *refusal) Unwrap() error { return r.kind }

// refuse makes an error. Its text is part of a result, so no %q: what it escapes depends on Go's release, and names are
// printable as they are.
func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

// failed is the result for an error.
func failed(err error) []byte {
	for status := statusNotFound; status <= statusBadOp; status++ {
		if errors.Is(err, statusErrors[status]) {
			return append([]byte{byte(status)}, err.Error()...)
		}
	}
	panic("files: an error without a status: " + err.Error())
}

func ok() []byte { return []byte{statusOK} }

// open returns the fields of a result, or the error that it tells.
func open(result []byte) (*fields, error) {
	if len(result) == 0 || int(result[0]) >= len(statusErrors) {
		return nil, errBadResult
	}
	if result[0] != statusOK {
		return nil, &refusal{statusErrors[result[0]], string(result[1:])}
	}
	return &fields{rest: result[1:]}, nil
}

var errBadResult = errors.New("files: these bytes are no such result")

// decode has read read the fields of a result.
func decode[T any](result []byte, read func(*fields) T) (value T, err error) {
	f, err := open(result)
	if err != nil {
		return value, err
	}
	if value = read(f); !f.end() {
		return *new(T), errBadResult
	}
	return value, nil
}

// DecodeDone returns the error of the result of Stage or Abort, or nil.
func DecodeDone(result []byte) error {
	_, err := decode(result, func(*fields) struct{} { return struct{}{} })
	return err
}

// DecodeRequest returns the request that a Put, Commit or Delete has become.
func DecodeRequest(result []byte) (Request, error) { return decode(result, (*fields).request) }

// Started is an upload that was begun.
type Started struct {
	Upload uint64
	// Chunk is the size of each part but the last, in bytes; Parts how many there must be.
	Chunk, Parts uint64
}

// DecodeStarted returns the upload that a Begin has begun.
func DecodeStarted(result []byte) (Started, error) {
	return decode(result, func(f *fields) Started {
		return Started{f.number(anyNumber), f.number(anyNumber), f.number(anyNumber)}
	})
}

// DecodeFile returns the version that File asked for, and the digests of its chunks in order.
func DecodeFile(result []byte) (Info, []bft.Digest, error) {
	v, err := decode(result, (*fields).version)
	return v.Info, v.chunks, err
}

// DecodeChunk returns the chunk that Chunk asked for, checked against the digest.
func DecodeChunk(result []byte, digest bft.Digest) ([]byte, error) {
	data, err := decode(result, func(f *fields) []byte { return f.take(uint64(len(f.rest))) })
	if err == nil && ChunkDigest(data) != digest {
		err = errors.New("files: a chunk does not have its digest")
	}
	return data, err
}

// DecodeList returns the page that List asked for, and whether there are files after it.
func DecodeList(result []byte) (page []Info, more bool, err error) {
	return decodePage(result, (*fields).info)
}

// DecodeVersions returns the versions that Versions asked for.
func DecodeVersions(result []byte) ([]Info, error) {
	page, _, err := decodePage(result, (*fields).info)
	return page, err
}

// HistoryPage is a page of the history.
type HistoryPage struct {
	Requests []Request
	// More: History goes on after Next.
	More bool
	Next uint64
}

// DecodeHistory returns the page that History asked for.
func DecodeHistory(result []byte) (HistoryPage, error) {
	return decode(result, func(f *fields) HistoryPage {
		next := f.number(anyNumber)
		requests, more := page(f, (*fields).request)
		return HistoryPage{requests, more, next}
	})
}

// Quota is what is used of the limits.
type Quota struct {
	Client, All Usage
	// OldBytes are those of versions that are not present ones.
	OldBytes uint64
	Limits   Limits
}

// DecodeUsage returns what UsageOf asked for.
func DecodeUsage(result []byte) (Quota, error) {
	return decode(result, func(f *fields) Quota {
		return Quota{f.usage(), f.usage(), f.number(anyNumber), f.limits()}
	})
}

func decodePage[T any](result []byte, item func(*fields) T) (items []T, more bool, err error) {
	items, err = decode(result, func(f *fields) (items []T) {
		items, more = page(f, item)
		return items
	})
	return items, more && err == nil, err
}

// page reads whether there is more, and items up to the end.
func page[T any](f *fields, item func(*fields) T) (items []T, more bool) {
	more = f.number(1) == 1
	for !f.bad && len(f.rest) > 0 {
		items = append(items, item(f))
	}
	return items, more
}
