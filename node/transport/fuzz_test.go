package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// fakeStream is a stream whose other end has sent what r holds.
type fakeStream struct {
	network.MuxedStream
	r io.Reader
	w bytes.Buffer
}

func (f *fakeStream) Read(b []byte) (int, error)       { return f.r.Read(b) }
func (f *fakeStream) Write(b []byte) (int, error)      { return f.w.Write(b) }
func (f *fakeStream) Close() error                     { return nil }
func (f *fakeStream) CloseWrite() error                { return nil }
func (f *fakeStream) SetDeadline(time.Time) error      { return nil }
func (f *fakeStream) SetReadDeadline(time.Time) error  { return nil }
func (f *fakeStream) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrameReader: whatever arrives, in pieces of any size, the reader yields
// the valid frames before the first invalid one, and then an error.
func FuzzFrameReader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x', 0, 0, 0, 2, 'y', 'z'}, true)
	f.Add([]byte{0, 0, 0, 0, 0, 3, 'b', 'y', 'e'}, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 'x'}, false)
	f.Fuzz(func(t *testing.T, raw []byte, goodbye bool) {
		const limit = 100
		for _, r := range []io.Reader{bytes.NewReader(raw), iotest.OneByteReader(bytes.NewReader(raw)), iotest.DataErrReader(bytes.NewReader(raw))} {
			fr := newFrameReader(&fakeStream{r: r}, 16, limit, &Limits{FrameTimeout: time.Second, KeepAlive: time.Second, WriteTimeout: time.Second}, new(traffic))
			fr.goodbye = goodbye
			rest := raw
			for {
				for len(rest) >= 4 && binary.BigEndian.Uint32(rest) == keepAliveHeader {
					rest = rest[4:]
				}
				frame, err := fr.next()
				valid := len(rest) >= 4
				n := 0
				if valid {
					n = int(binary.BigEndian.Uint32(rest))
					valid = n > 0 && n <= limit && n <= len(rest)-4
				}
				if valid != (err == nil) {
					t.Fatalf("valid %v, error %v", valid, err)
				}
				if err != nil {
					break
				}
				if !bytes.Equal(frame, rest[4:4+n]) || cap(frame) != n {
					t.Fatalf("frame %x of capacity %d, want %x", frame, cap(frame), rest[4:4+n])
				}
				rest = rest[4+n:]
			}
		}
	})
}

// FuzzHello: no bytes make the accepting or the dialling side panic.
func FuzzHello(f *testing.F) {
	hello := append([]byte("\x13/multistream/1.0.0\n\x14/baluarte/replica/1\n"), magic...)
	hello = append(hello, 0, 1, 0, 0)
	f.Add(append(hello, testCluster[:]...))
	f.Add([]byte("\x13/multistream/1.0.0\n\x14/baluarte/replica/1\nBLRT\x00\x01\x02\x00\x00\x03bye"))
	ep := &endpoint{cluster: testCluster, version: protocolVersion, limits: DefaultLimits(), protocols: protocols()}
	f.Fuzz(func(t *testing.T, raw []byte) {
		prefix, err := ep.hearHello(&fakeStream{r: bytes.NewReader(raw)})
		if err == nil && !bytes.Contains(raw, testCluster[:]) {
			t.Errorf("%s accepted without the cluster", prefix)
		}
		var refusal *Refusal
		if errors.As(err, &refusal) {
			_ = ep.answerHello(&fakeStream{r: bytes.NewReader(raw)}, refusal)
		}
		_ = sayHello(&fakeStream{r: bytes.NewReader(raw)}, replicaProtocol, protocolVersion, testCluster, time.Second)
	})
}

func TestHelloAccepted(t *testing.T) {
	ep := &endpoint{cluster: testCluster, version: protocolVersion, limits: DefaultLimits(), protocols: protocols()}
	raw := "\x13/multistream/1.0.0\n\x13/baluarte/client/1\n" + magic + "\x00\x01\x00\x00" + string(testCluster[:])
	if prefix, err := ep.hearHello(&fakeStream{r: bytes.NewReader([]byte(raw))}); err != nil || prefix != clientProtocol {
		t.Errorf("%q, %v", prefix, err)
	}
}

// The queue behaves as a bounded list does.
func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		maxBytes, maxFrames := 1+rng.IntN(3000), 1+rng.IntN(40)
		q := newQueue(maxBytes, maxFrames)
		var model [][]byte
		bytesOf := func(frames [][]byte) (n int) {
			for _, f := range frames {
				n += len(f) + frameOverhead
			}
			return n
		}
		var dropped uint64
		shut := false
		for step := range 500 {
			switch k := rng.IntN(20); {
			case k < 12:
				sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(step)))
				frame := sum[:1+rng.IntN(32)]
				want := !shut && len(model) < maxFrames && bytesOf(model)+len(frame)+frameOverhead <= maxBytes
				if q.push(frame) != want {
					t.Fatalf("seed %d step %d: push is not %v", seed, step, want)
				}
				if want {
					model = append(model, frame)
				} else {
					dropped++
				}
			case k < 18:
				limit := rng.IntN(200)
				got := q.take(nil, limit)
				total := 0
				for i, f := range got {
					if total += len(f); i > 0 && total > limit {
						t.Fatalf("seed %d step %d: took too much", seed, step)
					}
					if !bytes.Equal(f, model[i]) {
						t.Fatalf("seed %d step %d: wrong frame", seed, step)
					}
				}
				model = model[len(got):]
				if len(got) == 0 && len(model) > 0 {
					t.Fatalf("seed %d step %d: took nothing", seed, step)
				}
			case k == 18:
				q.close()
				dropped += uint64(len(model))
				model, shut = nil, true
			default:
				q.open()
				shut = false
			}
			if n, b, d := q.usage(); n != len(model) || b != bytesOf(model) || d != dropped {
				t.Fatalf("seed %d step %d: usage %d %d %d, want %d %d %d", seed, step, n, b, d, len(model), bytesOf(model), dropped)
			}
		}
	}
}
