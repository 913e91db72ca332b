package transport

import (
	"fmt"
	"time"
)

// Limits bounds what one [Server] or [Client] uses and how long it waits. A
// field left zero takes the value of [DefaultLimits].
type Limits struct {
	// MaxFrameBytes is the longest frame between replicas, and from a replica
	// to a client. Default 4 MiB.
	MaxFrameBytes int
	// MaxClientFrameBytes is the longest frame from a client to a replica.
	// Default 2 MiB.
	MaxClientFrameBytes int

	// PeerQueueBytes and PeerQueueFrames bound the frames waiting for one
	// replica, beyond which they are dropped; each frame counts 64 bytes more than its
	// length. Defaults 64 MiB and 65,536.
	PeerQueueBytes  int
	PeerQueueFrames int
	// ClientQueueBytes and ClientQueueFrames bound the same between a client
	// and one replica, at both ends. Defaults 8 MiB and 8,192.
	ClientQueueBytes  int
	ClientQueueFrames int
	// HoldTimeout is how long frames for a replica that is not connected are
	// kept for the next connection; later they are dropped at once, because
	// the protocol will have moved on. Default 1 s.
	HoldTimeout time.Duration

	// WriteTimeout is how long one flush may take before the stream is given
	// up as too slow. The last quarter may be cut, because deadlines are renewed lazily.
	// Default 5 s.
	WriteTimeout time.Duration
	// FrameTimeout is how long a frame may take to arrive once its length has.
	// Default 30 s.
	FrameTimeout time.Duration
	// KeepAlive is how long an end writes nothing before it writes a sign of life. One that is not heard
	// of for KeepAlive and twice WriteTimeout is taken for dead, so all ends should have the same. Default 5 s.
	KeepAlive time.Duration
	// DialTimeout bounds one attempt on one address, handshake included.
	// Default 5 s.
	DialTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake of an inbound connection.
	// Default 5 s.
	HandshakeTimeout time.Duration
	// HelloTimeout bounds the opening of the stream and the exchange of
	// hellos, at both ends. Default 5 s.
	HelloTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the wait between two attempts, which
	// doubles with each failure and is jittered down to a half. A connection
	// that lived for ReconnectMax resets it. Defaults 50 ms and 2 s.
	ReconnectMin time.Duration
	ReconnectMax time.Duration

	// MaxClients bounds the client connections of a server. Default 1,024.
	MaxClients int
	// MaxConnsPerKey bounds the connections of one client key; one more closes
	// the oldest, which is most likely a dead one. Default 4.
	MaxConnsPerKey int
	// MaxConnsPerIP bounds the inbound connections from one IPv4 address or
	// IPv6 /64 network, members excepted once they have shown who they are.
	// The default, 2,048, lets all clients come from one machine; lower it
	// where they do not.
	MaxConnsPerIP int
	// MaxHandshakes bounds the inbound connections that have not yet finished
	// their hello, separately for the addresses of members and for all others. One more
	// closes the oldest if that is older than a second, else is refused.
	// Default 1,024.
	MaxHandshakes int
	// AcceptRate and AcceptBurst bound the new inbound connections a second,
	// for each address of a member and for all others together; those above
	// are closed at once. Defaults 500 and 2,048.
	AcceptRate  int
	AcceptBurst int
}

// DefaultLimits returns the documented defaults.
func DefaultLimits() Limits {
	return Limits{
		MaxFrameBytes:       4 << 20,
		MaxClientFrameBytes: 2 << 20,
		PeerQueueBytes:      64 << 20,
		PeerQueueFrames:     1 << 16,
		ClientQueueBytes:    8 << 20,
		ClientQueueFrames:   1 << 13,
		HoldTimeout:         time.Second,
		WriteTimeout:        5 * time.Second,
		FrameTimeout:        30 * time.Second,
		KeepAlive:           5 * time.Second,
		DialTimeout:         5 * time.Second,
		HandshakeTimeout:    5 * time.Second,
		HelloTimeout:        5 * time.Second,
		ReconnectMin:        50 * time.Millisecond,
		ReconnectMax:        2 * time.Second,
		MaxClients:          1024,
		MaxConnsPerKey:      4,
		MaxConnsPerIP:       2048,
		MaxHandshakes:       1024,
		AcceptRate:          500,
		AcceptBurst:         2048,
	}
}

// maxFrameCap keeps sums of lengths far from overflow.
const maxFrameCap = 1 << 30

// complete fills in the defaults and checks the fields against each other.
func (l Limits) complete() (Limits, error) {
	def := DefaultLimits()
	for _, f := range []struct {
		name   string
		v, def *int
		min    int
	}{
		{"MaxFrameBytes", &l.MaxFrameBytes, &def.MaxFrameBytes, 1},
		{"MaxClientFrameBytes", &l.MaxClientFrameBytes, &def.MaxClientFrameBytes, 1},
		{"PeerQueueBytes", &l.PeerQueueBytes, &def.PeerQueueBytes, 1},
		{"PeerQueueFrames", &l.PeerQueueFrames, &def.PeerQueueFrames, 1},
		{"ClientQueueBytes", &l.ClientQueueBytes, &def.ClientQueueBytes, 1},
		{"ClientQueueFrames", &l.ClientQueueFrames, &def.ClientQueueFrames, 1},
		{"MaxClients", &l.MaxClients, &def.MaxClients, 1},
		{"MaxConnsPerKey", &l.MaxConnsPerKey, &def.MaxConnsPerKey, 1},
		{"MaxConnsPerIP", &l.MaxConnsPerIP, &def.MaxConnsPerIP, 1},
		{"MaxHandshakes", &l.MaxHandshakes, &def.MaxHandshakes, 1},
		{"AcceptRate", &l.AcceptRate, &def.AcceptRate, 1},
		{"AcceptBurst", &l.AcceptBurst, &def.AcceptBurst, 1},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
		if *f.v < f.min || *f.v > maxFrameCap {
			return l, fmt.Errorf("transport: limit %s is %d, want %d to %d", f.name, *f.v, f.min, maxFrameCap)
		}
	}
	for _, f := range []struct {
		name   string
		v, def *time.Duration
	}{
		{"HoldTimeout", &l.HoldTimeout, &def.HoldTimeout},
		{"WriteTimeout", &l.WriteTimeout, &def.WriteTimeout},
		{"FrameTimeout", &l.FrameTimeout, &def.FrameTimeout},
		{"KeepAlive", &l.KeepAlive, &def.KeepAlive},
		{"DialTimeout", &l.DialTimeout, &def.DialTimeout},
		{"HandshakeTimeout", &l.HandshakeTimeout, &def.HandshakeTimeout},
		{"HelloTimeout", &l.HelloTimeout, &def.HelloTimeout},
		{"ReconnectMin", &l.ReconnectMin, &def.ReconnectMin},
		{"ReconnectMax", &l.ReconnectMax, &def.ReconnectMax},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
		if *f.v < 0 {
			return l, fmt.Errorf("transport: limit %s is negative", f.name)
		}
	}
	return l, l.check()
}

// check rejects limits that contradict each other.
func (l Limits) check() error {
	switch {
	case l.ReconnectMin > l.ReconnectMax:
		return fmt.Errorf("transport: ReconnectMin %v exceeds ReconnectMax %v", l.ReconnectMin, l.ReconnectMax)
	case l.PeerQueueBytes < l.MaxFrameBytes+frameOverhead:
		return fmt.Errorf("transport: PeerQueueBytes %d holds no frame of MaxFrameBytes %d", l.PeerQueueBytes, l.MaxFrameBytes)
	case l.ClientQueueBytes < max(l.MaxFrameBytes, l.MaxClientFrameBytes)+frameOverhead:
		return fmt.Errorf("transport: ClientQueueBytes %d holds no frame of %d",
			l.ClientQueueBytes, max(l.MaxFrameBytes, l.MaxClientFrameBytes))
	}
	return nil
}
