package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/store"
	"github.com/baluarte-bft/baluarte/node/transport"
)

func TestDelayHasBounds(t *testing.T) {
	var d Delay
	for _, c := range []struct{ set, want time.Duration }{{-1, 0}, {time.Second, time.Second}, {2 * MaxDelay, MaxDelay}} {
		if d.Set(c.set); d.Get() != c.want {
			t.Errorf("after %v it is %v, want %v", c.set, d.Get(), c.want)
		}
	}
}

// Syncs of every way to open a file are delayed, nothing is lost, and the rest is that of the file system below.
func TestSlowFSDelaysSyncs(t *testing.T) {
	var d Delay
	s := &SlowFS{FS: vfs.NewMem(), Delay: &d}
	if s.Unwrap() != s.FS {
		t.Error("Unwrap is not the file system below")
	}
	d.Set(time.Millisecond)
	began := time.Now()
	for name, open := range map[string]func() (vfs.File, error){
		"create":    func() (vfs.File, error) { return s.Create("a", vfs.WriteCategoryUnspecified) },
		"open":      func() (vfs.File, error) { return s.Open("a") },
		"readwrite": func() (vfs.File, error) { return s.OpenReadWrite("b", vfs.WriteCategoryUnspecified) },
		"reuse":     func() (vfs.File, error) { return s.ReuseForWrite("c", "d", vfs.WriteCategoryUnspecified) },
		"dir":       func() (vfs.File, error) { return s.OpenDir("") },
	} {
		for _, f := range []string{"a", "c"} {
			if x, err := s.FS.Create(f, vfs.WriteCategoryUnspecified); err != nil {
				t.Fatal(err)
			} else if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
		before := s.Syncs()
		f, err := open()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := errors.Join(f.Sync(), f.SyncData(), f.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.Syncs() != before+2 {
			t.Errorf("%s: %d syncs, want 2", name, s.Syncs()-before)
		}
	}
	if least := 10 * time.Millisecond; time.Since(began) < least {
		t.Errorf("10 syncs took %v, want at least %v", time.Since(began), least)
	}
	if _, err := s.Open("missing"); err == nil {
		t.Error("a file that is missing opens")
	}
}

// A whole store works on it, and is read back from the file system below.
func TestStoreOnSlowFS(t *testing.T) {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var d Delay
	d.Set(2 * time.Millisecond)
	s := &SlowFS{FS: vfs.NewMem(), Delay: &d}
	id := store.Identity{Cluster: crypto.Hash("test"), Member: key.Public()}
	if err := store.Init(s, "data", id); err != nil {
		t.Fatal(err)
	}
	if s.Syncs() == 0 {
		t.Error("a store was begun without a sync")
	}
	if err := store.Init(s.FS, "data", id); !errors.Is(err, store.ErrInitialised) {
		t.Errorf("the file system below says %v, want that the store is there", err)
	}
}

// inbox is a member's end of the network, which notes what comes.
type inbox struct {
	silent
	mu  sync.Mutex
	got []string
	any chan struct{}
}

func newInbox() *inbox { return &inbox{any: make(chan struct{}, 1)} }

func (b *inbox) FromPeer(peer int, frame []byte) {
	b.mu.Lock()
	b.got = append(b.got, fmt.Sprintf("%d:%s:%s", peer, bft.MessageType(frame[0]), frame[1:]))
	b.mu.Unlock()
	select {
	case b.any <- struct{}{}:
	default:
	}
}

// await waits until n frames have come, and returns them.
func (b *inbox) await(t *testing.T, n int) []string {
	t.Helper()
	for {
		b.mu.Lock()
		if len(b.got) >= n {
			defer b.mu.Unlock()
			return append([]string(nil), b.got...)
		}
		b.mu.Unlock()
		select {
		case <-b.any:
		case <-t.Context().Done():
			t.Fatal("the test ended before all frames came")
		}
	}
}

// rig is a small network: member 0 talks through a relay, the others are endpoints.
type rig struct {
	delay  Delay
	relay  *Relay
	sender *transport.Server
	boxes  []*inbox
}

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	r := &rig{}
	cluster := crypto.Hash("test")
	keys := make([]*crypto.PrivateKey, n)
	members := make([]transport.Member, n)
	for i := range keys {
		var err error
		if keys[i], err = crypto.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
		members[i] = transport.Member{Key: keys[i].Public(), Addrs: []string{"127.0.0.1:1"}}
	}
	addrs := make([][]string, n)
	listen := func(self int, members []transport.Member, h transport.Handler) *transport.Server {
		s, err := transport.Listen(transport.ServerConfig{Key: keys[self], Self: self, Cluster: cluster, Members: members,
			Listen: []string{loopback}, Handler: h})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	r.boxes = make([]*inbox, n)
	for i := 1; i < n; i++ {
		r.boxes[i] = newInbox()
		addrs[i] = listen(i, members, r.boxes[i]).Addrs()
	}
	addrs[0] = []string{"127.0.0.1:1"}
	var err error
	if r.relay, err = NewRelay(RelayConfig{Cluster: cluster, Self: 0, Keys: keys, Addrs: addrs, Delay: &r.delay}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.relay.Close(); err != nil {
			t.Error(err)
		}
	})
	through := append([]transport.Member(nil), members...)
	for i, a := range r.relay.Addrs() {
		if i != 0 {
			through[i].Addrs = a
		}
	}
	r.sender = listen(0, through, silent{})
	r.meet(t)
	return r
}

// meet sends until both ways to every member are up, and forgets what came.
func (r *rig) meet(t *testing.T) {
	t.Helper()
	for i := 1; i < len(r.boxes); i++ {
		for met := false; !met; {
			r.sender.Send(i, []byte{byte(bft.TypeStatus), '?'})
			select {
			case <-r.boxes[i].any:
				met = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		// One more, and all that was sent before it has come.
		r.sender.Send(i, []byte{byte(bft.TypeStatus), '!'})
		for n := 1; ; n++ {
			if got := r.boxes[i].await(t, n); strings.HasSuffix(got[len(got)-1], "!") {
				break
			}
		}
		r.boxes[i].mu.Lock()
		r.boxes[i].got = nil
		r.boxes[i].mu.Unlock()
	}
}

// Pre-prepares come late and in order; all else passes at once and in order; every member gets what is for it,
// from the replica that sent it.
func TestRelayHoldsPrePreparesBack(t *testing.T) {
	r := newRig(t, 4)
	r.delay.Set(300 * time.Millisecond)
	sent := time.Now()
	frame := func(kind bft.MessageType, text string) []byte { return append([]byte{byte(kind)}, text...) }
	for k := range 3 {
		r.sender.Broadcast(frame(bft.TypePrePrepare, fmt.Sprint("p", k)))
		r.sender.Broadcast(frame(bft.TypeVotes, fmt.Sprint("v", k)))
	}
	r.sender.Send(2, frame(bft.TypeCheckpoint, "for 2 alone"))
	for i := 1; i < 4; i++ {
		want := []string{"0:votes:v0", "0:votes:v1", "0:votes:v2"}
		if i == 2 {
			want = append(want, "0:checkpoint:for 2 alone")
		}
		want = append(want, "0:pre-prepare:p0", "0:pre-prepare:p1", "0:pre-prepare:p2")
		got := r.boxes[i].await(t, len(want))
		if time.Since(sent) < 300*time.Millisecond {
			t.Errorf("member %d had everything %v after it was sent, too early", i, time.Since(sent))
		}
		// On a machine that stalls for as long as the delay the two kinds may mix, but neither in itself.
		for _, kind := range []string{"votes", "pre-prepare", "checkpoint"} {
			if a, b := only(got, kind), only(want, kind); a != b {
				t.Errorf("member %d got of kind %s %q, want %q", i, kind, a, b)
			}
		}
	}
	if held, passed := r.relay.Frames(); held != 9 || passed < 10 {
		t.Errorf("%d frames held and %d passed, want 9 and at least 10", held, passed)
	}
}

func only(lines []string, kind string) string {
	var b strings.Builder
	for _, l := range lines {
		if strings.Contains(l, ":"+kind+":") {
			b.WriteString(l + " ")
		}
	}
	return b.String()
}

// The largest frame passes, whole.
func TestRelayPassesLargeFrames(t *testing.T) {
	r := newRig(t, 4)
	big := bytes.Repeat([]byte{byte(bft.TypePrePrepare)}, 3<<20)
	if !r.sender.Send(3, big) {
		t.Fatal("the frame was refused")
	}
	if got := r.boxes[3].await(t, 1); !strings.HasSuffix(got[0], string(big[1:])) {
		t.Error("a large frame arrived changed")
	}
}

func TestRelayRefusesNonsense(t *testing.T) {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := []*crypto.PrivateKey{key}
	for name, c := range map[string]RelayConfig{
		"self":      {Self: 1, Keys: keys, Addrs: make([][]string, 1), Delay: &Delay{}},
		"addresses": {Keys: keys, Delay: &Delay{}},
		"delay":     {Keys: keys, Addrs: make([][]string, 1)},
	} {
		if r, err := NewRelay(c); err == nil {
			r.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// The delays of a replica follow the lines of its control.
func TestControl(t *testing.T) {
	o := Options{SyncDelay: 3 * time.Millisecond, PrePrepareDelay: 5 * time.Millisecond}
	d := &delays{o: &o}
	in, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- d.obey(in) }()
	for _, c := range []struct {
		line             string
		sync, prePrepare time.Duration
	}{{On, o.SyncDelay, o.PrePrepareDelay}, {Off, 0, 0}, {On + " 7ms", 7 * time.Millisecond, 7 * time.Millisecond}, {On, o.SyncDelay, o.PrePrepareDelay}} {
		// The second line is read once the first was obeyed.
		fmt.Fprintln(out, c.line)
		fmt.Fprintln(out, c.line)
		if d.sync.Get() != c.sync || d.prePrepare.Get() != c.prePrepare {
			t.Errorf("after %q the delays are %v and %v", c.line, d.sync.Get(), d.prePrepare.Get())
		}
	}
	fmt.Fprintln(out, "faster")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), `"faster"`) {
		t.Errorf("a line that there is not gives %v", err)
	}
}

func TestBadControl(t *testing.T) {
	for _, line := range []string{"On", "on now", "on -1s", "on 2h", "off 1s", ""} {
		d := &delays{o: &Options{SyncDelay: time.Millisecond}}
		if err := d.obey(strings.NewReader(line + "\n")); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want one line", line, err)
		}
	}
	// What is not delayed stays so.
	d := &delays{o: &Options{SyncDelay: time.Millisecond}}
	if err := d.obey(strings.NewReader("on 2ms\n")); err != nil || d.sync.Get() != 2*time.Millisecond || d.prePrepare.Get() != 0 {
		t.Errorf("%v, delays %v and %v, want 2 ms for syncs alone", err, d.sync.Get(), d.prePrepare.Get())
	}
}

func TestOptionsHaveBounds(t *testing.T) {
	for _, o := range []Options{{SyncDelay: -1}, {PrePrepareDelay: MaxDelay + 1}} {
		if err := Run(context.Background(), t.TempDir(), o); err == nil || !strings.Contains(err.Error(), "choose 0 to 1m0s") {
			t.Errorf("%+v: %v, want what to choose", o, err)
		}
	}
}
