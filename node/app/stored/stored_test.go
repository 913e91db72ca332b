package stored_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/node/app/stored"
)

const most = 16 // of a key, and of a value, in bytes

func write(t *testing.T, s app.Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d bytes, says %d, %v", b.Len(), n, err)
	}
	return b.Bytes()
}

func TestSnapshotIsOfItsMoment(t *testing.T) {
	s := memstore.New()
	for _, kv := range [][2]string{{"", "empty"}, {"a", ""}, {"b", "2"}} {
		s.Set([]byte(kv[0]), []byte(kv[1]))
	}
	snap := stored.Snapshot(s)
	s.Set([]byte("a"), []byte("later"))
	b := write(t, snap)
	if again := write(t, snap); !bytes.Equal(b, again) || snap.Close() != nil {
		t.Errorf("written twice: %q and %q", b, again)
	}
	other := memstore.New()
	other.Set([]byte("c"), []byte("what was there before"))
	if err := stored.Restore(other, bytes.NewReader(b), most, most); err != nil {
		t.Fatal(err)
	}
	a, ok := other.Get([]byte("a"))
	if got, _ := other.Get(nil); string(got) != "empty" || !ok || len(a) != 0 || other.Len() != 3 {
		t.Errorf("restored %d keys, of the empty one %q, of a %q", other.Len(), got, a)
	}
}

func TestWhatIsNoSnapshotIsRefused(t *testing.T) {
	s := memstore.New()
	s.Set([]byte("key"), bytes.Repeat([]byte("v"), most))
	good := write(t, stored.Snapshot(s))
	bad := map[string][]byte{
		"bytes after the end": append(bytes.Clone(good), 0),
		"out of order":        append(bytes.Clone(good[:len(good)-8]), good...),
		"huge lengths":        {0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff},
		"huge value":          {0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 'a'},
	}
	for cut := range good {
		bad["cut "+string(rune('a'+cut))] = good[:cut]
	}
	for name, b := range bad {
		if err := stored.Restore(memstore.New(), bytes.NewReader(b), most, most); !errors.Is(err, stored.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stored.Restore(memstore.New(), bytes.NewReader(good), 3, most-1); !errors.Is(err, stored.ErrBadSnapshot) {
		t.Errorf("a value that is too long: %v", err)
	}
	if err := stored.Restore(memstore.New(), bytes.NewReader(good), math.MaxInt, math.MaxInt); err != nil {
		t.Errorf("without bounds: %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	s := memstore.New()
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	s.Set([]byte("key"), []byte("value"))
	s.Set([]byte("key2"), nil)
	var b bytes.Buffer
	if _, err := stored.Snapshot(s).WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := memstore.New()
		if stored.Restore(s, bytes.NewReader(b), most, most) != nil {
			return
		}
		if again := write(t, stored.Snapshot(s)); !bytes.Equal(again, b) {
			t.Errorf("restored %q, but wrote %q", b, again)
		}
	})
}
