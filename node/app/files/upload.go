package files

import (
	"encoding/binary"

	"github.com/baluarte-bft/baluarte/bft"
)

func partKey(upload, part uint64) []byte {
	return at(keyPart, bigEndian(upload), binary.BigEndian.AppendUint32(nil, uint32(part)))
}

func expiryKey(id uint64, u *upload) []byte {
	return at(keyExpiry, bigEndian(u.expires), bigEndian(id))
}

// parts is how many chunks a content has.
func (l *Limits) parts(size uint64) uint64 { return (size + l.Chunk - 1) / l.Chunk }

// beginUpload reserves room for a content.
func (t *turn) beginUpload(o *operation) []byte {
	if err := t.fits(o.mode, o.name); err != nil {
		return failed(err)
	}
	if err := t.room(o.size, 1); err != nil {
		return failed(err)
	}
	t.totals.lastUpload++
	id := t.totals.lastUpload
	t.charge(t.client, 1, o.size, 1)
	t.setUpload(id, &upload{owner: t.client, mode: o.mode, name: o.name, size: o.size})
	t.save()
	return appendNumber(appendNumber(appendNumber(ok(), id), t.limits.Chunk), t.limits.parts(o.size))
}

// setUpload writes an upload, which lives on from now.
func (t *turn) setUpload(id uint64, u *upload) {
	if u.expires > 0 {
		t.store.Delete(expiryKey(id, u))
	}
	u.expires = t.now + uint64(t.limits.UploadTime)
	t.store.Set(expiryKey(id, u), nil)
	t.store.Set(at(keyUpload, bigEndian(id)), u.encode())
}

// own returns an upload of this client's. To others it is not there.
func (t *turn) own(id uint64) (upload, error) {
	u, there := load(t.machine, at(keyUpload, bigEndian(id)), (*fields).upload)
	if !there || u.owner != t.client {
		return upload{}, refuse(ErrNotFound, "upload %d not found: it has ended or expired, begin again", id)
	}
	return u, nil
}

// stage adds a part to an upload.
func (t *turn) stage(o *operation) []byte {
	u, err := t.own(o.upload)
	if err != nil {
		return failed(err)
	}
	if parts := t.limits.parts(u.size); o.part >= parts {
		return failed(refuse(ErrBadPart, "part %d of upload %d: it has %d parts, from 0", o.part, o.upload, parts))
	}
	if want := min(t.limits.Chunk, u.size-o.part*t.limits.Chunk); uint64(len(o.content)) != want {
		return failed(refuse(ErrBadPart, "part %d of upload %d has %d bytes, it must have %d", o.part, o.upload, len(o.content), want))
	}
	key := partKey(o.upload, o.part)
	if _, there := t.store.Get(key); there {
		return failed(refuse(ErrBadPart, "part %d of upload %d is there already", o.part, o.upload))
	}
	d := t.keep(o.content)
	t.store.Set(key, d[:])
	t.setUpload(o.upload, &u)
	return ok()
}

// commit makes the content of an upload a version.
func (t *turn) commit(o *operation) []byte {
	u, err := t.own(o.upload)
	if err != nil {
		return failed(err)
	}
	chunks := t.staged(o.upload)
	if parts := t.limits.parts(u.size); uint64(len(chunks)) < parts {
		return failed(refuse(ErrBadPart, "upload %d has %d of %d parts", o.upload, len(chunks), parts))
	}
	if Digest(u.size, chunks) != o.digest {
		return failed(refuse(ErrBadPart, "the parts of upload %d have another digest than the commit", o.upload))
	}
	if err := t.fits(u.mode, u.name); err != nil {
		return failed(err)
	}
	// The chunks, and the charge for a file, go over to the version.
	t.charge(t.client, -1, u.size, 1)
	t.charge(t.client, 1, u.size, 0)
	t.end(o.upload, &u)
	return t.publish(u.mode, u.name, u.size, chunks)
}

// staged lists the parts that are there, in order.
func (m *machine) staged(id uint64) (chunks []bft.Digest) {
	for _, d := range m.store.Scan(partKey(id, 0), partKey(id+1, 0)) {
		chunks = append(chunks, bft.Digest(d))
	}
	return chunks
}

// end removes the records of an upload.
func (t *turn) end(id uint64, u *upload) {
	t.store.Delete(expiryKey(id, u))
	t.store.Delete(at(keyUpload, bigEndian(id)))
	t.store.DeleteRange(partKey(id, 0), partKey(id+1, 0))
}

func (t *turn) abort(o *operation) []byte {
	u, err := t.own(o.upload)
	if err != nil {
		return failed(err)
	}
	t.dropUpload(o.upload, &u)
	return ok()
}

// dropUpload forgets an upload, its parts and its charge.
func (t *turn) dropUpload(id uint64, u *upload) {
	for _, d := range t.staged(id) {
		t.release(d)
	}
	t.charge(u.owner, -1, u.size, 1)
	t.end(id, u)
	t.save()
}

// expire drops the uploads whose time has passed. They are few, by Limits.Uploads.
func (t *turn) expire() {
	var due []uint64
	for key := range t.store.Scan([]byte{keyExpiry}, at(keyExpiry, bigEndian(t.now))) {
		due = append(due, binary.BigEndian.Uint64(key[len(key)-8:]))
	}
	for _, id := range due {
		if u, there := load(t.machine, at(keyUpload, bigEndian(id)), (*fields).upload); there {
			t.dropUpload(id, &u)
		}
	}
}
