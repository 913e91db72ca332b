package simtest_test

import (
	"math/rand/v2"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// dice adds up what it throws, with dice of its own. Replicated passively all replicas add up what the primary threw.
type dice struct {
	app.StateMachine
	app.Updater
}

func newDice(store app.Store) (app.StateMachine, error) {
	m, err := counter.NewPassive(store)
	if err != nil {
		return nil, err
	}
	return dice{m, m.(app.Updater)}, nil
}

// Draft begins at the present sum.
func (d dice) Draft() app.Draft { return throws{d.Updater.Draft()} }

type throws struct{ sum app.Draft }

// Update throws.
func (d throws) Update(ctx app.Context, _ []byte) []byte {
	return d.sum.Update(ctx, counter.Add(1+rand.Int64N(6)))
}

// A service that throws dice goes through all that happens to replicas, if it is replicated passively.
func TestServiceThatThrowsDice(t *testing.T) {
	throw := func(*rand.Rand, int) []byte { return counter.Add(0) }
	sum := func(*rand.Rand, int) []byte { return counter.Get() }
	simtest.Run(t, newDice, 10, simtest.Operations(throw), simtest.Queries(sum))
}
