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
//  2. keys has each key on a lease, as the keys' records say; lease.keys counts them.
//  3. clients counts the leases of each owner.
//  4. A record in the store whose lease has ended is a leftover: nobody sees it, for all is as if it had gone with its lease, and
//     snapshots leave it out. So many keys may end at once that removing them would hold up a batch. keys has it too; over counts
//     those of each ended lease, left all of them.
//  5. keys has at most MaxLeasedKeys: whoever puts a key on a lease removes a leftover.
type leases struct {
	last    uint64 // the number of the latest lease
	byID    *btreemap.BTreeMap[uint64, lease]
	ends    *btreemap.BTreeMap[ending, struct{}]
	keys    *btreemap.BTreeMap[leased, struct{}]
	clients map[bft.ClientID]int
	over    *btreemap.BTreeMap[uint64, int]
	left    int
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
		over:    btreemap.New[uint64, int](degree, cmp.Compare[uint64]),
	}
}

// put adds a lease.
func (ls *leases) put(id uint64, l lease) {
	ls.byID.ReplaceOrInsert(id, l)
	ls.ends.ReplaceOrInsert(ending{l.end, id}, struct{}{})
	ls.clients[l.owner]++
}

// drop removes a lease; keys that are on it stay as leftovers.
func (ls *leases) drop(id uint64, l lease) {
	if l.keys > 0 {
		ls.over.ReplaceOrInsert(id, l.keys)
		ls.left += l.keys
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

// attach puts a key on a lease that is there.
func (ls *leases) attach(id uint64, key []byte) {
	_, l, _ := ls.byID.Get(id)
	if _, _, there := ls.keys.ReplaceOrInsert(leased{id, string(key)}, struct{}{}); !there {
		l.keys++
		ls.byID.ReplaceOrInsert(id, l)
	}
}

// detach takes a key off its lease, which may have ended.
func (ls *leases) detach(id uint64, key string) {
	if _, _, there := ls.keys.Delete(leased{id, key}); !there {
		return
	}
	if _, l, live := ls.byID.Get(id); live {
		l.keys--
		ls.byID.ReplaceOrInsert(id, l)
		return
	}
	ls.left--
	if _, n, _ := ls.over.Get(id); n > 1 {
		ls.over.ReplaceOrInsert(id, n-1)
	} else {
		ls.over.Delete(id)
	}
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
	for _, key := range m.leases.keysOf(id, l.keys) {
		m.history.add(m.revision, kind, []byte(key), nil)
	}
	m.leases.drop(id, l)
}

// leftover tells whether a record is one: its key is not there.
func (m *machine) leftover(record []byte) bool {
	return m.leases.left > 0 && leaseOf(record) != 0 && !m.leases.byID.Has(leaseOf(record))
}

// sweep removes leftovers, at most so many.
func (m *machine) sweep(most int) {
	for most > 0 && m.leases.left > 0 {
		id, _, _ := m.leases.over.Min()
		keys := m.leases.keysOf(id, most)
		for _, key := range keys {
			m.store.Delete([]byte(key))
			m.leases.detach(id, key)
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
	if status == statusFound && (l.keys >= MaxLeaseKeys || m.leases.keys.Len()-m.leases.left >= MaxLeasedKeys) && !m.leases.keys.Has(leased{id, string(key)}) {
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
