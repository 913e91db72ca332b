package exec

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/baluarte-bft/baluarte/bft"
)

// busy returns a machine that has some of everything.
func busy(t tb) *rig {
	r := newRig(t, func(l *Limits) { l.SessionsPerClient, l.MaxClosed = 3, 2 })
	a := r.do(openWith(alice, 1, "x", "quiet")).Session
	r.do(in(alice, a, 3, "y", "z"))
	r.do(in(alice, a, 9, "far", "invalid"))
	b := in(bob, r.open(bob, 1), 1, "b")
	b.Close = true
	r.do(b)
	c := openWith(alice, 3, "one-shot")
	c.Close = true
	r.do(c)
	r.open(alice, 4)
	r.open(alice, 5)
	r.want(r.do(openWith(alice, 6, "n")), "refused")
	return r
}

func (r *rig) restore(b []byte) (*rig, error) {
	o := newRig(r.tb, func(l *Limits) { *l = r.table.limits })
	o.time = 0
	return o, o.Restore(bytes.NewReader(b))
}

func TestRule18SnapshotCoversAllAndIsDeterministic(t *testing.T) {
	r := busy(t)
	want := r.bytes()
	o, err := r.restore(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(o.bytes(), want) || o.Executed() != r.Executed() || o.Time() != r.Time() || o.HistoryRoot() != r.HistoryRoot() {
		t.Error("what was restored is not what was saved")
	}
	a, b := r.Marks(), o.Marks()
	if len(a) != len(b) {
		t.Fatalf("%d marks, want %d", len(b), len(a))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("mark %+v, want %+v", b[i], a[i])
		}
	}
	// The order in which services are listed does not matter; each small state matters.
	for what, change := range map[string]func(*rig){
		"time":     func(r *rig) { r.time++ },
		"counter":  func(r *rig) { r.table.last++ },
		"history":  func(r *rig) { r.history.Append(bft.Digest{}) },
		"executed": func(r *rig) { r.executed++ },
		"use":      func(r *rig) { r.table.use(r.table.live.head, r.time) },
		"service":  func(r *rig) { r.tape.ops++ },
	} {
		x := r.again()
		change(x)
		if bytes.Equal(x.bytes(), want) {
			t.Errorf("a change of %s does not show", what)
		}
	}
}

func TestRule18SnapshotStaysWhileExecutionGoesOn(t *testing.T) {
	r := busy(t)
	want := r.bytes()
	s, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan []byte)
	go func() {
		var b bytes.Buffer
		s.WriteTo(iotestWriter{&b})
		done <- b.Bytes()
	}()
	for i := range 200 {
		b := in(alice, 1, uint64(11+i), "later")
		b.AnsweredBelow = uint64(i)
		r.at(r.Time()+60*bft.Second, b)
	}
	if got := <-done; !bytes.Equal(got, want) {
		t.Error("it changed")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.WriteTo(io.Discard); err == nil {
		t.Error("a closed snapshot can be written")
	}
}

// iotestWriter takes a byte at a time, so that writing takes a while.
type iotestWriter struct{ b *bytes.Buffer }

func (w iotestWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		w.b.WriteByte(c)
	}
	return len(p), nil
}

func TestRestoreRefusesWhatIsNoSnapshot(t *testing.T) {
	for _, r := range []*rig{busy(t), claimed(t)} {
		r.refuses(t)
	}
}

func (r *rig) refuses(t *testing.T) {
	good := r.bytes()
	if _, err := r.restore(append(bytes.Clone(good), 0)); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("a byte too many: %v", err)
	}
	for cut := range good {
		if _, err := r.restore(good[:cut]); !errors.Is(err, ErrBadSnapshot) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut off after %d of %d bytes: %v", cut, len(good), err)
		}
	}
	m, _ := New(Config{Cluster: r.cluster, Services: []Service{{"other", &tape{}}}, Limits: r.table.limits})
	if err := m.Restore(bytes.NewReader(good)); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("for another service: %v", err)
	}
	m, _ = New(Config{Cluster: bft.Digest{9}, Services: []Service{{"tape", &tape{}}}, Limits: r.table.limits})
	if err := m.Restore(bytes.NewReader(good)); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("for another cluster: %v", err)
	}
	m, _ = New(Config{Cluster: r.cluster, Services: []Service{{"tape", &tape{}}}, Limits: DefaultLimits()})
	if err := m.Restore(bytes.NewReader(good)); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("for other limits: %v", err)
	}
}

// TestRestoreTakesOnlyWhatItWouldWrite damages a snapshot in many ways: what is taken all the same
// is another state that could have been written.
func TestRestoreTakesOnlyWhatItWouldWrite(t *testing.T) {
	for _, r := range []*rig{busy(t), claimed(t)} {
		r.damage(t)
	}
}

func (r *rig) damage(t *testing.T) {
	good := r.bytes()
	random := rand.New(rand.NewPCG(1, 1))
	taken := 0
	for range 20_000 {
		b := bytes.Clone(good)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] = byte(random.Uint32() >> random.IntN(32))
		}
		o, err := r.restore(b)
		if err != nil {
			continue
		}
		taken++
		o.check()
		if !bytes.Equal(o.bytes(), b) {
			t.Fatalf("it took what it would write differently")
		}
	}
	if taken == 0 {
		t.Error("not one was another state: the test tests nothing")
	}
}

func TestAFailedRestoreOfAServiceIsNotExecutedUpon(t *testing.T) {
	r := busy(t)
	good := r.bytes()
	before := r.Executed()
	if err := r.Restore(bytes.NewReader(good[:30])); err == nil || r.Executed() != before {
		t.Fatalf("%v", err)
	}
	if r.Broken() != nil {
		t.Fatalf("nothing was touched, yet it is broken: %v", r.Broken())
	}
	r.at(0)
	short := bytes.NewReader(good[:len(good)-3])
	if err := r.Restore(short); err == nil {
		t.Fatal("a truncated snapshot was taken")
	}
	if r.Broken() == nil {
		t.Error("half a restore does not show")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it executed upon half a restore")
			}
		}()
		r.at(0)
	}()
	if _, err := r.Snapshot(); err == nil {
		t.Error("it took a snapshot of half a restore")
	}
	if err := r.Restore(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	r.at(0)
	broken := iotest.ErrReader(errors.New("disk"))
	if err := r.Restore(io.MultiReader(bytes.NewReader(good[:20]), broken)); err == nil || errors.Is(err, ErrBadSnapshot) {
		t.Errorf("an error of the reader: %v", err)
	}
}

func TestLongStatesStandInChunks(t *testing.T) {
	r := newRig(t)
	for _, size := range []int{chunkBytes - 5, chunkBytes - 4, chunkBytes - 3, 3*chunkBytes + 7} {
		r.tape.bytes = bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		o, err := r.restore(r.bytes())
		if err != nil || !bytes.Equal(o.tape.bytes, r.tape.bytes) {
			t.Errorf("%d bytes: %d, %v", size, len(o.tape.bytes), err)
		}
	}
}

func FuzzRestore(f *testing.F) {
	r := busy(f)
	f.Add(r.bytes())
	f.Add(newRig(f).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		o := newRig(t, func(l *Limits) { *l = r.table.limits })
		if o.Restore(bytes.NewReader(b)) != nil {
			return
		}
		o.check()
		if !bytes.Equal(o.bytes(), b) {
			t.Error("it took what it would write differently")
		}
		o.do(in(alice, 1, 3, "x"))
	})
}

func TestPartsOfAStateCanBeChecked(t *testing.T) {
	for _, size := range []int{0, 1, bft.PartSize, bft.PartSize + 1, 4*bft.PartSize + 5} {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(size)}).Read(data)
		var parts [][]byte
		w := NewPartWriter(func(i uint32, part []byte) error {
			parts = append(parts, bytes.Clone(part))
			return nil
		})
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 100_001)
			w.Write(rest[:n])
			rest = rest[n:]
		}
		digests, err := w.Finish()
		if err != nil || !bytes.Equal(bytes.Join(parts, nil), data) || len(parts) != max(1, (size+bft.PartSize-1)/bft.PartSize) {
			t.Fatalf("%d bytes: %d parts, %v", size, len(parts), err)
		}
		state, total := bft.StateDigest(digests), uint32(len(parts))
		for i := range parts {
			p := bft.SnapshotPart{Index: uint32(i), Total: total, Data: parts[i], Path: bft.ProvePart(digests, i)}
			if !bft.CheckPart(state, p) {
				t.Fatalf("%d bytes: part %d is refused", size, i)
			}
			for what, lie := range map[string]func(*bft.SnapshotPart){
				"total up":   func(p *bft.SnapshotPart) { p.Total++ },
				"total down": func(p *bft.SnapshotPart) { p.Total-- },
				"index":      func(p *bft.SnapshotPart) { p.Index++ },
				"data":       func(p *bft.SnapshotPart) { p.Data = append(bytes.Clone(p.Data), 0) },
				"no path":    func(p *bft.SnapshotPart) { p.Path = nil },
				"path":       func(p *bft.SnapshotPart) { p.Path = p.Path[:len(p.Path)-1] },
				"root":       func(p *bft.SnapshotPart) { p.Path[len(p.Path)-1][0]++ },
				"longer":     func(p *bft.SnapshotPart) { p.Path = append([]bft.Digest{{}}, p.Path...) },
			} {
				bad := p
				bad.Path = append([]bft.Digest(nil), p.Path...)
				if lie(&bad); bft.CheckPart(state, bad) {
					t.Errorf("%d bytes: part %d passes with a lie about its %s", size, i, what)
				}
			}
		}
	}
	w := NewPartWriter(func(uint32, []byte) error { return io.ErrShortWrite })
	w.Write(make([]byte, 2*bft.PartSize))
	if _, err := w.Finish(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("an error of emit: %v", err)
	}
	if bft.ProvePart(nil, 0) != nil {
		t.Error("a path to no part")
	}
}
