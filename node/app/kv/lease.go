package kv

import (
	"cmp"
	"strings"
	"time"

	"github.com/RaduBerinde/btreemap"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// Bounds of leases.
const (
	// MinTTL and MaxTTL bound the time to live of a lease.
	MinTTL = 100 * time.Millisecond
	MaxTTL = 24 * time.Hour
	// MaxLeases is how many leases there may be, MaxClientLeases how many of one client.
	MaxLeases       = 10_000
	MaxClientLeases = 1_000
	// MaxLeaseKeys is how many keys may be on one lease, MaxLeasedKeys on all together.
	MaxLeaseKeys  = 1_000
	MaxLeasedKeys = 50_000
)

// lease is a lease as it is kept. It is replaced, not changed, so that snapshots need no copies.
type lease struct {
	owner bft.ClientID
	ttl   time.Duration
	end   bft.Time // in agreed time
	keys  int
}

// leases has the leases that have not ended.
//
//  1. ends has each lease, by its end.
//  2. keys has each key on a lease, as the keys' records say; lease.keys counts them.
//  3. clients counts the leases of each owner.
type leases struct {
	last    uint64 // the number of the latest lease
	byID    *btreemap.BTreeMap[uint64, lease]
	ends    *btreemap.BTreeMap[ending, struct{}]
	keys    *btreemap.BTreeMap[leased, struct{}]
	clients map[bft.ClientID]int
}

type ending struct {
	at bft.Time
	id uint64
}

type leased struct {
	id  uint64
	key string
}

func newLeases() leases {
	const degree = 16
	return leases{
		byID: btreemap.New[uint64, lease](degree, cmp.Compare[uint64]),
		ends: btreemap.New[ending, struct{}](degree, func(a, b ending) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id))
		}),
		keys: btreemap.New[leased, struct{}](degree, func(a, b leased) int {
			return cmp.Or(cmp.Compare(a.id, b.id), strings.Compare(a.key, b.key))
		}),
		clients: make(map[bft.ClientID]int),
	}
}

// put adds a lease.
func (ls *leases) put(id uint64, l lease) {
	ls.byID.ReplaceOrInsert(id, l)
	ls.ends.ReplaceOrInsert(ending{l.end, id}, struct{}{})
	ls.clients[l.owner]++
}

// drop removes a lease without keys.
func (ls *leases) drop(id uint64, l lease) {
	ls.byID.Delete(id)
	ls.ends.Delete(ending{l.end, id})
	if ls.clients[l.owner]--; ls.clients[l.owner] == 0 {
		delete(ls.clients, l.owner)
	}
}

// attach puts a key on a lease that is there.
func (ls *leases) attach(id uint64, key []byte) {
	_, l, _ := ls.byID.Get(id)
	if _, _, there := ls.keys.ReplaceOrInsert(leased{id, string(key)}, struct{}{}); !there {
		l.keys++
		ls.byID.ReplaceOrInsert(id, l)
	}
}

// detach takes a key off its lease.
func (ls *leases) detach(id uint64, key []byte) {
	_, l, _ := ls.byID.Get(id)
	if _, _, there := ls.keys.Delete(leased{id, string(key)}); there {
		l.keys--
		ls.byID.ReplaceOrInsert(id, l)
	}
}

// keysOf returns the keys on a lease, in order.
func (ls *leases) keysOf(id uint64) (keys []string) {
	for k := range ls.keys.Ascend(btreemap.GE(leased{id, ""}), btreemap.LT(leased{id + 1, ""})) {
		keys = append(keys, k.key)
	}
	return keys
}

// expire ends the leases whose time is over.
func (m *machine) expire(now bft.Time) {
	for m.leases.ends.Len() > 0 {
		e, _, _ := m.leases.ends.Min()
		if e.at > now {
			return
		}
		m.end(e.id, Expired)
		m.history.trim() // what ends at once may be much
	}
}

// end ends a lease; its keys go at once, in one revision.
func (m *machine) end(id uint64, kind ChangeKind) {
	keys := m.leases.keysOf(id)
	if len(keys) > 0 {
		m.revision++
	}
	for _, key := range keys {
		m.remove([]byte(key), kind)
	}
	_, l, _ := m.leases.byID.Get(id)
	m.leases.drop(id, l)
}

// owned returns a lease of the client, or the status that says why not.
func (m *machine) owned(client bft.ClientID, id uint64) (lease, byte) {
	_, l, ok := m.leases.byID.Get(id)
	switch {
	case !ok:
		return lease{}, statusNoLease
	case l.owner != client:
		return lease{}, statusNotOwner
	}
	return l, statusFound
}

// mayAttach tells whether the client may put the key on the lease: statusFound, or why not.
func (m *machine) mayAttach(client bft.ClientID, key []byte, id uint64) byte {
	l, status := m.owned(client, id)
	if status == statusFound && (l.keys >= MaxLeaseKeys || m.leases.keys.Len() >= MaxLeasedKeys) && !m.leases.keys.Has(leased{id, string(key)}) {
		return statusQuota
	}
	return status
}

func (m *machine) grant(ctx *app.Context, ttl time.Duration) []byte {
	ls := &m.leases
	if ls.byID.Len() >= MaxLeases || ls.clients[ctx.Client] >= MaxClientLeases {
		return []byte{statusQuota}
	}
	ls.last++
	l := lease{owner: ctx.Client, ttl: ttl, end: ctx.Nanos() + bft.Time(ttl)}
	ls.put(ls.last, l)
	return appendLease([]byte{statusFound}, ls.last, l)
}

func (m *machine) keepAlive(ctx *app.Context, id uint64) []byte {
	l, status := m.owned(ctx.Client, id)
	if status != statusFound {
		return []byte{status}
	}
	m.leases.drop(id, l)
	l.end = ctx.Nanos() + bft.Time(l.ttl)
	m.leases.put(id, l)
	return appendLease([]byte{statusFound}, id, l)
}

func (m *machine) revoke(client bft.ClientID, id uint64) []byte {
	if _, status := m.owned(client, id); status != statusFound {
		return []byte{status}
	}
	m.end(id, Deleted)
	return nil
}

// listLeases returns a page of the leases above a number, in order.
func (m *machine) listLeases(o *operation) []byte {
	head := []byte{statusFound, 0}
	var list []byte
	items := 0
	for id, l := range m.leases.byID.Ascend(btreemap.GT(o.number), btreemap.Max[uint64]()) {
		if items == o.items {
			head[1] = 1
			break
		}
		list = appendLease(list, id, l)
		items++
	}
	return append(head, list...)
}

func appendLease(b []byte, id uint64, l lease) []byte {
	b = appendNumbers(b, id, uint64(l.ttl), uint64(l.end), uint64(l.keys))
	return append(b, l.owner[:]...)
}
