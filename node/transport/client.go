package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/baluarte-bft/baluarte/crypto"
)

// clientReadBytes is the read buffer of a stream between client and replica.
const clientReadBytes = 16 << 10

// ClientConfig says who a Client is and whom it talks to. Key, Members and
// Receive are required.
type ClientConfig struct {
	Key     *crypto.PrivateKey
	Cluster crypto.Digest
	Members []Member
	// Receive gets each frame from a replica, on that replica's reader
	// goroutine: blocking it is back-pressure on that replica alone. The frame
	// belongs to the callee.
	Receive func(replica int, frame []byte)
	// State, if not nil, is told when a replica is connected, when it no
	// longer is, and when an attempt fails in a new way; one call at a time
	// for each replica.
	State  func(replica int, up bool, err error)
	Limits Limits
}

// Client keeps a stream to every replica. Its methods are safe for concurrent use.
type Client struct {
	ep     *endpoint
	links  []*link
	cancel context.CancelFunc
	close  sync.Once
}

// Dial starts connecting to all members and returns at once. It fails on a
// wrong configuration only; what the network does is told by State.
func Dial(cfg ClientConfig) (*Client, error) {
	if cfg.Key == nil || cfg.Receive == nil || len(cfg.Members) == 0 {
		return nil, errors.New("transport: a client needs Key, Members and Receive")
	}
	c, err := newClient(cfg, protocolVersion)
	if err != nil {
		return nil, err
	}
	c.connect()
	return c, nil
}

func (c *Client) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for _, l := range c.links {
		c.ep.wg.Go(func() { l.run(ctx) })
	}
}

func newClient(cfg ClientConfig, version uint16) (*Client, error) {
	limits, err := cfg.Limits.complete()
	if err != nil {
		return nil, err
	}
	if _, err := memberKeys(cfg.Members); err != nil {
		return nil, err
	}
	ep, err := newEndpoint(cfg.Key, cfg.Cluster, limits)
	if err != nil {
		return nil, err
	}
	ep.version = version
	c := &Client{ep: ep, cancel: func() {}}
	for i, m := range cfg.Members {
		l, err := newLink(ep, i, m, clientProtocol)
		if err != nil {
			return nil, err
		}
		l.onState = func(up bool, err error) {
			if cfg.State != nil {
				cfg.State(i, up, err)
			}
		}
		l.onFrame = func(frame []byte) { cfg.Receive(i, frame) }
		c.links = append(c.links, l)
	}
	return c, nil
}

// Send queues a frame for a replica and never blocks. It returns false, and
// the frame is dropped, if the queue is full, if the replica has not been
// connected for longer than Limits.HoldTimeout, or if the frame is empty or
// longer than Limits.MaxClientFrameBytes. True promises no delivery. The frame must not
// be changed afterwards.
func (c *Client) Send(replica int, frame []byte) bool {
	if replica < 0 || replica >= len(c.links) {
		return false
	}
	return c.links[replica].send(frame)
}

// Connected tells for each replica whether its stream is up.
func (c *Client) Connected() []bool {
	up := make([]bool, len(c.links))
	for i, l := range c.links {
		up[i], _ = l.state()
	}
	return up
}

// LastError returns why the replica is not connected; nil if it is.
func (c *Client) LastError(replica int) error {
	if replica < 0 || replica >= len(c.links) {
		return fmt.Errorf("transport: no replica %d", replica)
	}
	_, err := c.links[replica].state()
	return err
}

// Dropped returns how many frames for the replica were dropped so far.
func (c *Client) Dropped(replica int) uint64 {
	if replica < 0 || replica >= len(c.links) {
		return 0
	}
	_, _, dropped := c.links[replica].queue.usage()
	return dropped
}

// Close ends all connections; frames still queued are lost. It returns when no
// callback runs any more, so it must not be called from one, and a callback
// that blocks delays it.
func (c *Client) Close() {
	c.close.Do(c.cancel)
	c.ep.wg.Wait()
}
