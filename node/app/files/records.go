package files

import (
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// The store holds these records. A number in a key is 8 bytes, big endian.
const (
	keyTotals  = 'a' // nothing → totals
	keyRefs    = 'c' // digest of a chunk → how many versions and staged parts have it
	keyData    = 'd' // digest of a chunk → its bytes
	keyFile    = 'f' // name → the present version's Info
	keyRequest = 'h' // number of a request → Request
	keyLimits  = 'l' // nothing → Limits, from the beginning
	keyOld     = 'o' // request that replaced a version → its name and number
	keyPart    = 'p' // upload, part → digest of a chunk
	keyUsage   = 'q' // client → usage, if it is not zero
	keyExpiry  = 't' // time in nanoseconds, upload → nothing
	keyUpload  = 'u' // upload → upload
	keyVersion = 'v' // name, a zero byte, number → version
)

func at(kind byte, parts ...[]byte) []byte {
	return append([]byte{kind}, slices.Concat(parts...)...)
}

func versionKey(name string, number uint64) []byte {
	return at(keyVersion, []byte(name), []byte{0}, bigEndian(number)) // no name has a zero byte
}

// Info describes a version of a file.
type Info struct {
	Name string
	// Version counts from 1; it begins anew when a file is deleted and created again.
	Version uint64
	// Size is in bytes.
	Size uint64
	// Digest identifies the content, see [Digest].
	Digest bft.Digest
	// Time is when the version was made, in agreed time, and Client the key of who made it.
	Time   time.Time
	Client bft.ClientID
	// Request is the number of the request that made it, see [Request].
	Request uint64
}

func (i *Info) encode(b []byte) []byte {
	b = appendField(b, []byte(i.Name))
	b = appendNumber(appendNumber(b, i.Version), i.Size)
	b = append(b, i.Digest[:]...)
	b = appendNumber(b, uint64(i.Time.UnixNano()))
	b = append(b, i.Client[:]...)
	return appendNumber(b, i.Request)
}

func (f *fields) info() Info {
	return Info{Name: f.name(), Version: f.number(anyNumber), Size: f.number(anyNumber), Digest: f.digest(),
		Time: f.time(), Client: f.client(), Request: f.number(anyNumber)}
}

func (f *fields) time() time.Time { return time.Unix(0, int64(f.number(anyNumber))).UTC() }

// version is a kept version of a file.
type version struct {
	Info
	// replaced is the request that put another in its place; 0 for the present version.
	replaced uint64
	chunks   []bft.Digest
}

func (v *version) encode() []byte {
	return appendDigests(appendNumber(v.Info.encode(nil), v.replaced), v.chunks)
}

func (f *fields) version() version {
	return version{f.info(), f.number(anyNumber), f.digests()}
}

func appendDigests(b []byte, digests []bft.Digest) []byte {
	b = appendNumber(b, uint64(len(digests)))
	for i := range digests {
		b = append(b, digests[i][:]...)
	}
	return b
}

func (f *fields) digests() []bft.Digest {
	n := f.number(uint64(len(f.rest)) / 32)
	if f.bad {
		return nil
	}
	list := make([]bft.Digest, n)
	for i := range list {
		list[i] = f.digest()
	}
	return list
}

// Request is one request that changed a file.
type Request struct {
	// Number counts all such requests, from 1.
	Number uint64
	// Time is agreed time.
	Time   time.Time
	Client bft.ClientID
	Kind   Kind
	Name   string
	// Version and Size, in bytes, are those of the version that was made or, when a file was deleted, was the last.
	Version, Size uint64
}

// Kind is what a request did.
type Kind byte

// The kinds of requests.
const (
	Created Kind = iota
	Updated
	Deleted
	kindEnd
)

// String names the request as a user makes it.
func (k Kind) String() string {
	if k >= kindEnd {
		return "unknown"
	}
	return [...]string{"put", "update", "delete"}[k]
}

func (r *Request) encode(b []byte) []byte {
	b = appendNumber(appendNumber(b, r.Number), uint64(r.Time.UnixNano()))
	b = append(append(b, r.Client[:]...), byte(r.Kind))
	return appendNumber(appendNumber(appendField(b, []byte(r.Name)), r.Version), r.Size)
}

func (f *fields) request() Request {
	r := Request{Number: f.number(anyNumber), Time: f.time(), Client: f.client()}
	kind := f.take(1)
	if f.bad || kind[0] >= byte(kindEnd) {
		f.bad = true
		return r
	}
	r.Kind, r.Name, r.Version, r.Size = Kind(kind[0]), f.name(), f.number(anyNumber), f.number(anyNumber)
	return r
}

// upload is a content on its way.
type upload struct {
	owner   bft.ClientID
	mode    Mode
	name    string
	size    uint64
	expires uint64 // agreed time in nanoseconds
}

func (u *upload) encode() []byte {
	b := appendField(append(slices.Clone(u.owner[:]), byte(u.mode)), []byte(u.name))
	return appendNumber(appendNumber(b, u.size), u.expires)
}

func (f *fields) upload() upload {
	return upload{f.client(), f.mode(), f.name(), f.number(anyNumber), f.number(anyNumber)}
}

// Usage is what counts against the limits, of one client or of all: uploads count like the files that they may become.
type Usage struct {
	// Files and Bytes are those of present versions and of uploads.
	Files, Bytes uint64
	Uploads      uint64
}

func (u *Usage) encode(b []byte) []byte {
	return appendNumber(appendNumber(appendNumber(b, u.Files), u.Bytes), u.Uploads)
}

func (f *fields) usage() Usage {
	return Usage{f.number(anyNumber), f.number(anyNumber), f.number(anyNumber)}
}

// totals are what the service counts.
type totals struct {
	Usage
	old         uint64 // bytes of versions that are not present ones
	lastUpload  uint64
	lastRequest uint64
	requests    uint64 // that are kept
}

func (t *totals) encode() []byte {
	b := appendNumber(appendNumber(t.Usage.encode(nil), t.old), t.lastUpload)
	return appendNumber(appendNumber(b, t.lastRequest), t.requests)
}

func (f *fields) totals() totals {
	return totals{f.usage(), f.number(anyNumber), f.number(anyNumber), f.number(anyNumber), f.number(anyNumber)}
}
