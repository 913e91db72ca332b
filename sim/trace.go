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

// Kind is a kind of event.
type Kind byte

// The kinds of events: a message arrives; something is signed, executed, told to a caller; a snapshot is
// taken or installed; a process starts, crashes, stands still; a fault begins or ends; a replica enters a view;
// a call is made; the run enters a phase; a message is lost; a lie is told.
const (
	KindDeliver Kind = iota + 1
	KindSign
	KindExecute
	KindResult
	KindSnapshot
	KindInstall
	KindStart
	KindCrash
	KindPause
	KindFault
	KindView
	KindCall
	KindPhase
	KindLose
	KindLie
)

var kindNames = [...]string{"", "deliver", "sign", "execute", "result", "snapshot", "install", "start", "crash", "pause", "fault", "view", "call", "phase", "lose", "lie"}

// String is the word for k in a trace.
func (k Kind) String() string { return kindNames[k] }

// tail is how many lines of the trace are kept for the report of a failure.
const tail = 160

// Event is one thing that happened. Its text is made only when somebody reads it.
type Event struct {
	At   bft.Time
	Kind Kind
	// From and To are endpoints: the replicas by their IDs, then the twins, then the clients; -1: none.
	From, To int
	// Frame is the message that was delivered or lost, Sent when it was sent, Number which it is on its
	// link; Lie tells whether an adversary made it.
	Frame  []byte
	Sent   bft.Time
	Number int
	Lie    bool

	text func() string
}

// Text says what happened.
func (e *Event) Text() string {
	switch {
	case e.Frame != nil:
		return wire.Describe(e.Frame)
	case e.text != nil:
		return e.text()
	}
	return ""
}

// trace hashes all that happens, keeps its end and, if asked to, prints it.
type trace struct {
	sum   hash.Hash
	buf   [8 * 5]byte
	lines [tail]Event
	count int
	out   io.Writer
	tell  func(*Event)
	ids   []bft.ReplicaID // of the instances
}

func newTrace(o *Options) *trace {
	return &trace{sum: sha256.New(), out: o.Trace, tell: o.Observe, ids: o.instances()}
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// frame notes what became of a message.
func (t *trace) frame(at bft.Time, k Kind, m *message) {
	t.add(Event{At: at, Kind: k, From: int(m.from), To: int(m.to), Frame: m.frame, Sent: m.sent, Number: m.number, Lie: m.lie}, crc64.Checksum(m.frame, crcTable))
}

// bytes notes something whose essence is b.
func (t *trace) bytes(at bft.Time, k Kind, from endpoint, b []byte, text func() string) {
	t.add(Event{At: at, Kind: k, From: int(from), To: -1, text: text}, crc64.Checksum(b, crcTable))
}

// lie notes that a lie is told, with its number among those that could be.
func (t *trace) lie(at bft.Time, who endpoint, number int, names string) {
	t.add(Event{At: at, Kind: KindLie, From: int(who), To: -1, Number: number, Lie: true, text: func() string { return names }}, uint64(number))
}

// note notes something that kind and endpoint say enough about.
func (t *trace) note(at bft.Time, k Kind, from, to endpoint, text func() string) {
	t.add(Event{At: at, Kind: k, From: int(from), To: int(to), text: text}, 0)
}

func (t *trace) add(l Event, essence uint64) {
	b := t.buf[:0]
	b = binary.BigEndian.AppendUint64(b, uint64(l.At))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(l.From))
	b = binary.BigEndian.AppendUint64(b, uint64(l.To))
	b = binary.BigEndian.AppendUint64(b, essence)
	t.sum.Write(b)
	t.lines[t.count%tail] = l
	t.count++
	if t.out != nil {
		fmt.Fprintln(t.out, t.print(&l))
	}
	if t.tell != nil {
		t.tell(&l)
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

func (t *trace) print(l *Event) string {
	who := t.name(endpoint(l.From))
	if l.To >= 0 {
		who += " → " + t.name(endpoint(l.To))
	}
	text := l.Text()
	switch {
	case l.Kind == KindLie:
		text = fmt.Sprintf("%d: %s", l.Number, text)
	case l.Lie:
		text += " (a lie)"
	}
	return fmt.Sprintf("%12.6f  %-8s  %-8s  %s", float64(l.At)/float64(bft.Second), kindNames[l.Kind], who, text)
}

// name is r3 for a replica, r3' for its twin, c1 for a client, * for all.
func (t *trace) name(e endpoint) string { return endpointName(e, t.ids) }

func endpointName(e endpoint, ids []bft.ReplicaID) string {
	switch {
	case e < 0:
		return "*"
	case int(e) >= len(ids):
		return fmt.Sprintf("c%d", int(e)-len(ids))
	case int(ids[e]) != int(e):
		return fmt.Sprintf("r%d'", ids[e])
	}
	return fmt.Sprintf("r%d", e)
}
