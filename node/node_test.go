package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/store"
)

// Four replicas serve, lose one, go on, get it back, and it catches up without new load.
func TestServeAndCatchUp(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	c := r.client(1)
	for i := range 20 {
		c.put(fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i))
	}
	if got := c.get("k7"); got != "v7" {
		t.Fatalf("got %q", got)
	}
	r.untilActive(0, 1, 2, 3)
	r.stop(3)
	for i := range 20 {
		c.put(fmt.Sprintf("k%d", i), fmt.Sprintf("w%d", i))
	}
	if got := c.get("k7"); got != "w7" {
		t.Fatalf("got %q", got)
	}
	want := r.nodes[0].executed.Load()
	r.start(3)
	r.until("the restarted replica has caught up", func() bool { return r.nodes[3].executed.Load() >= want })
	r.untilActive(0, 1, 2, 3)
}

// The primary ends: the others change the view and go on.
func TestPrimaryStops(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	r.stop(0)
	c.put("a", "2")
	if got := c.get("a"); got != "2" {
		t.Fatalf("got %q", got)
	}
	if v := r.nodes[1].Status().View; v == 0 {
		t.Errorf("still in view %d", v)
	}
	r.start(0)
	r.untilActive(0, 1, 2, 3)
	c.put("a", "3")
	r.until("all have executed the same", func() bool {
		for _, n := range r.nodes {
			if n.executed.Load() != r.nodes[1].executed.Load() {
				return false
			}
		}
		return true
	})
}

// All end and start again, several times: every acknowledged put is there.
func TestAllRestart(t *testing.T) {
	r := newRig(t, 4, nil)
	for round := range 4 {
		r.startAll()
		c := r.client(byte(1 + round))
		for i := range round {
			if got := c.get(fmt.Sprintf("r%d", i)); got != fmt.Sprint(i) {
				t.Fatalf("round %d: r%d is %q", round, i, got)
			}
		}
		var calls []<-chan bft.CallResult
		for range 50 {
			calls = append(calls, c.invoke("counter", nil))
		}
		for _, x := range calls {
			c.wait(x)
		}
		c.put(fmt.Sprintf("r%d", round), fmt.Sprint(round))
		if got := string(c.wait(c.query("counter", []byte("get"), bft.Linearizable))); got != fmt.Sprint(50*(round+1)) {
			t.Fatalf("round %d: counter %s", round, got)
		}
		c.close()
		r.stop(0, 1, 2, 3)
	}
}

// A replica that was away for longer than the log reaches back fetches the state.
func TestStateTransfer(t *testing.T) {
	r := newRig(t, 4, func(c *bft.Config) { c.Interval, c.Window = 8, 16 })
	r.startAll()
	c := r.client(1)
	c.put("first", "1")
	r.stop(3)
	big := strings.Repeat("x", 40_000)
	for i := range 60 {
		c.put(fmt.Sprintf("k%d", i), big)
	}
	r.start(3)
	want := r.nodes[0].executed.Load()
	r.until("the replica has the state", func() bool { return r.nodes[3].executed.Load() >= want })
	r.untilActive(3)
	// With another one gone, the one that came back is needed, and its state must be right.
	r.stop(1)
	c.put("last", "2")
	if got := c.get("k59"); got != big {
		t.Fatalf("%d bytes", len(got))
	}
}

// A damaged snapshot is set aside, an older base or the peers' state is used.
func TestDamagedSnapshotIsNotFatal(t *testing.T) {
	r := newRig(t, 4, func(c *bft.Config) { c.Interval, c.Window = 8, 16 })
	r.startAll()
	c := r.client(1)
	for i := range 30 {
		c.put(fmt.Sprintf("k%d", i), "v")
	}
	r.until("a snapshot", func() bool { return r.nodes[3].disk.newest.Load() > 0 })
	r.stop(3)
	files, err := filepath.Glob(filepath.Join(r.path(3), "snapshots", "*.snap"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 1
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start(3)
	want := r.nodes[0].executed.Load()
	r.until("caught up", func() bool { return r.nodes[3].executed.Load() >= want })
	c.put("after", "1")
	r.untilActive(3)
	if set, err := filepath.Glob(filepath.Join(r.path(3), "snapshots", "damaged")); err != nil || len(set) != 1 {
		t.Errorf("not set aside: %v %v", set, err)
	}
}

// An empty or damaged directory is refused; with the loss accepted the replica runs and
// signs nothing (rule 19).
func TestLostStore(t *testing.T) {
	r := newRig(t, 4, nil)
	r.startAll()
	c := r.client(1)
	c.put("a", "1")
	r.stop(3)
	if err := os.RemoveAll(filepath.Join(r.path(3), "log")); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), r.options(3))
	if !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("started on a lost database: %v", err)
	}
	r.tune = func(o *Options) { o.AcceptLoss = true }
	r.start(3)
	c.put("a", "2")
	want := r.nodes[0].executed.Load()
	r.until("the amnesiac follows", func() bool { return r.nodes[3].executed.Load() >= want })
	s := r.nodes[3].Status()
	if s.State != StateAwaiting || s.Amnesiac == "" || !strings.Contains(s.Why, "signs nothing") {
		t.Fatalf("%+v", s)
	}

	// An empty directory is a loss too.
	r.stop(3)
	if err := os.RemoveAll(r.path(3)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.path(3), 0o700); err != nil {
		t.Fatal(err)
	}
	r.tune = nil
	if _, err := Start(t.Context(), r.options(3)); !errors.Is(err, store.ErrNotInitialised) {
		t.Fatalf("started on an empty directory: %v", err)
	}
	r.tune = func(o *Options) { o.AcceptLoss = true }
	r.start(3)
	r.until("the amnesiac follows again", func() bool { return r.nodes[3].executed.Load() >= want })
	if s := r.nodes[3].Status(); s.Amnesiac == "" {
		t.Fatalf("%+v", s)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, 4, nil)
	r.start(0)
	o := r.options(1)
	o.Listen = []string{r.nodes[0].Addr()}
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("port in use: %v", err)
	}
	o = r.options(1)
	o.HTTP = r.nodes[0].HTTPAddr()
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("HTTP port in use: %v", err)
	}
	o = r.options(1)
	o.Dir = r.path(2)
	if _, err := Start(t.Context(), o); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another's directory: %v", err)
	}
	o.Dir = r.path(0)
	if _, err := Start(t.Context(), o); !errors.Is(err, store.ErrLocked) {
		t.Errorf("directory in use: %v", err)
	}
	o = r.options(1)
	o.Key = r.keys[2]
	if _, err := Start(t.Context(), o); err == nil {
		t.Error("started with another's key")
	}
	// Nothing of this has hurt.
	r.start(1, 2, 3)
	c := r.client(1)
	c.put("a", "1")
}

func TestHTTP(t *testing.T) {
	r := newRig(t, 4, nil)
	r.start(0)
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + r.nodes[0].HTTPAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := get("/healthz"); code != 200 {
		t.Errorf("healthz: %d %s", code, body)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "awaiting") {
		t.Errorf("readyz alone: %d %s", code, body)
	}
	r.start(1, 2, 3)
	r.untilActive(0)
	if code, body := get("/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	c := r.client(1)
	c.put("a", "1")
	// The client has its result from others, perhaps before this replica has executed it.
	r.until("the operation and a peer are in the metrics", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, "baluarte_operations_executed_total 1") && strings.Contains(body, `baluarte_peer_connected{peer="1"} 1`)
	})
	if code, body := get("/status"); code != 200 || !strings.Contains(body, `"state":"active"`) {
		t.Errorf("status: %d %s", code, body)
	}
}
