package sim

import (
	"io"

	"github.com/baluarte-bft/baluarte/bft/exec"
)

// bulky is a service whose state has so many bytes more than it says, so that it travels in many parts.
type bulky struct {
	exec.StateMachine
	bytes int
}

type bulkySnapshot struct {
	exec.StateSnapshot
	bytes int
}

// Snapshot implements exec.StateMachine.
func (b *bulky) Snapshot() (exec.StateSnapshot, error) {
	s, err := b.StateMachine.Snapshot()
	return &bulkySnapshot{s, b.bytes}, err
}

// WriteTo writes the bulk, then the state. The bulk is not all alike, for a part that stands in another's place is to be noticed.
func (s *bulkySnapshot) WriteTo(w io.Writer) (int64, error) {
	bulk := make([]byte, s.bytes)
	for i := 0; i < len(bulk); i += 512 {
		bulk[i], bulk[i+1] = byte(i>>9), byte(i>>17)
	}
	k, err := w.Write(bulk)
	if err != nil {
		return int64(k), err
	}
	n, err := s.StateSnapshot.WriteTo(w)
	return n + int64(k), err
}

// Restore implements exec.StateMachine.
func (b *bulky) Restore(r io.Reader) error {
	if _, err := io.CopyN(io.Discard, r, int64(b.bytes)); err != nil {
		return err
	}
	return b.StateMachine.Restore(r)
}
