package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

// watchBeat is the time after which a watch in which nothing happens shows that it lives, and finds out whether its
// reader does.
const watchBeat = 15 * time.Second

// kvWatch sends changes as server-sent events, until the reader goes away or the gateway ends. The id of an event says how
// far the reader is: the revision, and how many of its changes. A reader that comes back with it in Last-Event-ID misses nothing,
// and gets nothing twice, through whichever gateway.
func kvWatch(c *call) (any, error) {
	from, err := c.number("from", 0, 1<<62, 0)
	if err != nil {
		return nil, err
	}
	prefix := []byte(c.query.Get("prefix"))
	if len(prefix) > kv.MaxKey {
		return nil, badRequest("prefix has at most %d bytes, as keys do", kv.MaxKey)
	}
	w := &watching{c: c, revision: uint64(from)}
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		if err := w.resume(id); err != nil {
			return nil, err
		}
	}
	if err := w.kept(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	w.cancel = cancel
	events := make(chan event)
	go func() {
		err := kvclient.Watch(ctx, kvCluster{c.cluster()}, prefix, w.revision, func(change kv.Change) error {
			return w.offer(ctx, events, event{change: change})
		}, kvclient.Started(func(from uint64) { _ = w.offer(ctx, events, event{start: from}) })) // an error ends the watch itself
		w.ended = err
		close(events)
	}()
	return nil, w.send(events)
}

// event is a change, or the start.
type event struct {
	start  uint64
	change kv.Change
}

// watching is a watch that is being served.
type watching struct {
	c        *call
	cancel   context.CancelCauseFunc
	revision uint64 // of the last change that the reader has
	skip     uint64 // changes of it that the reader has
	sent     uint64 // changes of it that have passed
	ended    error  // set before events is closed
}

// kept fails if changes are asked for that are not kept any more, or the cluster does not answer, while that can still be
// told by the status.
func (w *watching) kept() error {
	ctx, cancel := w.c.part()
	defer cancel()
	result, err := kvclient.Ask(ctx, kvCluster{w.c.cluster()}, kv.Revision())
	if err != nil {
		return callFailed(err, true)
	}
	head, err := kv.DecodeRevision(result)
	switch {
	case err != nil:
		return malformed(err)
	case w.revision > 0 && w.revision < head.Oldest:
		return compacted(head.Oldest)
	}
	return nil
}

func compacted(from uint64) *Error {
	e := fail(http.StatusGone, "compacted", "changes before revision %d are no longer kept: read the keys, then go on from there", from)
	e.Details = map[string]any{"from": from}
	return e
}

// resume reads the id of the last event that the reader has.
func (w *watching) resume(id string) error {
	revision, count, _ := strings.Cut(id, ".")
	r, err1 := strconv.ParseUint(revision, 10, 62)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if err1 != nil || err2 != nil || r == 0 && n > 0 {
		return badRequest("Last-Event-ID is %q: it must be that of an event", id)
	}
	w.revision, w.skip = r, n
	if n == 0 {
		w.revision++ // everything of it has come
	}
	return nil
}

func (w *watching) offer(ctx context.Context, events chan<- event, e event) error {
	select {
	case events <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send writes events until there are no more.
func (w *watching) send(events <-chan event) error {
	c := w.c
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, more := <-events:
			if !more {
				return w.end()
			}
			err = w.write(&e)
		case <-beat.C:
			err = w.text(":\n\n")
		case <-c.g.ending:
			w.cancel(nil)
			for range events { // until the watch has ended
			}
			return nil
		}
		if err != nil { // the reader is gone, or too slow
			w.cancel(err)
			for range events {
			}
			return nil
		}
	}
}

// end says why a watch has ended, as an error if nothing was sent, else as the last event.
func (w *watching) end() error {
	if w.c.r.Context().Err() != nil {
		return nil
	}
	e := callFailed(w.ended, true)
	var late *kvclient.CompactedError
	if errors.As(w.ended, &late) {
		e = compacted(late.From)
	}
	if !w.c.w.written() {
		return e
	}
	w.fail(e)
	return nil
}

// fail sends an error as the last event.
func (w *watching) fail(e *Error) {
	text, err := json.Marshal(map[string]*Error{"error": e})
	if err != nil {
		panic(fmt.Errorf("gateway: an error: %w", err))
	}
	_ = w.text(fmt.Sprintf("event: error\ndata: %s\n\n", text)) // the reader may be gone
}

func (w *watching) write(e *event) error {
	if e.start > 0 {
		return w.text(fmt.Sprintf("id: %d.0\nevent: start\ndata: {\"from\":%d}\n\n", e.start-1, e.start))
	}
	if e.change.Revision != w.revision {
		w.revision, w.sent, w.skip = e.change.Revision, 0, 0
	}
	if w.sent++; w.sent <= w.skip {
		return nil
	}
	text, err := json.Marshal(changeObject(&e.change))
	if err != nil {
		return err
	}
	if len(text) > smallAnswer { // until the reader has taken it
		if err := w.c.reserve(int64(len(text))); err != nil {
			w.fail(err)
			return err
		}
		defer w.c.release()
	}
	return w.text(fmt.Sprintf("id: %d.%d\nevent: %s\ndata: %s\n\n", e.change.Revision, w.sent, e.change.Kind, text))
}

// text sends a piece at once.
func (w *watching) text(s string) error {
	c := w.c
	if !c.w.written() {
		h := c.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
	}
	c.deadlines(0, time.Duration(c.g.limits.WriteTime))
	if _, err := c.w.Write([]byte(s)); err != nil {
		return err
	}
	return c.control.Flush()
}

// kvCluster is the service kv of a cluster, as kvclient calls it.
type kvCluster struct{ c Cluster }

// Invoke has an operation executed.
func (k kvCluster) Invoke(ctx context.Context, op []byte) ([]byte, error) {
	out, err := k.c.Invoke(ctx, Operation{Service: "kv", Op: op})
	return out.Value, err
}

// Query asks a question.
func (k kvCluster) Query(ctx context.Context, q []byte, mode client.Consistency) ([]byte, error) {
	return k.c.Query(ctx, "kv", q, mode)
}
