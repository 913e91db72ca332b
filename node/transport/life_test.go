package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
	"time"
)

// An idle stream carries signs of life both ways, also where frames go one way only.
func TestSignsOfLife(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 2, func(_ int, cfg *ServerConfig) { cfg.Limits.KeepAlive = 10 * time.Millisecond })
	waitFor(t, "connected", tn.connected)
	frames := tn.servers[0].Stats().Peers[1].FramesOut
	before := tn.servers[0].Stats().Peers[1].BytesOut
	waitFor(t, "signs of life", func() bool { return tn.servers[0].Stats().Peers[1].BytesOut >= before+20*headerBytes })
	if p := tn.servers[0].Stats().Peers[1]; p.FramesOut != frames || !p.Connected {
		t.Errorf("signs of life count as frames, or ended the stream: %+v", p)
	}
}

// A client that says nothing at all, not even that it lives, is taken for dead and gives its place back.
func TestSilentClientIsCutOff(t *testing.T) {
	checkLeaks(t)
	tn := newNet(t, 1, func(_ int, cfg *ServerConfig) {
		cfg.Limits.KeepAlive, cfg.Limits.WriteTimeout = 20*time.Millisecond, 50*time.Millisecond
	})
	st, _, err := openStream(t, tn, testKey("silent"), clientProtocol, protocolVersion, testCluster)
	if err != nil {
		t.Fatal(err)
	}
	expectEnd(t, st)
	waitFor(t, "place given back", func() bool { return tn.servers[0].Stats().Clients == 0 })
}

// deadlines notes the read deadlines that are set.
type deadlines struct {
	fakeStream
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

func TestReaderPassesOverSignsOfLife(t *testing.T) {
	sign := binary.BigEndian.AppendUint32(nil, keepAliveHeader)
	raw := append(bytes.Repeat(sign, 100), 0, 0, 0, 1, 'x')
	d := &deadlines{fakeStream: fakeStream{r: iotest.OneByteReader(bytes.NewReader(raw))}}
	began := time.Now()
	r := newFrameReader(d, 16, 1, &Limits{FrameTimeout: time.Hour, KeepAlive: time.Hour, WriteTimeout: time.Hour}, new(traffic))
	frame, err := r.next()
	if err != nil || string(frame) != "x" {
		t.Fatalf("%q, %v", frame, err)
	}
	// One for the silence before the first byte, one for the frame and one after it: none for each sign.
	if len(d.set) != 3 || d.set[0].Sub(began) < 3*time.Hour || d.set[2].Sub(began) < 3*time.Hour {
		t.Errorf("deadlines %v", d.set)
	}
	if n := r.got.frames.Load(); n != 1 {
		t.Errorf("%d frames counted", n)
	}
	if _, err := r.next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A stream that carries no frames this way lets signs of life pass, and nothing else.
func TestOneWayStream(t *testing.T) {
	sign := binary.BigEndian.AppendUint32(nil, keepAliveHeader)
	limits := DefaultLimits()
	for _, rest := range [][]byte{{0, 0, 0, 1, 'x'}, {0, 0, 0, 0, 0, 1, 'x'}} {
		r := newFrameReader(&fakeStream{r: bytes.NewReader(append(bytes.Clone(sign), rest...))}, signBytes, 0, &limits, new(traffic))
		if _, err := r.next(); !errors.Is(err, ErrFrame) {
			t.Errorf("%v: %v", rest, err)
		}
	}
	r := newFrameReader(&fakeStream{r: io.MultiReader(bytes.NewReader(sign), iotest.ErrReader(os.ErrDeadlineExceeded))}, signBytes, 0, &limits, new(traffic))
	if _, err := r.next(); !errors.Is(err, errSilent) {
		t.Errorf("silence: %v", err)
	}
}
