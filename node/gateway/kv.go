package gateway

import (
	"errors"
	"net/http"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// key is the key in the path.
func (c *call) key() ([]byte, error) {
	key := []byte(c.r.PathValue("key"))
	if len(key) > kv.MaxKey {
		return nil, fail(http.StatusRequestURITooLong, "too_large", "the key has %d bytes: at most %d are possible", len(key), kv.MaxKey)
	}
	return key, nil
}

// kvFailed words an error of the service for a key.
func kvFailed(key, current []byte, err error) error {
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
	result, err := c.ask(kv.Get(key))
	if err != nil {
		return nil, err
	}
	value, err := kv.DecodeGet(result)
	if err != nil {
		return nil, kvFailed(key, nil, err)
	}
	return pair(key, value), nil
}

func pair(key, value []byte) map[string]any {
	o := map[string]any{}
	addText(o, "key", key)
	addText(o, "value", value)
	return o
}

// kvPut sets a value: always, or if the present one is the expected one, or if there is none.
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
		return nil, kvFailed(key, current, err)
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
	result, err := c.ask(kv.Scan(prefix, after, int(limit), 0))
	if err != nil {
		return nil, err
	}
	page, err := kv.DecodeScan(result)
	if err != nil {
		return nil, kvFailed(nil, nil, err)
	}
	items := make([]map[string]any, len(page.Items))
	for i, item := range page.Items {
		items[i] = pair(item.Key, item.Value)
	}
	return map[string]any{"items": items, "more": page.More}, nil
}
