// Package echo is a service that returns each message with its number, and remembers the
// messages of each client. Operations, questions and results are text, so that they can be read
// in a log:
//
//	hello               →  1 hello
//	good morning        →  2 good morning
//	history KEY 1 20    →  1 "hello"            (a question; KEY is that of the client)
//	                       2 "good morning"
//
// The messages are in the [app.Store], so they may be larger than memory. It keeps the last
// MaxMessages of all clients together: each further one pushes out the oldest.
package echo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/stored"
)

// Bounds.
const (
	// MaxText is the length of the longest message, in bytes. The empty message is a message.
	MaxText = 1 << 10
	// MaxMessages is how many messages are kept, of all clients together.
	MaxMessages = 100_000
	// MaxPage is how many messages one question lists.
	MaxPage = 100
)

// Why an operation or a question is refused.
var (
	// ErrTooLong: the message is longer than MaxText.
	ErrTooLong = fmt.Errorf("echo: a message has at most %d bytes", MaxText)
	// ErrBadQuestion: the question is not one that History makes.
	ErrBadQuestion = fmt.Errorf("echo: a question is: history KEY FROM LIMIT, with a limit of 1 to %d", MaxPage)
)

// machine is the service. A message changes several keys of the store, so mu keeps questions from
// seeing half of them.
type machine struct {
	mu    sync.RWMutex
	store app.Store
	most  uint64 // messages that are kept
}

// New makes a service whose messages are those of the store.
func New(store app.Store) (app.StateMachine, error) { return keeping(store, MaxMessages) }

func keeping(store app.Store, most uint64) (app.StateMachine, error) {
	if store == nil {
		return nil, errors.New("echo: it needs a store")
	}
	return &machine{store: store, most: most}, nil
}

// The store has these keys; numbers have 8 bytes, so that they are in order.
//
//	'm' client number  →  the text of a client's message
//	'l' client         →  the number of the client's last message
//	'o' place          →  the key of the message that has this place in the order of all messages
//	't'                →  the place of the last message of all
func messageKey(client bft.ClientID, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{'m'}, client[:]...), number)
}

func lastKey(client []byte) []byte { return append([]byte{'l'}, client...) }

func orderKey(place uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'o'}, place) }

var totalKey = []byte{'t'}

// maxKey is the length of the longest key.
const maxKey = 1 + len(bft.ClientID{}) + 8

// number reads a number from the store; what is not there is 0.
func (m *machine) number(key []byte) uint64 {
	value, ok := m.store.Get(key)
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func (m *machine) setNumber(key []byte, n uint64) {
	m.store.Set(key, binary.BigEndian.AppendUint64(nil, n))
}

// Apply keeps a message and returns it with its number.
func (m *machine) Apply(ctx app.Context, text []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	number := m.number(lastKey(ctx.Client[:])) + 1
	place := m.number(totalKey) + 1
	key := messageKey(ctx.Client, number)
	m.store.Set(key, text)
	m.setNumber(lastKey(ctx.Client[:]), number)
	m.store.Set(orderKey(place), key)
	m.setNumber(totalKey, place)
	if place > m.most {
		m.drop(place - m.most)
	}
	return fmt.Appendf(nil, "%d %s", number, text)
}

// drop forgets the message of a place; and its client, if it was the last of that client.
func (m *machine) drop(place uint64) {
	key, _ := m.store.Get(orderKey(place))
	client, number := key[1:len(key)-8], binary.BigEndian.Uint64(key[len(key)-8:])
	if m.number(lastKey(client)) == number {
		m.store.Delete(lastKey(client))
	}
	m.store.Delete(key)
	m.store.Delete(orderKey(place))
}

// Validate refuses messages that are too long before they are ordered.
func (m *machine) Validate(text []byte) error {
	if len(text) > MaxText {
		return ErrTooLong
	}
	return nil
}

// Query lists messages of a client; see History.
func (m *machine) Query(_ context.Context, question []byte) ([]byte, error) {
	client, from, limit, err := decodeHistory(question)
	if err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var answer []byte
	for key, text := range m.store.Scan(messageKey(client, from), messageKey(client, math.MaxUint64)) {
		if limit == 0 {
			return append(answer, more...), nil
		}
		answer = appendMessage(answer, binary.BigEndian.Uint64(key[len(key)-8:]), text)
		limit--
	}
	return answer, nil
}

// Snapshot returns a handle on the present messages.
func (m *machine) Snapshot() (app.Snapshot, error) { return stored.Snapshot(m.store), nil }

// Restore replaces the messages by those of a snapshot.
func (m *machine) Restore(r io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return stored.Restore(m.store, r, maxKey, MaxText)
}
