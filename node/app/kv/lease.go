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

// sweepEach is how many leftovers the first operation of a batch removes from the store. When they go makes no difference that
// could be observed.
const sweepEach = 1000

// leases has the leases that have not ended, and what those that have ended left behind.
//
//  1. ends has each lease, by its end.
//  2. keys has each key on a lease, as the keys' records say; lease.keys counts them. byKey has the same keys, each with its lease.
//  3. clients counts the leases of each owner.
//  4. A record in the store whose lease has ended is a leftover: so many keys may end at once that removing them would hold up a
//     batch. It lies where only its lease leads to, see appendPlace, so that nobody sees it nor passes over it, and snapshots do
//     not have it. keys has it too, byKey does not; over has its lease.
//  5. keys has at most MaxLeasedKeys: whoever puts a key on a lease removes a leftover.
type leases struct {
	last    uint64 // the number of the latest lease
	byID    *btreemap.BTreeMap[uint64, lease]
	ends    *btreemap.BTreeMap[ending, struct{}]
	keys    *btreemap.BTreeMap[leased, struct{}]
	byKey   *btreemap.BTreeMap[string, uint64]
	clients map[bft.ClientID]int
	over    *btreemap.BTreeMap[uint64, struct{}]
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
		byKey:   btreemap.New[string, uint64](degree, strings.Compare),
		clients: make(map[bft.ClientID]int),
		over:    btreemap.New[uint64, struct{}](degree, cmp.Compare[uint64]),
	}
}

// put adds a lease.
func (ls *leases) put(id uint64, l lease) {
	ls.byID.ReplaceOrInsert(id, l)
	ls.ends.ReplaceOrInsert(ending{l.end, id}, struct{}{})
	ls.clients[l.owner]++
}

// drop removes a lease; keys that are on it, which are given, stay as leftovers.
func (ls *leases) drop(id uint64, l lease, keys []string) {
	for _, key := range keys {
		ls.byKey.Delete(key)
	}
	if len(keys) > 0 {
		ls.over.ReplaceOrInsert(id, struct{}{})
	}
	ls.take(id, l)
}

// take removes a lease that is put there again, with its keys.
func (ls *leases) take(id uint64, l lease) {
	ls.byID.Delete(id)
	ls.ends.Delete(ending{l.end, id})
	if ls.clients[l.owner]--; ls.clients[l.owner] == 0 {
		delete(ls.clients, l.owner)
	}
}

// of returns the lease of a key, 0 if it is on none.
func (ls *leases) of(key []byte) uint64 {
	if ls.byKey.Len() == 0 {
		return 0
	}
	_, id, _ := ls.byKey.Get(string(key))
	return id
}

// hold notes that a key is on a lease.
func (ls *leases) hold(id uint64, key string) {
	ls.keys.ReplaceOrInsert(leased{id, key}, struct{}{})
	ls.byKey.ReplaceOrInsert(key, id)
}

// attach puts a key that is on no lease on one that is there.
func (ls *leases) attach(id uint64, key []byte) {
	ls.hold(id, string(key))
	ls.count(id, 1)
}

// detach takes a key off the lease that it is on.
func (ls *leases) detach(id uint64, key []byte) {
	ls.keys.Delete(leased{id, string(key)})
	ls.byKey.Delete(string(key))
	ls.count(id, -1)
}

func (ls *leases) count(id uint64, more int) {
	_, l, _ := ls.byID.Get(id)
	l.keys += more
	ls.byID.ReplaceOrInsert(id, l)
}

// keysOf returns the first keys on a lease, in order, at most so many.
func (ls *leases) keysOf(id uint64, most int) (keys []string) {
	for k := range ls.keys.Ascend(btreemap.GE(leased{id, ""}), btreemap.LT(leased{id + 1, ""})) {
		if len(keys) == most {
			break
		}
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
	_, l, _ := m.leases.byID.Get(id)
	if l.keys > 0 {
		m.revision++
	}
	keys := m.leases.keysOf(id, l.keys)
	for _, key := range keys {
		m.history.add(m.revision, kind, []byte(key), nil)
	}
	m.leases.drop(id, l, keys)
}

// sweep removes leftovers, at most so many.
func (m *machine) sweep(most int) {
	for n := m.leases.over.Len(); n > 0 && most > 0; n-- { // each of them once
		id, _, _ := m.leases.over.Min()
		keys := m.leases.keysOf(id, most)
		for _, key := range keys {
			m.erase([]byte(key), id)
			m.leases.keys.Delete(leased{id, key})
		}
		if len(keys) < most {
			m.leases.over.Delete(id)
		}
		most -= len(keys)
	}
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
	if status == statusFound && (l.keys >= MaxLeaseKeys || m.leases.byKey.Len() >= MaxLeasedKeys) && !m.leases.keys.Has(leased{id, string(key)}) {
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
	m.leases.take(id, l)
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
