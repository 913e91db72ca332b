package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// echo answers each connection with what came, behind a mark, once its dialling side has ended.
func echo(t *testing.T, mark string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				b, err := io.ReadAll(c)
				if err == nil {
					_, _ = c.Write(append([]byte(mark), b...)) // the other side judges
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func open(t *testing.T, c Config) *Proxy {
	t.Helper()
	p, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// Bytes arrive unchanged and in order, whatever the delays do meanwhile, and one side may end while the other
// goes on.
func TestBytesArriveInOrderAndHalfClose(t *testing.T) {
	p := open(t, Config{Target: echo(t, "<"), Delays: Delays{Forward: 20 * time.Millisecond, Back: 5 * time.Millisecond}})
	c := dial(t, p)
	random := rand.New(rand.NewPCG(1, 2))
	var sent []byte
	for i := range 200 {
		b := make([]byte, 1+random.IntN(5000))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		sent = append(sent, b...)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			p.SetDelays(Delays{Forward: time.Duration(random.IntN(20)) * time.Millisecond, Back: time.Millisecond})
		}
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append([]byte("<"), sent...)) {
		t.Fatalf("%d bytes came back (%v), want the %d sent behind a mark", len(got), err, len(sent))
	}
	if forward, back := p.Passed(); forward != uint64(len(sent)) || back != uint64(len(sent)+1) {
		t.Errorf("passed %d and %d bytes, want %d and one more", forward, back, len(sent))
	}
}

// What one direction loses is gone, the other goes on; the connection ends once nothing is lost any more, and a new one is whole.
func TestLosesOneDirection(t *testing.T) {
	for _, back := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := open(t, Config{Target: l.Addr().String()})
		near := dial(t, p)
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		from, to := net.Conn(near), far
		if back {
			from, to = to, from
		}
		p.Lose(!back, back)
		pass(t, to, from, "heard")
		if _, err := from.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		for lost := false; !lost; { // it is under way until then
			p.mu.Lock()
			for _, l := range p.conns {
				lost = lost || l.Load()
			}
			p.mu.Unlock()
		}
		p.Lose(false, false)
		if n, err := to.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Errorf("back %v: %d bytes came through", back, n)
		}
		again := dial(t, p)
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		pass(t, again, other, "there")
		pass(t, other, again, "and back")
	}
}

// pass checks that what one side writes is what the other reads.
func pass(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v", got, err)
	}
}

// What is held arrives later, though its sender has ended since.
func TestHoldsOneDirection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := open(t, Config{Target: l.Addr().String()})
	near := dial(t, p)
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	p.Hold(true, false)
	if _, err := near.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	pass(t, far, near, "back")
	for n := uint64(0); n != 4; n, _ = p.UnderWay() {
		time.Sleep(time.Millisecond)
	}
	near.Close()
	p.Hold(false, false)
	if got, err := io.ReadAll(far); err != nil || string(got) != "held" {
		t.Fatalf("%q, %v", got, err)
	}
	if n, _ := p.UnderWay(); n != 0 {
		t.Errorf("%d bytes are still under way", n)
	}
}

// Many connections pass beside each other.
func TestConnectionsAreApart(t *testing.T) {
	p := open(t, Config{Target: echo(t, ""), Delays: Delays{Forward: time.Millisecond}})
	var wg sync.WaitGroup
	for i := range 20 {
		c := dial(t, p)
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i)}, 10_000+i)
			if _, err := c.Write(want); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("connection %d: %d bytes came back (%v), want %d of its own", i, len(got), err, len(want))
			}
		})
	}
	wg.Wait()
}

// What nobody listens to is refused at the proxy too, and a target that goes away takes the connection with it.
func TestBrokenTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, Config{Target: l.Addr().String(), Delays: Delays{Forward: time.Hour}})
	c := dial(t, p)
	if _, err := c.Write([]byte("held for an hour")); err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	reset(there.(*net.TCPConn))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading from a connection whose target broke gives %v, want a failure", err)
	}
	l.Close()
	gone, err := net.Dial("tcp", p.Addr()) // may fail already
	if err == nil {
		defer gone.Close()
		_, err = gone.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("a connection to a target that is gone gave a byte, want a failure")
	}
}

// Close ends connections that hold bytes back for long.
func TestCloseEndsAll(t *testing.T) {
	p, err := Listen(Config{Target: echo(t, ""), Delays: Delays{Forward: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatalf("closing again: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on after Close")
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no target":      {},
		"negative delay": {Target: "127.0.0.1:1", Delays: Delays{Back: -1}},
		"no address":     {Target: "127.0.0.1:1", Listen: "nowhere"},
	} {
		if p, err := Listen(c); err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// A line holds no more than its bound, and gives all of it in order.
func TestLineIsBounded(t *testing.T) {
	l := newLine(10 * (100 + entryBytes))
	far := time.Now().Add(time.Hour)
	for i := range 10 {
		l.put(bytes.Repeat([]byte{byte(i)}, 100), far)
	}
	if got := l.waiting(); got != l.most {
		t.Fatalf("%d bytes wait, want the %d put", got, l.most)
	}
	put := make(chan bool, 1)
	go func() { put <- l.put([]byte("one more"), far) }()
	l.took(100 + entryBytes) // room for one
	if !<-put {
		t.Error("a piece was refused although room came")
	}
	go func() { put <- l.put(make([]byte, 100), far) }()
	l.stop()
	if <-put {
		t.Error("a piece was taken although the line was full and then stopped")
	}
	if l.waiting() > l.most {
		t.Errorf("%d bytes wait, the bound is %d", l.waiting(), l.most)
	}
}

// A piece that is due earlier than one before it waits for that.
func TestLineKeepsOrder(t *testing.T) {
	l := newLine(1 << 20)
	now := time.Now()
	l.put([]byte("a"), now.Add(30*time.Millisecond))
	l.put([]byte("b"), now)
	l.end(true, now)
	var got []byte
	whole := l.drain(nil, func(b []byte) error {
		if time.Now().Before(now.Add(30 * time.Millisecond)) {
			t.Errorf("%q came before its time", b)
		}
		got = append(got, b...)
		return nil
	})
	if !whole || string(got) != "ab" {
		t.Errorf("got %q, whole %v, want ab in order", got, whole)
	}
}

func TestLineThatFails(t *testing.T) {
	l := newLine(1 << 20)
	l.put([]byte("a"), time.Now())
	if l.drain(nil, func([]byte) error { return io.ErrClosedPipe }) {
		t.Error("a line whose writer failed calls itself whole")
	}
	l = newLine(1 << 20)
	l.end(false, time.Now())
	if l.drain(nil, func([]byte) error { return nil }) {
		t.Error("a line whose reader failed calls itself whole")
	}
}
