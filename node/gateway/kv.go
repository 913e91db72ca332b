package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

// key is the key in the path.
func (c *call) key() ([]byte, error) {
	key := []byte(c.r.PathValue("key"))
	if len(key) > kv.MaxKey {
		return nil, fail(http.StatusRequestURITooLong, "too_large", "the key has %d bytes: at most %d are possible", len(key), kv.MaxKey)
	}
	return key, nil
}

// maxNumber bounds leases and revisions.
const maxNumber = 1 << 62

// kvFailed words an error of the service.
func kvFailed(current []byte, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrNotFound):
		return fail(http.StatusNotFound, "not_found", "the key has no value")
	case errors.Is(err, kv.ErrCompareFailed):
		e := fail(http.StatusConflict, "compare_failed", "the value of the key is another one; nothing was changed")
		e.Details = map[string]any{}
		addText(e.Details, "current", current)
		return e
	case errors.Is(err, kv.ErrNoLease):
		return fail(http.StatusNotFound, "no_lease", "there is no such lease, or its time is over; nothing was changed")
	case errors.Is(err, kv.ErrNotOwner):
		return fail(http.StatusForbidden, "not_owner", "the lease was granted to another key; nothing was changed")
	case errors.Is(err, kv.ErrQuota):
		return unchanged(http.StatusInsufficientStorage, "quota", "there would be more leases, or keys on leases, than there may be; nothing was changed")
	case errors.Is(err, kv.ErrTooLarge):
		return fail(http.StatusRequestEntityTooLarge, "too_large", "a transaction deletes at most %d keys by ranges, and returns at most %d bytes; nothing was changed: do it in parts",
			kv.MaxTxnDeletes, kv.MaxTxnBytes)
	case errors.Is(err, kv.ErrBadOp):
		return fail(http.StatusUnprocessableEntity, "rejected", "the service does not accept this operation")
	}
	return malformed(err)
}

func kvGet(c *call) (any, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	e, err := readKV(c, kv.Read(key), kv.DecodeRead, func(e kv.Entry) time.Time { return e.Ends })
	if err != nil {
		return nil, err
	}
	e.Key = key
	return entryObject(&e), nil
}

// readKV asks the service. If what is read hangs on a lease whose time is over by this machine's clock, it has the cluster see
// that and asks again: agreed time stands still while nothing is ordered. A stale read takes what it gets.
func readKV[T any](c *call, question []byte, decode func([]byte) (T, error), ends func(T) time.Time) (T, error) {
	for settled := false; ; settled = true {
		var none T
		result, err := c.ask(question)
		if err != nil {
			return none, err
		}
		v, err := decode(result)
		if err != nil {
			return none, kvFailed(nil, err)
		}
		if settled || c.query.Get("consistency") == "stale" {
			return v, nil
		}
		if did, err := kvclient.Settle(c.ctx, kvCluster{c.cluster()}, ends(v)); err != nil {
			return none, callFailed(err, true)
		} else if !did {
			return v, nil
		}
	}
}

// firstEnd is when the first lease ends that an entry hangs on, or zero.
func firstEnd(p kv.Entries) (first time.Time) {
	for _, e := range p.Items {
		if !e.Ends.IsZero() && (first.IsZero() || e.Ends.Before(first)) {
			first = e.Ends
		}
	}
	return first
}

func entryObject(e *kv.Entry) map[string]any {
	o := map[string]any{"revision": e.Revision}
	addText(o, "key", e.Key)
	addText(o, "value", e.Value)
	if e.Lease != 0 {
		o["lease"], o["ends"] = e.Lease, e.Ends
	}
	return o
}

// kvPut sets a value: always, or if the present one is the expected one, or if there is none; or on a lease.
func kvPut(c *call) (any, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	var in struct {
		Value          *string `json:"value"`
		ValueBase64    *string `json:"value_base64"`
		Expected       *string `json:"expected"`
		ExpectedBase64 *string `json:"expected_base64"`
		Absent         bool    `json:"absent"`
		Lease          uint64  `json:"lease"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	value, err := kvValue("value", text{in.Value, in.ValueBase64})
	if err != nil {
		return nil, err
	}
	op := kv.Put(key, value)
	switch compared := in.Expected != nil || in.ExpectedBase64 != nil; {
	case in.Lease != 0 && (compared || in.Absent):
		return nil, badRequest("the body has a lease, and what is expected to be there: /v1/txn/kv does both")
	case in.Lease > maxNumber:
		return nil, badRequest("there is no lease %d", in.Lease)
	case in.Lease != 0:
		op = kv.PutOn(in.Lease, key, value)
	case compared && in.Absent:
		return nil, badRequest("the body has both an expected value and absent: give one")
	case compared:
		expected, err := kvValue("expected", text{in.Expected, in.ExpectedBase64})
		if err != nil {
			return nil, err
		}
		op = kv.CompareAndSet(key, expected, value)
	case in.Absent:
		op = kv.Create(key, value)
	}
	return c.kvChange(key, op)
}

func kvValue(name string, t text) ([]byte, error) {
	value, err := t.bytes(name)
	if err == nil && len(value) > kv.MaxValue {
		err = fail(http.StatusRequestEntityTooLarge, "too_large", "%s has %d bytes: at most %d are possible", name, len(value), kv.MaxValue)
	}
	return value, err
}

func kvDelete(c *call) (any, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	return c.kvChange(key, kv.Delete(key))
}

// kvChange answers with the key that was changed.
func (c *call) kvChange(key, op []byte) (any, error) {
	result, err := c.invoke(op)
	if err != nil {
		return nil, err
	}
	current, err := kv.DecodeDone(result)
	if err != nil {
		return nil, kvFailed(current, err)
	}
	o := map[string]any{}
	addText(o, "key", key)
	return o, nil
}

// kvScan lists a page.
func kvScan(c *call) (any, error) {
	limit, err := c.number("limit", 1, kv.MaxScanItems, kv.MaxScanItems)
	if err != nil {
		return nil, err
	}
	prefix, after := []byte(c.query.Get("prefix")), []byte(nil)
	if c.query.Has("after") {
		after = []byte(c.query.Get("after"))
	}
	if max(len(prefix), len(after)) > kv.MaxKey {
		return nil, badRequest("prefix and after have at most %d bytes, as keys do", kv.MaxKey)
	}
	page, err := readKV(c, kv.List(prefix, after, int(limit), 0), kv.DecodeList, firstEnd)
	if err != nil {
		return nil, err
	}
	items := make([]map[string]any, len(page.Items))
	for i := range page.Items {
		items[i] = entryObject(&page.Items[i])
	}
	return map[string]any{"items": items, "more": page.More}, nil
}
