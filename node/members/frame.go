package members

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Kind is what a heartbeat is beside a sign of life.
type Kind uint8

// The kinds of heartbeats.
const (
	// Beat is sent at each tick.
	Beat Kind = iota
	// Ask is a Beat that wants an Answer at once.
	Ask
	// Answer answers an Ask.
	Answer
)

// Heartbeat is what members send each other. It is believed from the authenticated channel, as far as it is believed.
type Heartbeat struct {
	Kind Kind
	// Question is the number of an Ask, and of the Answer to it.
	Question uint64
	Report   Report
}

const (
	headBytes  = 1 + 8
	entryBytes = 4
	// neverMillis stands for Never; longer silences than fit are as good.
	neverMillis = 1<<32 - 1
)

// ErrFrame: no correct member sends these bytes.
var ErrFrame = errors.New("members: malformed heartbeat")

// Append appends the encoding of h: kind, question, and for each member its silence in milliseconds.
func (h *Heartbeat) Append(b []byte) []byte {
	b = append(b, byte(h.Kind))
	b = binary.BigEndian.AppendUint64(b, h.Question)
	for _, d := range h.Report {
		millis := uint32(neverMillis)
		if d >= 0 && d/time.Millisecond < neverMillis {
			millis = uint32(d / time.Millisecond)
		}
		b = binary.BigEndian.AppendUint32(b, millis)
	}
	return b
}

// Decode reads the heartbeat of a member of a cluster of n. The error is ErrFrame.
func Decode(b []byte, n int) (Heartbeat, error) {
	if len(b) != headBytes+n*entryBytes {
		return Heartbeat{}, fmt.Errorf("%w: %d bytes, want %d", ErrFrame, len(b), headBytes+n*entryBytes)
	}
	h := Heartbeat{Kind: Kind(b[0]), Question: binary.BigEndian.Uint64(b[1:]), Report: make(Report, n)}
	if h.Kind > Answer || (h.Kind == Beat) != (h.Question == 0) {
		return Heartbeat{}, fmt.Errorf("%w: kind %d, question %d", ErrFrame, h.Kind, h.Question)
	}
	for i := range h.Report {
		h.Report[i] = Never
		if millis := binary.BigEndian.Uint32(b[headBytes+i*entryBytes:]); millis != neverMillis {
			h.Report[i] = time.Duration(millis) * time.Millisecond
		}
	}
	return h, nil
}
