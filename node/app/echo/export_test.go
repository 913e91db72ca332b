package echo

import (
	"context"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// Keeping makes a factory of services that keep fewer messages than MaxMessages.
func Keeping(most uint64) app.Factory {
	return func(store app.Store) (app.StateMachine, error) { return keeping(store, most) }
}

// nosy answers every question with the history of the client that has the lowest key, for a test
// that does not know the keys.
type nosy struct{ *machine }

// Nosy makes such services, which keep that many messages.
func Nosy(most uint64) app.Factory {
	return func(store app.Store) (app.StateMachine, error) {
		m, err := keeping(store, most)
		if err != nil {
			return nil, err
		}
		return nosy{m.(*machine)}, nil
	}
}

func (n nosy) Query(ctx context.Context, _ []byte) ([]byte, error) {
	for key := range n.store.Scan([]byte{'l'}, []byte{'l' + 1}) {
		return n.machine.Query(ctx, History(bft.ClientID(key[1:]), 0, 5))
	}
	return nil, nil
}
