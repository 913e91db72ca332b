package client

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// Frames by which a client learns who is active, see package node: a question with an empty body, and its answer, which
// comes again whenever it changes: 8 bytes, bit i set if that replica holds replica i for active.
const (
	membersRequest = 0x83
	membersAnswer  = 0x84
)

// fitness gathers whom the replicas hold for active. What one says is a hint: a replica is unfit to answer in full if
// f+1 say that it is not active, of which one at least is correct.
type fitness struct {
	mu   sync.Mutex
	need int // f+1
	all  uint64
	told []uint64 // by replica
	says uint64   // bit i: replica i is connected and has told
	fit  uint64
}

func newFitness(n, need int) *fitness {
	all := ^uint64(0) >> (64 - n)
	return &fitness{need: need, all: all, told: make([]uint64, n), fit: all}
}

// hear takes a frame of a replica; false if it changes nothing.
func (f *fitness) hear(replica int, frame []byte) bool {
	if len(frame) != 9 || frame[0] != membersAnswer {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[replica] = binary.BigEndian.Uint64(frame[1:]) & f.all
	f.says |= 1 << replica
	return f.judge()
}

// lost: what a replica told does not count any more when its connection is gone; false if that changes nothing.
func (f *fitness) lost(replica int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.says &^= 1 << replica
	return f.judge()
}

// judge counts anew. Called with the lock held.
func (f *fitness) judge() bool {
	fit := f.all
	for id := range f.told {
		silent := 0
		for says := f.says; says != 0; says &= says - 1 {
			if r := bits.TrailingZeros64(says); f.told[r]>>id&1 == 0 {
				silent++
			}
		}
		if silent >= f.need {
			fit &^= 1 << id
		}
	}
	changed := fit != f.fit
	f.fit = fit
	return changed
}

func (f *fitness) get() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fit
}

// members handles a frame by which a replica tells who is active.
func (c *Client) members(replica int, frame []byte) {
	if c.fitness.hear(replica, frame) {
		c.signal()
	}
}

// askMembers asks a replica that is connected now, and forgets what one said that is not.
func (c *Client) askMembers(replica int, up bool) {
	if !up {
		if c.fitness.lost(replica) {
			c.signal()
		}
		return
	}
	c.mu.Lock()
	net := c.net // set by now: connect holds the lock
	c.mu.Unlock()
	if len(c.manifest.Members) == 1 {
		return // a server without replicas has no members
	}
	net.Send(replica, []byte{membersRequest})
}

// Replier is the replica that is asked for results in full at present: by default the lowest that is connected, is not
// held for silent by f+1 replicas, and has not failed this client.
func (c *Client) Replier() int { return int(c.replier.Load()) }
