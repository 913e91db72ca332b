package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

// counting is the counter as a service under test.
func counting(ended func(*Call) error) *Service {
	return &Service{
		New: func(p Place) (exec.StateMachine, error) {
			if int(p.Replica) >= bft.MaxMembers || p.Executed() != 0 {
				return nil, fmt.Errorf("replica %d has executed %d", p.Replica, p.Executed())
			}
			return counter.New(nil)
		},
		Next: func(r *rand.Rand, _ int, read bool) []byte {
			switch {
			case read:
				return counter.Get()
			case chance(r, 10):
				return []byte("nonsense")
			}
			return counter.Add(1)
		},
		Reads: true,
		Ended: ended,
	}
}

func TestServiceUnderTest(t *testing.T) {
	run := func(seed uint64) (hash string, done, reads, refused int) {
		s := counting(func(c *Call) error {
			switch {
			case errors.Is(c.Err, bft.ErrRejected) && string(c.Op) == "nonsense":
				refused++
			case c.Err != nil || len(c.Result) == 0:
				return fmt.Errorf("call %q has result %q, error %v", c.Op, c.Result, c.Err)
			case c.Read:
				reads++
			default:
				done++
			}
			return nil
		})
		r, err := Run(DrawService(seed, s))
		if err != nil || !r.OK() {
			t.Fatalf("seed %d: %v, %+v", seed, err, r.Failure)
		}
		return r.TraceHash, done, reads, refused
	}
	for seed := range uint64(3) {
		hash, done, reads, refused := run(seed)
		if done == 0 || reads == 0 || refused == 0 {
			t.Errorf("seed %d: %d operations, %d reads, %d refused: none may be 0", seed, done, reads, refused)
		}
		if again, _, _, _ := run(seed); again != hash {
			t.Errorf("seed %d has the trace hashes %s and %s", seed, hash, again)
		}
	}
}

func TestServiceBreaksResultOracle(t *testing.T) {
	s := counting(func(c *Call) error {
		if string(c.Result) == "10" {
			return errors.New("ten is too much")
		}
		return nil
	})
	r, err := Run(DrawService(1, s))
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Failure.Oracle != "RESULT" || !strings.Contains(r.Failure.Detail, "apply \"add 1\" → \"10\": ten is too much") && !strings.Contains(r.Failure.Detail, "query \"get\" → \"10\": ten is too much") {
		t.Errorf("failure: %+v", r.Failure)
	}
}

func TestServiceHasToBeThere(t *testing.T) {
	o := DrawService(1, nil)
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), `service: "service" is neither`) {
		t.Errorf("a run without its service is accepted: %v", err)
	}
}
