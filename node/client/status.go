package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
)

// Frames that replicas and clients exchange beside the protocol, see package node: a question with
// an empty body, and its answer in JSON.
const (
	hostFrames    = 0x80 // and above
	statusRequest = 0x80
	statusAnswer  = 0x81
)

// ReplicaStatus is what a replica says of itself. Nothing in it is proven.
type ReplicaStatus struct {
	ID   int
	Name string
	// Report is a JSON object, or nil if there is none.
	Report json.RawMessage
	// Err says why there is no report.
	Err error
}

var (
	errNoReport  = errors.New("connected, but it has not answered in time")
	errBadReport = errors.New("it answered with something that is not JSON")
)

// statusBoard holds the questions for status that wait for answers.
type statusBoard struct {
	mu   sync.Mutex
	asks []*statusAsk
}

type statusAsk struct {
	reports []json.RawMessage
	waiting []bool
	left    int
	done    chan struct{}
}

// Status asks every replica that is connected how it is, and returns once all have answered or
// ctx has ended: one entry for each replica, with what is known.
func (c *Client) Status(ctx context.Context) []ReplicaStatus {
	n := len(c.manifest.Members)
	ask := &statusAsk{reports: make([]json.RawMessage, n), waiting: make([]bool, n), done: make(chan struct{})}
	up := c.net.Connected()
	for i := range up {
		if ask.waiting[i] = up[i]; up[i] {
			ask.left++
		}
	}
	if ask.left > 0 {
		c.status.add(ask)
		for i := range up {
			if up[i] {
				c.net.Send(i, []byte{statusRequest})
			}
		}
		select {
		case <-ask.done:
		case <-ctx.Done():
		case <-c.closing:
		}
		c.status.remove(ask)
	}
	out := make([]ReplicaStatus, n)
	for i := range out {
		out[i] = ReplicaStatus{ID: i, Name: c.manifest.Members[i].Name, Report: ask.reports[i]}
		switch {
		case ask.reports[i] == nil:
			if out[i].Err = c.net.LastError(i); out[i].Err == nil {
				out[i].Err = errNoReport
			}
		case !json.Valid(ask.reports[i]):
			out[i].Report, out[i].Err = nil, errBadReport
		}
	}
	return out
}

func (b *statusBoard) add(ask *statusAsk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asks = append(b.asks, ask)
}

// remove ends the question: what comes later does not change it any more.
func (b *statusBoard) remove(ask *statusAsk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.asks {
		if b.asks[i] == ask {
			b.asks = append(b.asks[:i], b.asks[i+1:]...)
			return
		}
	}
}

// receive gives a report to all who wait for one. Of an empty one nothing is known.
func (b *statusBoard) receive(replica int, frame []byte) {
	if frame[0] == statusAnswer && len(frame) > 1 {
		b.settle(replica, frame[1:])
	}
}

// lost: a replica that is not connected any more will not answer.
func (b *statusBoard) lost(replica int) { b.settle(replica, nil) }

func (b *statusBoard) settle(replica int, report []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ask := range b.asks {
		if !ask.waiting[replica] {
			continue
		}
		ask.waiting[replica], ask.reports[replica] = false, report
		if ask.left--; ask.left == 0 {
			close(ask.done)
		}
	}
}
