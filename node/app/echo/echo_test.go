package echo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
	"github.com/baluarte-bft/baluarte/node/app/echo"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

func start(t rapid.TB, factory app.Factory) app.StateMachine {
	m, err := factory(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// from is the context of an operation of a client.
func from(client byte) app.Context { return app.Context{Client: bft.ClientID{client}} }

// history asks for all messages of a client, page by page.
func history(t rapid.TB, m app.StateMachine, client byte, first uint64, limit int) (all []echo.Message) {
	for {
		answer, err := m.Query(context.Background(), echo.History(bft.ClientID{client}, first, limit))
		if err != nil {
			t.Fatal(err)
		}
		page, err := echo.DecodeHistory(answer)
		if err != nil || len(page.Messages) > limit {
			t.Fatalf("page of %d: %d messages, %v", limit, len(page.Messages), err)
		}
		all = append(all, page.Messages...)
		if !page.More {
			return all
		}
		first = all[len(all)-1].Number + 1
	}
}

func TestEchoKeepsThePromisesOfAService(t *testing.T) {
	ops := apptest.Generate(1, 300, func(r *rand.Rand) []byte {
		return echo.Send(strings.Repeat("é", r.IntN(20)))
	})
	queries := apptest.Queries(echo.History(bft.ClientID{}, 0, 7), echo.History(bft.ClientID{1}, 3, 0), []byte("nonsense"))
	for name, factory := range map[string]app.Factory{"all are kept": echo.New, "ten are kept": echo.Keeping(10)} {
		t.Run(name, func(t *testing.T) { apptest.Check(t, factory, ops, queries) })
	}
}

// TestEchoBehavesLikeAList compares the service with a list of the last messages.
func TestEchoBehavesLikeAList(t *testing.T) {
	type entry struct {
		client byte
		echo.Message
	}
	rapid.Check(t, func(t *rapid.T) {
		const most = 5
		m := start(t, echo.Keeping(most))
		var kept []entry
		of := func(client byte) (list []echo.Message) {
			for _, e := range kept {
				if e.client == client {
					list = append(list, e.Message)
				}
			}
			return list
		}
		for range rapid.IntRange(1, 30).Draw(t, "messages") {
			client := rapid.ByteRange(0, 2).Draw(t, "client")
			want := echo.Message{Number: 1, Text: rapid.StringN(0, 8, -1).Draw(t, "text")}
			if list := of(client); len(list) > 0 {
				want.Number = list[len(list)-1].Number + 1
			}
			got, err := echo.DecodeSend(m.Apply(from(client), echo.Send(want.Text)))
			if err != nil || got != want {
				t.Fatalf("sent %+v: %+v, %v", want, got, err)
			}
			kept = append(kept, entry{client, want})
			kept = kept[max(0, len(kept)-most):]
			for c := range byte(3) {
				want := of(c)
				if got := history(t, m, c, 0, rapid.IntRange(1, 4).Draw(t, "page")); !slices.Equal(got, want) {
					t.Fatalf("history of %d: %+v, want %+v", c, got, want)
				}
			}
		}
	})
}

// TestNumbersBeginAnew: what the history of a client was is no part of the state any more once
// others have pushed it out, so that the state is bounded also in the number of clients.
func TestNumbersBeginAnew(t *testing.T) {
	store := memstore.New()
	m, err := echo.Keeping(10)(store)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for i := range 100 {
		if result := m.Apply(from(byte(i)), echo.Send("x")); string(result) != "1 x" {
			t.Fatalf("message %d: %q", i, result)
		}
		if i == 10 {
			size = store.Len()
		}
	}
	if store.Len() != size || size != 31 {
		t.Errorf("after 11 clients the store has %d keys, after 100 it has %d", size, store.Len())
	}
}

func TestHistoryBeginsWhereItIsAsked(t *testing.T) {
	m := start(t, echo.New)
	for i := range 2 * echo.MaxPage {
		m.Apply(from(7), echo.Send(fmt.Sprint(i+1)))
	}
	got := history(t, m, 7, 150, 20)
	if len(got) != 51 || got[0] != (echo.Message{Number: 150, Text: "150"}) {
		t.Errorf("from 150: %d messages, %v", len(got), got)
	}
	for _, limit := range []int{0, -1, echo.MaxPage + 1} {
		answer, err := m.Query(context.Background(), echo.History(bft.ClientID{7}, 0, limit))
		if p, err2 := echo.DecodeHistory(answer); err != nil || err2 != nil || len(p.Messages) != echo.MaxPage || !p.More {
			t.Errorf("limit %d: %d messages, more %t, %v, %v", limit, len(p.Messages), p.More, err, err2)
		}
	}
	if got := history(t, m, 7, 2*echo.MaxPage+1, 20); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
}

func TestLongMessagesAreRefused(t *testing.T) {
	v := start(t, echo.New).(app.Validator)
	if err := v.Validate(make([]byte, echo.MaxText)); err != nil {
		t.Errorf("the longest: %v", err)
	}
	if err := v.Validate(make([]byte, echo.MaxText+1)); !errors.Is(err, echo.ErrTooLong) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestWhatIsNoQuestionOrAnswerIsRefused(t *testing.T) {
	m, key := start(t, echo.New), bft.ClientID{}.String()
	for _, q := range []string{"", "history", "history " + key, "history " + key + " 1 0", "history " + key + " 1 101", "history " + key + " -1 1",
		"history " + key + "  1 1", "history " + key[2:] + " 1 1", "history " + key + " 1 1 1", "past " + key + " 1 1", "history " + strings.Repeat("x", 64) + " 1 1"} {
		if answer, err := m.Query(context.Background(), []byte(q)); !errors.Is(err, echo.ErrBadQuestion) {
			t.Errorf("%q: %q, %v", q, answer, err)
		}
	}
	for _, answer := range []string{"x", "1\n", "1 x\n", "0 \"x\"\n", "1 'x'\n", "1 \"x\"\n\n", "more\n", "1 \"x\nmore\n"} {
		if p, err := echo.DecodeHistory([]byte(answer)); err == nil {
			t.Errorf("%q: %+v", answer, p)
		}
	}
	for _, result := range []string{"", "1", "x y", "0 x", "-1 x"} {
		if got, err := echo.DecodeSend([]byte(result)); err == nil {
			t.Errorf("%q: %+v", result, got)
		}
	}
}

func TestEchoNeedsAStore(t *testing.T) {
	if _, err := echo.New(nil); err == nil {
		t.Error("it works without a store")
	}
}

func TestUnderFaults(t *testing.T) {
	texts := []string{"one", "two\nlines", "drei", ""}
	send := func(r *rand.Rand, _ int) []byte {
		if r.IntN(20) == 0 {
			return make([]byte, echo.MaxText+1)
		}
		return echo.Send(texts[r.IntN(len(texts))])
	}
	ask := func(*rand.Rand, int) []byte { return []byte("whoever") }
	var asked, messages atomic.Int64
	check := func(op, result []byte, read bool) error {
		if read {
			page, err := echo.DecodeHistory(result)
			asked.Add(1)
			messages.Add(int64(len(page.Messages)))
			return err
		}
		if m, err := echo.DecodeSend(result); err != nil || m.Text != string(op) {
			return fmt.Errorf("sent %q, but %q came back: %v", op, result, err)
		}
		return nil
	}
	t.Cleanup(func() {
		// A run of one seed may ask too early, or nothing.
		if asked.Load() > 100 && messages.Load() == 0 {
			t.Errorf("of %d histories none had a message", asked.Load())
		}
	})
	simtest.Run(t, echo.Nosy(25), 20, simtest.Operations(send), simtest.Queries(ask), simtest.Results(check))
}

func FuzzEcho(f *testing.F) {
	for _, b := range []string{"", "hello", "two\nlines", "\xff\x00\"", "1 \"a\"\n2 \"b\"\nmore\n", "1 x", string(echo.History(bft.ClientID{}, 1, 5))} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := start(t, echo.New)
		if m.(app.Validator).Validate(b) == nil {
			result, err := echo.DecodeSend(m.Apply(from(1), bytes.Clone(b)))
			if want := (echo.Message{Number: 1, Text: string(b)}); err != nil || result != want {
				t.Errorf("%q: %+v, %v", b, result, err)
			}
			if got := history(t, m, 1, 0, 1); len(got) != 1 || got[0].Text != string(b) {
				t.Errorf("history after %q: %+v", b, got)
			}
		}
		m.Query(context.Background(), b)
		echo.DecodeSend(b)
		echo.DecodeHistory(b)
		m.Restore(bytes.NewReader(b))
	})
}
