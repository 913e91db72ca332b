package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

func leaseObject(l *kv.Lease) map[string]any {
	return map[string]any{"lease": l.ID, "ttl": l.TTL.String(), "ends": l.Ends, "keys": l.Keys, "client": l.Owner}
}

// ttl reads a time to live.
func ttl(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < kv.MinTTL || d > kv.MaxTTL {
		return 0, badRequest("ttl is %q: it must be a time such as 10s, from %v to %v", text, kv.MinTTL, kv.MaxTTL)
	}
	return d, nil
}

// lease is the lease in the path.
func (c *call) lease() (uint64, error) {
	id, err := strconv.ParseUint(c.r.PathValue("lease"), 10, 62)
	if err != nil || id == 0 {
		return 0, badRequest("%q is no number of a lease", c.r.PathValue("lease"))
	}
	return id, nil
}

func leaseGrant(c *call) (any, error) {
	var in struct {
		TTL string `json:"ttl"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	d, err := ttl(in.TTL)
	if err != nil {
		return nil, err
	}
	return c.useLease(kv.Grant(d))
}

func leaseKeepAlive(c *call) (any, error) {
	id, err := c.lease()
	if err != nil {
		return nil, err
	}
	return c.useLease(kv.KeepAlive(id))
}

func (c *call) useLease(op []byte) (any, error) {
	l, err := c.invokeLease(op)
	if err != nil {
		return nil, err
	}
	return leaseObject(&l), nil
}

func (c *call) invokeLease(op []byte) (kv.Lease, error) {
	result, err := c.invoke(op)
	if err != nil {
		return kv.Lease{}, err
	}
	l, err := kv.DecodeLease(result)
	return l, kvFailed(nil, err)
}

func leaseRevoke(c *call) (any, error) {
	id, err := c.lease()
	if err != nil {
		return nil, err
	}
	result, err := c.invoke(kv.Revoke(id))
	if err != nil {
		return nil, err
	}
	if _, err := kv.DecodeDone(result); err != nil {
		return nil, kvFailed(nil, err)
	}
	return map[string]uint64{"lease": id}, nil
}

// leaseList lists a page of the leases of all clients.
func leaseList(c *call) (any, error) {
	after, err := c.number("after", 0, maxNumber, 0)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 1, kv.MaxScanItems, kv.MaxScanItems)
	if err != nil {
		return nil, err
	}
	type page struct {
		leases []kv.Lease
		more   bool
	}
	p, err := readKV(c, kv.Leases(uint64(after), int(limit)), func(result []byte) (p page, err error) {
		p.leases, p.more, err = kv.DecodeLeases(result)
		return p, err
	}, func(p page) (first time.Time) {
		for _, l := range p.leases {
			if first.IsZero() || l.Ends.Before(first) {
				first = l.Ends
			}
		}
		return first
	})
	if err != nil {
		return nil, err
	}
	leases := make([]map[string]any, len(p.leases))
	for i := range p.leases {
		leases[i] = leaseObject(&p.leases[i])
	}
	return map[string]any{"leases": leases, "more": p.more}, nil
}

// lockName is the name of a lock in the path.
func (c *call) lockName() (string, error) {
	name := c.r.PathValue("name")
	if len(name) > kvclient.MaxLockName {
		return "", fail(http.StatusRequestURITooLong, "too_large", "the name of a lock has at most %d bytes", kvclient.MaxLockName)
	}
	return name, nil
}

// maxNote bounds the text that is shown to those who wait for a lock, in bytes.
const maxNote = 1 << 10

// lockEnter makes a lease and puts it in line for a lock. The gateway does not keep the lease alive, as it holds nothing that
// its end would lose: who asked does, and looks whether it is its turn.
func lockEnter(c *call) (any, error) {
	name, err := c.lockName()
	if err != nil {
		return nil, err
	}
	var in struct {
		TTL  string `json:"ttl"`
		Note string `json:"note"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.Note) > maxNote {
		return nil, fail(http.StatusRequestEntityTooLarge, "too_large", "the note has %d bytes: at most %d are possible", len(in.Note), maxNote)
	}
	d, err := ttl(in.TTL)
	if err != nil {
		return nil, err
	}
	lease, err := c.invokeLease(kv.Grant(d))
	if err != nil {
		return nil, err
	}
	c.changed = false // a lease that nobody knows of is no effect
	key, op := kvclient.Enter(name, lease.ID, []byte(in.Note))
	result, err := c.invoke(op)
	if err == nil {
		var out kv.Outcome
		if out, err = kv.DecodeTxn(result); err == nil {
			return map[string]any{"lock": name, "key": key, "lease": lease.ID, "ends": lease.Ends, "token": out.Revision}, nil
		}
		err = kvFailed(nil, err)
	}
	var e *Error
	if errors.As(err, &e) && e.Effect != Unknown && c.r.Header.Get("Idempotency-Key") == "" { // a repetition would get the same lease
		c.forsake(lease.ID)
	}
	return nil, err
}

// forsake ends a lease that nobody will know of.
func (c *call) forsake(lease uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), abortWithin)
	defer cancel()
	if _, err := c.account.Cluster.Invoke(ctx, Operation{Service: "kv", Op: kv.Revoke(lease)}); err != nil {
		log.Infof("a lease could not be revoked, and expires: %v", err)
	}
}

// lockState tells who has a lock, and with a lease in the query how many are before it.
func lockState(c *call) (any, error) {
	name, err := c.lockName()
	if err != nil {
		return nil, err
	}
	lease, err := c.number("lease", 1, maxNumber, 0)
	if err != nil {
		return nil, err
	}
	line, err := kvclient.Line(c.ctx, kvCluster{c.cluster()}, name, c.holds)
	if err != nil {
		return nil, callFailed(err, true)
	}
	o := map[string]any{"lock": name, "turns": len(line)}
	if len(line) > 0 {
		owner := map[string]any{"lease": line[0].Lease, "token": line[0].Token}
		if !line[0].Ends.IsZero() {
			owner["ends"] = line[0].Ends
		}
		addText(owner, "note", line[0].Note)
		o["owner"] = owner
	}
	if lease == 0 {
		return o, nil
	}
	for i, turn := range line {
		if turn.Lease == uint64(lease) {
			o["held"], o["before"] = i == 0, i
			return o, nil
		}
	}
	return nil, fail(http.StatusNotFound, "no_lease", "lease %d has no turn for this lock: its time is over, or it was revoked", lease)
}
