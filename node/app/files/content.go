package files

import (
	"encoding/binary"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// load reads a record, which is one that this service wrote: Restore refuses all others.
func load[T any](m *machine, key []byte, read func(*fields) T) (value T, ok bool) {
	b, ok := m.store.Get(key)
	if !ok {
		return value, false
	}
	f := &fields{rest: b}
	if value = read(f); !f.end() {
		panic("files: a damaged record: start the replica again")
	}
	return value, true
}

func (m *machine) totals() totals {
	t, _ := load(m, []byte{keyTotals}, (*fields).totals)
	return t
}

func (m *machine) usage(client bft.ClientID) Usage {
	u, _ := load(m, at(keyUsage, client[:]), (*fields).usage)
	return u
}

func (m *machine) present(name string) (Info, bool) {
	return load(m, at(keyFile, []byte(name)), (*fields).info)
}

func (m *machine) versionOf(name string, number uint64) (version, bool) {
	return load(m, versionKey(name, number), (*fields).version)
}

// fits tells whether the mode allows a new content for the name now.
func (t *turn) fits(mode Mode, name string) error {
	_, there := t.present(name)
	switch {
	case mode == Create && there:
		return refuse(ErrExists, "file \"%s\" exists already", name)
	case mode == Update && !there:
		return refuse(ErrNotFound, "file \"%s\" not found", name)
	}
	return nil
}

// room tells whether another content of that size, and so many uploads, are within the limits.
func (t *turn) room(size, uploads uint64) error {
	l, own, all := &t.limits, t.usage(t.client), &t.totals.Usage
	for _, c := range []struct {
		what            string
		used, more, max uint64
	}{
		{"bytes in a file", 0, size, l.File},
		{"uploads of one client at a time", own.Uploads, uploads, l.ClientUploads},
		{"uploads at a time", all.Uploads, uploads, l.Uploads},
		{"files of one client", own.Files, 1, l.ClientFiles},
		{"files", all.Files, 1, l.Files},
		{"bytes in files of one client", own.Bytes, size, l.ClientBytes},
		{"bytes in files", all.Bytes, size, l.Bytes},
	} {
		// No sum, which might overflow: what is used is never above the limit.
		if c.more > c.max-c.used {
			return refuse(ErrQuota, "limit reached: at most %d %s, %d are used and %d more were asked for", c.max, c.what, c.used, c.more)
		}
	}
	return nil
}

// charge counts a content, or no longer if sign is -1.
func (t *turn) charge(client bft.ClientID, sign int64, size, uploads uint64) {
	u := t.usage(client)
	for _, u := range []*Usage{&u, &t.totals.Usage} {
		u.Files += uint64(sign)
		u.Bytes += uint64(sign) * size
		u.Uploads += uint64(sign) * uploads
	}
	if key := at(keyUsage, client[:]); u == (Usage{}) {
		t.store.Delete(key)
	} else {
		t.store.Set(key, u.encode(nil))
	}
}

// put makes a version of a content that is in the operation.
func (t *turn) put(o *operation) []byte {
	if err := t.fits(o.mode, o.name); err != nil {
		return failed(err)
	}
	if size := uint64(len(o.content)); size > t.limits.Chunk {
		return failed(refuse(ErrQuota, "limit reached: at most %d bytes in one part, this one has %d", t.limits.Chunk, size))
	}
	if err := t.room(uint64(len(o.content)), 0); err != nil {
		return failed(err)
	}
	var chunks []bft.Digest
	if len(o.content) > 0 {
		chunks = append(chunks, t.keep(o.content))
	}
	t.charge(t.client, 1, uint64(len(o.content)), 0)
	return t.publish(o.mode, o.name, uint64(len(o.content)), chunks)
}

// publish makes the content, which is charged, and whose chunks are kept, the present version.
func (t *turn) publish(mode Mode, name string, size uint64, chunks []bft.Digest) []byte {
	t.totals.lastRequest++
	r := Request{Number: t.totals.lastRequest, Time: time.Unix(0, int64(t.now)).UTC(), Client: t.client, Kind: Created, Name: name, Version: 1, Size: size}
	if mode == Update {
		old, _ := t.present(name)
		r.Kind, r.Version = Updated, old.Version+1
		t.replace(&old, r.Number)
	}
	v := version{Info{name, r.Version, size, Digest(size, chunks), r.Time, t.client, r.Number}, 0, chunks}
	t.store.Set(at(keyFile, []byte(name)), v.Info.encode(nil))
	t.store.Set(versionKey(name, v.Version), v.encode())
	t.forget(name)
	t.note(&r)
	return r.encode(ok())
}

// replace makes the present version an old one.
func (t *turn) replace(old *Info, request uint64) {
	v, _ := t.versionOf(old.Name, old.Version)
	v.replaced = request
	t.store.Set(versionKey(old.Name, old.Version), v.encode())
	t.store.Set(at(keyOld, bigEndian(request)), appendNumber(appendField(nil, []byte(old.Name)), old.Version))
	t.totals.old += old.Size
	t.charge(old.Client, -1, old.Size, 0)
}

// forget drops old versions until the limits hold: first those of this file, then the oldest of all.
func (t *turn) forget(name string) {
	kept := t.numbers(name)
	for ; uint64(len(kept)) > t.limits.Versions; kept = kept[1:] {
		t.drop(name, kept[0])
	}
	for t.totals.old > t.limits.OldBytes {
		oldest := t.oldest()
		t.drop(oldest.Name, oldest.Version)
	}
}

// numbers lists the kept versions of a file.
func (m *machine) numbers(name string) (list []uint64) {
	for key := range m.store.Scan(versionKey(name, 0), versionKey(name, 1<<63)) {
		list = append(list, binary.BigEndian.Uint64(key[len(key)-8:]))
	}
	return list
}

func (f *fields) old() Info { return Info{Name: f.name(), Version: f.number(anyNumber)} }

// oldest is the version that was replaced first of all.
func (t *turn) oldest() Info {
	for _, value := range t.store.Scan([]byte{keyOld}, []byte{keyOld + 1}) {
		f := &fields{rest: value}
		if i := f.old(); f.end() {
			return i
		}
		break
	}
	panic("files: old versions are counted that are not there: start the replica again")
}

// drop forgets a version, and the chunks that nothing else has.
func (t *turn) drop(name string, number uint64) {
	v, _ := t.versionOf(name, number)
	for i := range v.chunks {
		t.release(v.chunks[i])
	}
	t.store.Delete(versionKey(name, number))
	if v.replaced > 0 {
		t.store.Delete(at(keyOld, bigEndian(v.replaced)))
		t.totals.old -= v.Size
	}
}

// delete removes a file with all its versions.
func (t *turn) delete(name string) []byte {
	last, there := t.present(name)
	if !there {
		return failed(refuse(ErrNotFound, "file \"%s\" not found", name))
	}
	for _, number := range t.numbers(name) {
		t.drop(name, number)
	}
	t.store.Delete(at(keyFile, []byte(name)))
	t.charge(last.Client, -1, last.Size, 0)
	t.totals.lastRequest++
	r := Request{t.totals.lastRequest, time.Unix(0, int64(t.now)).UTC(), t.client, Deleted, name, last.Version, last.Size}
	t.note(&r)
	return r.encode(ok())
}

// note puts a request in the history, and saves the totals.
func (t *turn) note(r *Request) {
	t.store.Set(at(keyRequest, bigEndian(r.Number)), r.encode(nil))
	if t.totals.requests++; t.totals.requests > t.limits.Requests {
		t.store.Delete(at(keyRequest, bigEndian(r.Number-t.limits.Requests)))
		t.totals.requests--
	}
	t.save()
}

// keep stores a chunk, or counts once more that it is there.
func (t *turn) keep(data []byte) bft.Digest {
	d := ChunkDigest(data)
	refs, there := load(t.machine, at(keyRefs, d[:]), (*fields).refs)
	if !there {
		t.store.Set(at(keyData, d[:]), data)
	}
	t.store.Set(at(keyRefs, d[:]), appendNumber(nil, refs+1))
	return d
}

// release undoes one keep.
func (t *turn) release(d bft.Digest) {
	refs, _ := load(t.machine, at(keyRefs, d[:]), (*fields).refs)
	if refs > 1 {
		t.store.Set(at(keyRefs, d[:]), appendNumber(nil, refs-1))
		return
	}
	t.store.Delete(at(keyRefs, d[:]))
	t.store.Delete(at(keyData, d[:]))
}

func (f *fields) refs() uint64 { return f.number(anyNumber) }
