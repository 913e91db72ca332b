package transport

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"
)

// evictAge is how long a handshake is safe from being closed in favour of a
// newer one: long enough for an honest one under load.
const evictAge = time.Second

// The two classes of remote addresses. Those of members have places of their
// own, so that a flood from elsewhere does not keep members apart.
const (
	strangers = iota
	memberAddrs
	classes
)

// door admits raw inbound connections, before any of their bytes is read, and
// counts them until they end. Every inbound connection holds a ticket.
type door struct {
	limits Limits

	mu      sync.Mutex
	strange *rate.Limiter                // of all strangers together
	rates   map[netip.Addr]*rate.Limiter // of each address of a member
	shaking [classes]*list.List          // *ticket, oldest first: hello not finished
	perIP   map[netip.Addr]int
	known   map[int]netip.Addr      // address each member was last seen at
	fixed   map[netip.Addr]struct{} // addresses of members as configured
	refused uint64
}

// ticket is one inbound connection's place. It serves libp2p as the scope of
// the connection, which is how we hear of the end of a failed handshake.
type ticket struct {
	network.NullScope
	door  *door
	conn  manet.Conn
	ip    netip.Addr // IPv6 by network
	class int
	born  time.Time

	// Under door.mu:
	place   *list.Element // nil once the hello is finished
	counted bool          // in perIP
}

func newDoor(limits Limits, members []Member) *door {
	d := &door{
		limits:  limits,
		strange: rate.NewLimiter(rate.Limit(limits.AcceptRate), limits.AcceptBurst),
		rates:   make(map[netip.Addr]*rate.Limiter),
		perIP:   make(map[netip.Addr]int),
		known:   make(map[int]netip.Addr),
		fixed:   make(map[netip.Addr]struct{}),
	}
	for i := range d.shaking {
		d.shaking[i] = list.New()
	}
	for _, m := range members {
		for _, s := range m.Addrs {
			if a, err := parseAddress(s); err == nil {
				if ip, err := netip.ParseAddr(a.host); err == nil {
					d.fixed[network64(ip)] = struct{}{}
				}
			}
		}
	}
	return d
}

// network64 is the unit by which remote addresses are counted: an IPv4 address or
// an IPv6 /64, all of which one machine usually owns.
func network64(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter gives a ticket to a connection just accepted, or refuses it.
func (d *door) enter(conn manet.Conn) (*ticket, bool) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, false
	}
	t := &ticket{door: d, conn: conn, ip: network64(tcp.AddrPort().Addr()), born: time.Now()}
	d.mu.Lock()
	t.class = d.classOf(t.ip)
	victim, ok := d.place(t)
	if !ok {
		d.refused++
	}
	d.mu.Unlock()
	if victim != nil {
		_ = victim.conn.Close() // the raw socket: does not block
	}
	return t, ok
}

// classOf tells whether members live at ip. Called with the lock held.
func (d *door) classOf(ip netip.Addr) int {
	if _, ok := d.fixed[ip]; ok {
		return memberAddrs
	}
	for _, known := range d.known {
		if known == ip {
			return memberAddrs
		}
	}
	return strangers
}

// rateOf returns the limiter that t falls under: one member's dials do not use up another's
// rate. Called with the lock held.
func (d *door) rateOf(t *ticket) *rate.Limiter {
	if t.class == strangers {
		return d.strange
	}
	l := d.rates[t.ip]
	if l == nil {
		if len(d.rates) > 2*(len(d.fixed)+len(d.known)) { // members moved
			clear(d.rates)
		}
		l = rate.NewLimiter(rate.Limit(d.limits.AcceptRate), d.limits.AcceptBurst)
		d.rates[t.ip] = l
	}
	return l
}

// place finds room for t, perhaps at the cost of a victim for the caller to
// close. Called with the lock held.
func (d *door) place(t *ticket) (victim *ticket, ok bool) {
	if !d.rateOf(t).Allow() || d.perIP[t.ip] >= d.limits.MaxConnsPerIP {
		return nil, false
	}
	shaking := d.shaking[t.class]
	if shaking.Len() >= d.limits.MaxHandshakes {
		victim = shaking.Front().Value.(*ticket)
		if t.born.Sub(victim.born) < evictAge {
			return nil, false
		}
		shaking.Remove(victim.place)
		victim.place = nil
	}
	t.place = shaking.PushBack(t)
	t.counted = true
	d.perIP[t.ip]++
	return victim, true
}

// leaveHandshake ends the handshake of t, whose hello was accepted. A member no longer counts
// against its address, and the address is known as a member's from now on.
func (d *door) leaveHandshake(t *ticket, member int, isMember bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.place != nil {
		d.shaking[t.class].Remove(t.place)
		t.place = nil
	}
	if isMember {
		d.known[member] = t.ip
		d.uncount(t)
	}
}

// uncount takes t out of perIP. Called with the lock held.
func (d *door) uncount(t *ticket) {
	if !t.counted {
		return
	}
	t.counted = false
	if d.perIP[t.ip]--; d.perIP[t.ip] == 0 {
		delete(d.perIP, t.ip)
	}
}

// Done gives the ticket back. libp2p calls it at the end of the connection,
// however early, and possibly more than once.
func (t *ticket) Done() {
	d := t.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.place != nil {
		d.shaking[t.class].Remove(t.place)
		t.place = nil
	}
	d.uncount(t)
}

// counts returns the handshakes under way and the connections refused so far.
func (d *door) counts() (handshakes int, refused uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.shaking {
		handshakes += l.Len()
	}
	return handshakes, d.refused
}

// gatedListener is the listener that libp2p upgrades connections from.
type gatedListener struct {
	manet.Listener
	door *door
}

// Accept returns the next connection that the door admits. Those it does not are
// reset, which leaves nothing behind in the kernel.
func (g *gatedListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, nil, err
		}
		if t, ok := g.door.enter(conn); ok {
			return conn, t, nil
		}
		if l, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = l.SetLinger(0)
		}
		_ = conn.Close()
	}
}
