package client

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bft/exec"
)

// wordy is a service that answers at length.
type wordy int

func (s wordy) Apply(exec.Context, []byte) []byte             { return make([]byte, s) }
func (s wordy) Query(context.Context, []byte) ([]byte, error) { return make([]byte, s), nil }
func (s wordy) Snapshot() (exec.StateSnapshot, error)         { return nil, errors.New("none") }
func (s wordy) Restore(io.Reader) error                       { return errors.New("none") }

// The longest results that a replica tells reach the caller, each alone and several at once.
func TestLargestAnswer(t *testing.T) {
	const longest = exec.MaxResultBytes - 1
	cl := newCluster(t, 4)
	var err error
	cl.machine, err = exec.New(exec.Config{Cluster: cl.manifest.ID(), Limits: cl.manifest.ExecLimits(),
		Services: []exec.Service{{Name: "counter", Machine: wordy(longest)}}})
	if err != nil {
		t.Fatal(err)
	}
	c := cl.dial()
	type answer struct {
		value []byte
		err   error
	}
	answers := make(chan answer, 6)
	for range 3 {
		go func() {
			value, err := c.Invoke(within(t, patience), nil)
			answers <- answer{value, err}
		}()
		go func() {
			value, err := c.Query(within(t, patience), nil, Linearizable)
			answers <- answer{value, err}
		}()
	}
	for range cap(answers) {
		if a := <-answers; a.err != nil || len(a.value) != longest {
			t.Errorf("%d bytes, %v", len(a.value), a.err)
		}
	}
}
