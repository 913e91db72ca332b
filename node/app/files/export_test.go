package files

import (
	"encoding/binary"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// Audit counts everything anew and returns what does not agree with what the service has counted.
func Audit(s app.StateMachine) error {
	m := s.(*machine)
	refs, users := map[bft.Digest]uint64{}, map[bft.ClientID]*Usage{}
	user := func(c bft.ClientID) *Usage {
		if users[c] == nil {
			users[c] = &Usage{}
		}
		return users[c]
	}
	var sum totals
	perFile := map[string]uint64{}
	for key, value := range m.store.Scan(nil, nil) {
		if !wellFormed(key, value) {
			return fmt.Errorf("record %q = %q is malformed", key, value)
		}
		f := &fields{rest: value}
		switch key[0] {
		case keyVersion:
			v := f.version()
			for _, d := range v.chunks {
				refs[d]++
			}
			if Digest(v.Size, v.chunks) != v.Digest {
				return fmt.Errorf("version %d of %q has another digest", v.Version, v.Name)
			}
			perFile[v.Name]++
			if v.replaced > 0 {
				sum.old += v.Size
			} else if i, there := m.present(v.Name); !there || i != v.Info {
				return fmt.Errorf("version %d of %q was not replaced and is not present", v.Version, v.Name)
			}
		case keyFile:
			i := f.info()
			u := user(i.Client)
			u.Files, u.Bytes = u.Files+1, u.Bytes+i.Size
			if _, there := m.versionOf(i.Name, i.Version); !there {
				return fmt.Errorf("file %q has no version %d", i.Name, i.Version)
			}
		case keyUpload:
			up := f.upload()
			u := user(up.owner)
			u.Files, u.Bytes, u.Uploads = u.Files+1, u.Bytes+up.size, u.Uploads+1
			if _, there := m.store.Get(expiryKey(binary.BigEndian.Uint64(key[1:]), &up)); !there {
				return fmt.Errorf("upload %q never expires", key)
			}
		case keyPart:
			refs[f.digest()]++
			if _, there := m.store.Get(at(keyUpload, key[1:9])); !there {
				return fmt.Errorf("part %q belongs to no upload", key)
			}
		case keyRequest:
			sum.requests++
		}
	}
	return m.compare(&sum, refs, users, perFile)
}

func (m *machine) compare(sum *totals, refs map[bft.Digest]uint64, users map[bft.ClientID]*Usage, perFile map[string]uint64) error {
	for c, u := range users {
		sum.Files, sum.Bytes, sum.Uploads = sum.Files+u.Files, sum.Bytes+u.Bytes, sum.Uploads+u.Uploads
		if got := m.usage(c); got != *u {
			return fmt.Errorf("client %.8v is charged with %+v, it has %+v", c, got, *u)
		}
		if u.Files > m.limits.ClientFiles || u.Bytes > m.limits.ClientBytes || u.Uploads > m.limits.ClientUploads {
			return fmt.Errorf("client %.8v has %+v: over the limits", c, *u)
		}
	}
	t := m.totals()
	if t.Usage != sum.Usage || t.old != sum.old || t.requests != sum.requests {
		return fmt.Errorf("totals are %+v, counted %+v", t, *sum)
	}
	if t.Files > m.limits.Files || t.Bytes > m.limits.Bytes || t.Uploads > m.limits.Uploads || t.old > m.limits.OldBytes || t.requests > m.limits.Requests {
		return fmt.Errorf("totals %+v are over the limits", t)
	}
	for name, n := range perFile {
		if n > m.limits.Versions {
			return fmt.Errorf("file %q has %d versions", name, n)
		}
	}
	for key, value := range m.store.Scan([]byte{keyRefs}, []byte{keyData + 1}) {
		d := bft.Digest(key[1:])
		switch {
		case refs[d] == 0:
			return fmt.Errorf("chunk %v belongs to nothing", d)
		case key[0] == keyRefs && (&fields{rest: value}).refs() != refs[d]:
			return fmt.Errorf("chunk %v is counted otherwise than %d times", d, refs[d])
		}
	}
	for d := range refs {
		if _, there := m.store.Get(at(keyData, d[:])); !there {
			return fmt.Errorf("chunk %v is not there", d)
		}
	}
	return nil
}
