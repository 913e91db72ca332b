package memstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

func list(r exec.Reader, start, end []byte) string {
	var b strings.Builder
	for k, v := range r.Scan(start, end) {
		fmt.Fprintf(&b, "%q=%q ", k, v)
	}
	return b.String()
}

func listMap(m map[string]string, start, end []byte) string {
	var keys []string
	for k := range m {
		if k >= string(start) && (end == nil || k < string(end)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%q=%q ", k, m[k])
	}
	return b.String()
}

func TestStoreBehavesLikeASortedMapAndSnapshotsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := memstore.New(), map[string]string{}
		key := rapid.SliceOfN(rapid.ByteRange(0, 6), 0, 3)
		type taken struct {
			snap exec.StoreSnapshot
			want string
		}
		var snaps []taken
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), key.Draw(t, "value")
				model[string(k)] = string(v)
				s.Set(k, v)
				clear(k) // the store has its own copy
				clear(v)
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				delete(model, string(k))
				s.Delete(k)
			},
			"delete range": func(t *rapid.T) {
				start, end := key.Draw(t, "start"), rapid.OneOf(key, rapid.Just[[]byte](nil)).Draw(t, "end")
				s.DeleteRange(start, end)
				for k := range model {
					if k >= string(start) && (end == nil || k < string(end)) {
						delete(model, k)
					}
				}
			},
			"snapshot": func(t *rapid.T) { snaps = append(snaps, taken{s.Snapshot(), listMap(model, nil, nil)}) },
			"scan": func(t *rapid.T) {
				start, end := key.Draw(t, "start"), rapid.OneOf(key, rapid.Just[[]byte](nil)).Draw(t, "end")
				if got, want := list(s, start, end), listMap(model, start, end); got != want {
					t.Fatalf("scan %q to %q: %s, want %s", start, end, got, want)
				}
			},
			"": func(t *rapid.T) {
				for _, x := range snaps {
					if got := list(x.snap, nil, nil); got != x.want {
						t.Fatalf("a snapshot changed: %s, want %s", got, x.want)
					}
				}
				k := key.Draw(t, "read")
				got, ok := s.Get(k)
				if want, there := model[string(k)]; ok != there || string(got) != want || s.Len() != len(model) {
					t.Fatalf("get %q: %q, %v, want %q, %v", k, got, ok, want, there)
				}
			},
		})
	})
}

func TestStoreMayBeWrittenDuringAScan(t *testing.T) {
	s := memstore.New()
	for i := range 200 {
		s.Set([]byte{byte(i)}, nil)
	}
	n := 0
	for k := range s.Scan(nil, nil) {
		s.Delete(k)
		s.Set([]byte{byte(n), 1}, nil)
		n++
	}
	if n != 200 || s.Len() != 200 {
		t.Errorf("scanned %d, %d are left; want 200 as when it began, and 200 new ones", n, s.Len())
	}
}
