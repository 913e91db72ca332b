package gateway

import (
	"fmt"
	"strings"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// comparison is one of a transaction, in JSON: of a value, of a revision, or of whether there is one.
type comparison struct {
	Key         *string `json:"key"`
	KeyBase64   *string `json:"key_base64"`
	Relation    string  `json:"relation"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64"`
	Revision    *uint64 `json:"revision"`
	Exists      *bool   `json:"exists"`
}

var relations = map[string]kv.Relation{"": kv.Equal, "=": kv.Equal, "!=": kv.NotEqual, "<": kv.Less, ">": kv.Greater}

func (in *comparison) read() (kv.Compare, error) {
	key, err := text{in.Key, in.KeyBase64}.bytes("key")
	if err != nil {
		return kv.Compare{}, err
	}
	relation, ok := relations[in.Relation]
	if !ok {
		return kv.Compare{}, badRequest("relation is %q: it must be =, !=, < or >", in.Relation)
	}
	ofValue := in.Value != nil || in.ValueBase64 != nil
	switch {
	case ofValue && in.Revision == nil && in.Exists == nil:
		value, err := text{in.Value, in.ValueBase64}.bytes("value")
		return kv.IfValue(key, relation, value), err
	case in.Revision != nil && !ofValue && in.Exists == nil && *in.Revision <= maxNumber:
		return kv.IfRevision(key, relation, *in.Revision), nil
	case in.Exists != nil && !ofValue && in.Revision == nil && in.Relation == "":
		if *in.Exists {
			return kv.IfExists(key), nil
		}
		return kv.IfAbsent(key), nil
	}
	return kv.Compare{}, badRequest("a comparison has a key, and one of: value, revision (both perhaps with a relation), exists")
}

// txnOp is an operation of a transaction, in JSON.
type txnOp struct {
	Op          string  `json:"op"`
	Key         *string `json:"key"`
	KeyBase64   *string `json:"key_base64"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64"`
	Lease       uint64  `json:"lease"`
	Below       *string `json:"below"`
	BelowBase64 *string `json:"below_base64"`
}

func (in *txnOp) read() (kv.Op, error) {
	key, err := text{in.Key, in.KeyBase64}.bytes("key")
	if err != nil {
		return kv.Op{}, err
	}
	value, below := text{in.Value, in.ValueBase64}, text{in.Below, in.BelowBase64}
	o := kv.Op{Key: key}
	switch {
	case in.Op != "put" && (value != text{} || in.Lease != 0), in.Op != "delete-range" && below != text{}, in.Lease > maxNumber:
		return o, badRequest("value and lease are for put, below for delete-range")
	case in.Op == "put":
		o.Kind, o.Lease = kv.OpPut, in.Lease
		o.Value, err = value.bytes("value")
	case in.Op == "get":
		o.Kind = kv.OpGet
	case in.Op == "delete":
		o.Kind = kv.OpDelete
	case in.Op == "delete-prefix":
		o = kv.DeletePrefix(key)
	case in.Op == "delete-range":
		o.Kind = kv.OpDeleteRange
		if below != (text{}) { // else to the end of all keys
			o.Value, err = below.bytes("below")
		}
	default:
		return o, badRequest("op is %q: it must be put, get, delete, delete-prefix or delete-range", in.Op)
	}
	return o, err
}

// kvTxn does a transaction. That the comparisons do not hold is no error: then "else" was done.
func kvTxn(c *call) (any, error) {
	var in struct {
		If   []comparison `json:"if"`
		Then []txnOp      `json:"then"`
		Else []txnOp      `json:"else"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.Then)+len(in.Else) == 0 {
		return nil, badRequest("the transaction has no operation: give then or else")
	}
	t := &kv.Txn{}
	for i := range in.If {
		compare, err := in.If[i].read()
		if err != nil {
			return nil, placed(err, "if", i)
		}
		t.If = append(t.If, compare)
	}
	for _, branch := range []struct {
		name string
		in   []txnOp
		ops  *[]kv.Op
	}{{"then", in.Then, &t.Then}, {"else", in.Else, &t.Else}} {
		for i := range branch.in {
			o, err := branch.in[i].read()
			if err != nil {
				return nil, placed(err, branch.name, i)
			}
			*branch.ops = append(*branch.ops, o)
		}
	}
	if err := t.Validate(); err != nil {
		return nil, badRequest("%s", strings.TrimPrefix(err.Error(), "kv: "))
	}
	result, err := c.invoke(kv.Transact(t))
	if err != nil {
		return nil, err
	}
	out, err := kv.DecodeTxn(result)
	if err != nil {
		return nil, kvFailed(nil, err)
	}
	return txnObject(t, &out)
}

// placed says where in the transaction something is wrong.
func placed(err error, member string, i int) error {
	return badRequest("%s[%d]: %v", member, i, err)
}

func txnObject(t *kv.Txn, out *kv.Outcome) (any, error) {
	branch := t.Then
	if !out.Held {
		branch = t.Else
	}
	if len(out.Results) != len(branch) {
		return nil, malformed(fmt.Errorf("a transaction has %d results for %d operations", len(out.Results), len(branch)))
	}
	results := make([]map[string]any, len(branch))
	for i := range branch {
		op, r, o := &branch[i], &out.Results[i], map[string]any{}
		addText(o, "key", op.Key)
		switch op.Kind {
		case kv.OpPut:
			o["op"] = "put"
		case kv.OpGet:
			o["op"], o["found"] = "get", r.Found
			if r.Found {
				addText(o, "value", r.Entry.Value)
				o["revision"] = r.Entry.Revision
				if r.Entry.Lease != 0 {
					o["lease"] = r.Entry.Lease
				}
			}
		case kv.OpDelete:
			o["op"], o["deleted"] = "delete", r.Deleted
		case kv.OpDeleteRange:
			o["op"], o["deleted"] = "delete-range", r.Deleted
			if len(op.Value) > 0 {
				addText(o, "below", op.Value)
			}
		}
		results[i] = o
	}
	return map[string]any{"held": out.Held, "revision": out.Revision, "results": results}, nil
}
