package discovery

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is so many announcements of the same cluster, from the same address.
func crowd(n int, address string) (out []Announcement) {
	m := manifestOf(1)
	for i := range n {
		out = append(out, Announcement{Name: "acme", Cluster: m.ID(), Key: key(byte(20 + i)).Public(), Member: fmt.Sprint("x", i), Addresses: []string{address}})
	}
	return out
}

// Room is made by whoever has failed; the oldest goes only if nobody has.
func TestWhoFailedMakesRoom(t *testing.T) {
	f := newFinder("acme", manifestOf(1).ID(), nil, key(99))
	all := crowd(maxHeard+2, "127.0.0.1:1")
	for _, a := range all[:maxHeard] {
		f.hear(a)
	}
	f.heard[2].failed = true
	f.hear(all[maxHeard])
	if f.heard[0].Member != "x0" || f.heard[1].Member != "x1" || f.heard[2].Member != "x3" || len(f.heard) != maxHeard {
		t.Errorf("%s, %s, %s are the oldest of %d; x2, which failed, was to go", f.heard[0].Member, f.heard[1].Member, f.heard[2].Member, len(f.heard))
	}
	f.hear(all[maxHeard+1])
	if f.heard[0].Member != "x1" || len(f.heard) != maxHeard {
		t.Errorf("%s is the oldest of %d; x0 was to go", f.heard[0].Member, len(f.heard))
	}
}

// Whoever loses its place is not asked any longer.
func TestNoPlaceNoAsking(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f := newFinder("acme", manifestOf(1).ID(), nil, key(99))
	all := crowd(maxHeard+1, silent.Addr().String())
	f.hear(all[0])
	p, done := f.toAsk()[0], make(chan struct{})
	go func() {
		f.ask(ctx, p)
		close(done)
	}()
	c, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, a := range all[1:] {
		f.hear(a)
	}
	<-done
	if ctx.Err() != nil {
		t.Error("it was asked until the time was over")
	}
}

// However fast somebody announces, there is a rest between asking some and asking others.
func TestRestsBetweenAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFinder("acme", manifestOf(1).ID(), nil, nil) // without a key asking fails at once
		done := make(chan struct{})
		go func() {
			_, _ = f.run(ctx)
			close(done)
		}()
		asked := func() (n int) {
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, p := range f.heard {
				if p.asked {
					n++
				}
			}
			return n
		}
		for i, a := range crowd(5, "127.0.0.1:1") {
			f.hear(a)
			if n := asked(); n != max(1, i) {
				t.Errorf("%d are asked before the rest is over, want %d", n, max(1, i))
			}
			if i > 0 {
				time.Sleep(askAgain)
			}
			if n := asked(); n != i+1 {
				t.Errorf("%d are asked after the rest, want %d", n, i+1)
			}
		}
		cancel()
		<-done
	})
}
