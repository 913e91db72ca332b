package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc64"
	"io"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// kind is a class of lines of the trace.
type kind byte

const (
	kindDeliver kind = iota + 1
	kindSign
	kindExecute
	kindResult
	kindSnapshot
	kindInstall
	kindStart
	kindCrash
	kindPause
	kindFault
	kindView
	kindCall
	kindPhase
)

var kindNames = [...]string{"", "deliver", "sign", "execute", "result", "snapshot", "install", "start", "crash", "pause", "fault", "view", "call", "phase"}

// tail is how many lines of the trace are kept for the report of a failure.
const tail = 160

// line is one thing that happened. Its text is made only when somebody reads it.
type line struct {
	at       bft.Time
	kind     kind
	from, to endpoint
	frame    []byte
	text     func() string
}

// trace hashes all that happens, keeps its end and, if asked to, prints it.
type trace struct {
	sum   hash.Hash
	buf   [8 * 5]byte
	lines [tail]line
	count int
	out   io.Writer
	n     int // replicas
}

func newTrace(n int, out io.Writer) *trace { return &trace{sum: sha256.New(), out: out, n: n} }

var crcTable = crc64.MakeTable(crc64.ECMA)

// frame notes a delivery.
func (t *trace) frame(at bft.Time, from, to endpoint, frame []byte) {
	t.add(line{at: at, kind: kindDeliver, from: from, to: to, frame: frame}, crc64.Checksum(frame, crcTable))
}

// bytes notes something whose essence is b.
func (t *trace) bytes(at bft.Time, k kind, from, to endpoint, b []byte, text func() string) {
	t.add(line{at: at, kind: k, from: from, to: to, text: text}, crc64.Checksum(b, crcTable))
}

// note notes something that kind and endpoints say enough about.
func (t *trace) note(at bft.Time, k kind, from, to endpoint, text func() string) {
	t.add(line{at: at, kind: k, from: from, to: to, text: text}, 0)
}

func (t *trace) add(l line, essence uint64) {
	b := t.buf[:0]
	b = binary.BigEndian.AppendUint64(b, uint64(l.at))
	b = binary.BigEndian.AppendUint64(b, uint64(l.kind))
	b = binary.BigEndian.AppendUint64(b, uint64(l.from))
	b = binary.BigEndian.AppendUint64(b, uint64(l.to))
	b = binary.BigEndian.AppendUint64(b, essence)
	t.sum.Write(b)
	t.lines[t.count%tail] = l
	t.count++
	if t.out != nil {
		fmt.Fprintln(t.out, t.print(&l))
	}
}

// hash is the hash of everything so far.
func (t *trace) hash() string { return hex.EncodeToString(t.sum.Sum(nil)) }

// last returns the kept lines as text.
func (t *trace) last() []string {
	var out []string
	for i := max(0, t.count-tail); i < t.count; i++ {
		out = append(out, t.print(&t.lines[i%tail]))
	}
	return out
}

func (t *trace) print(l *line) string {
	var text string
	switch {
	case l.frame != nil:
		text = wire.Describe(l.frame)
	case l.text != nil:
		text = l.text()
	}
	who := t.name(l.from)
	if l.to >= 0 {
		who += " → " + t.name(l.to)
	}
	return fmt.Sprintf("%12.6f  %-8s  %-8s  %s", float64(l.at)/float64(bft.Second), kindNames[l.kind], who, text)
}

// name is r3 for a replica, c1 for a client, * for all.
func (t *trace) name(e endpoint) string {
	switch {
	case e < 0:
		return "*"
	case int(e) < t.n:
		return fmt.Sprintf("r%d", e)
	}
	return fmt.Sprintf("c%d", int(e)-t.n)
}
