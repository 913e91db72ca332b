package files

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/stored"
)

// Snapshot returns a handle on the present state, which is all in the store, the limits too.
func (m *machine) Snapshot() (app.Snapshot, error) { return stored.Snapshot(m.store), nil }

const (
	maxKey = 1 + MaxName + 1 + 8
	// maxRecord bounds a value: a chunk, or a version with maxParts digests.
	maxRecord = 4 << 20
)

// Restore replaces the state by that of a snapshot.
func (m *machine) Restore(r io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &checked{Store: m.store}
	if err := stored.Restore(c, r, maxKey, maxRecord); err != nil {
		return err
	}
	limits, _ := m.store.Get([]byte{keyLimits})
	switch {
	case c.malformed:
		return errors.New("files: the snapshot has a malformed record")
	case !bytes.Equal(limits, m.limits.encode()):
		return errors.New("files: the snapshot has other limits than this replica")
	}
	return nil
}

// checked notes whether a record was written that this service would not write.
type checked struct {
	app.Store
	malformed bool
}

// Set implements app.Store.
func (c *checked) Set(key, value []byte) {
	c.malformed = c.malformed || !wellFormed(key, value)
	c.Store.Set(key, value)
}

func (l *Limits) encode() (b []byte) {
	for _, n := range l.all() {
		b = appendNumber(b, n)
	}
	return b
}

func (f *fields) limits() (l Limits) {
	for _, n := range []*uint64{&l.Chunk, &l.File, &l.ClientFiles, &l.ClientBytes, &l.Files, &l.Bytes, &l.ClientUploads, &l.Uploads} {
		*n = f.number(anyNumber)
	}
	l.UploadTime = time.Duration(f.number(anyNumber))
	l.Versions, l.OldBytes, l.Requests = f.number(anyNumber), f.number(anyNumber), f.number(anyNumber)
	return l
}

// wellFormed tells whether this service could have written a record, so that reading it later cannot fail.
func wellFormed(key, value []byte) bool {
	if len(key) == 0 {
		return false
	}
	k, v := &fields{rest: key[1:]}, &fields{rest: value}
	switch key[0] {
	case keyLimits:
		v.limits()
	case keyTotals:
		v.totals()
	case keyRefs:
		k.digest()
		v.refs()
	case keyData:
		k.digest() // the client compares it with the content
		v.bad, v.rest = len(value) > ChunkSize, nil
	case keyFile:
		v.bad = v.info().Name != string(key[1:]) || v.bad
		k.rest = nil
	case keyRequest:
		k.take(8)
		v.request()
	case keyOld:
		k.take(8)
		v.old()
	case keyPart:
		k.take(12)
		v.digest()
	case keyUsage:
		k.client()
		v.usage()
	case keyExpiry:
		k.take(16)
	case keyUpload:
		k.take(8)
		v.upload()
	case keyVersion:
		x := v.version()
		v.bad = v.bad || !bytes.Equal(key, versionKey(x.Name, x.Version))
		k.rest = nil
	default:
		return false
	}
	return k.end() && v.end()
}
