package kv_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

func TestKVKeepsThePromisesOfAService(t *testing.T) {
	apptest.Check(t, kv.New, apptest.Generate(1, 600, draw), apptest.Queries(apptest.Generate(2, 40, ask)...))
}

func start(t interface{ Fatal(...any) }) app.StateMachine {
	m, err := kv.New(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKVBehavesLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model := start(t), map[string]string{}
		key := rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', 0xff}), 0, 3, -1)
		value := rapid.StringOfN(rapid.RuneFrom([]rune("xy")), 0, 2, -1)
		apply := func(op []byte) []byte { return m.Apply(app.Context{}, op) }
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				if _, err := kv.DecodeDone(apply(kv.Put([]byte(k), []byte(v)))); err != nil {
					t.Fatal(err)
				}
				model[k] = v
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				_, err := kv.DecodeDone(apply(kv.Delete([]byte(k))))
				if _, ok := model[k]; ok == errors.Is(err, kv.ErrNotFound) {
					t.Fatalf("present: %v, but %v", ok, err)
				}
				delete(model, k)
			},
			"compare and set": func(t *rapid.T) {
				k, v, expected := key.Draw(t, "key"), value.Draw(t, "value"), value.Draw(t, "expected")
				current, err := kv.DecodeDone(apply(kv.CompareAndSet([]byte(k), []byte(expected), []byte(v))))
				old, ok := model[k]
				switch {
				case ok && old == expected && err == nil:
					model[k] = v
				case ok && old != expected && errors.Is(err, kv.ErrCompareFailed) && string(current) == old:
				case !ok && errors.Is(err, kv.ErrNotFound):
				default:
					t.Fatalf("%q, %v: %q, %v", old, ok, current, err)
				}
			},
			"create": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				_, err := kv.DecodeDone(apply(kv.Create([]byte(k), []byte(v))))
				if _, ok := model[k]; ok != errors.Is(err, kv.ErrCompareFailed) {
					t.Fatalf("present: %v, but %v", ok, err)
				} else if !ok {
					model[k] = v
				}
			},
			"scan": func(t *rapid.T) {
				prefix := key.Draw(t, "prefix")
				scanned := scanAll(t, m, prefix, rapid.IntRange(1, 4).Draw(t, "page"))
				var want []string
				for k, v := range model {
					if strings.HasPrefix(k, prefix) {
						want = append(want, k+"="+v)
					}
				}
				sort.Slice(want, func(i, j int) bool { return before(want[i], want[j]) })
				if strings.Join(scanned, "\n") != strings.Join(want, "\n") {
					t.Fatalf("scan %q: %q, want %q", prefix, scanned, want)
				}
			},
			"": func(t *rapid.T) {
				k := key.Draw(t, "read")
				got, err := kv.DecodeGet(apply(kv.Get([]byte(k))))
				want, ok := model[k]
				if ok != (err == nil) || string(got) != want || !ok && !errors.Is(err, kv.ErrNotFound) {
					t.Fatalf("get %q: %q, %v, want %q, %v", k, got, err, want, ok)
				}
			},
		})
	})
}

func before(a, b string) bool {
	ka, _, _ := strings.Cut(a, "=")
	kb, _, _ := strings.Cut(b, "=")
	return ka < kb
}

// scanAll reads all pages, through Query.
func scanAll(t *rapid.T, m app.StateMachine, prefix string, page int) (all []string) {
	var after []byte
	for {
		result, err := m.Query(context.Background(), kv.Scan([]byte(prefix), after, page, 0))
		if err != nil {
			t.Fatal(err)
		}
		p, err := kv.DecodeScan(result)
		if err != nil || len(p.Items) > page || p.More && len(p.Items) == 0 {
			t.Fatalf("page of %d: %d items, more %v, %v", page, len(p.Items), p.More, err)
		}
		for _, item := range p.Items {
			all = append(all, string(item.Key)+"="+string(item.Value))
			after = item.Key
		}
		if !p.More {
			return all
		}
	}
}

func TestScanIsBoundedInBytes(t *testing.T) {
	m := start(t)
	large := bytes.Repeat([]byte("v"), kv.MaxValue)
	for _, k := range []string{"a", "b", "c"} {
		m.Apply(app.Context{}, kv.Put([]byte(k), large))
	}
	p, err := kv.DecodeScan(m.Apply(app.Context{}, kv.Scan(nil, nil, 0, 0)))
	if err != nil || len(p.Items) != 1 || !p.More {
		t.Fatalf("%d items, more %v, %v: want the first alone, however large", len(p.Items), p.More, err)
	}
}

func TestKeysAndValuesAreBounded(t *testing.T) {
	m := start(t)
	for _, op := range [][]byte{
		kv.Put(make([]byte, kv.MaxKey+1), nil), kv.Put(nil, make([]byte, kv.MaxValue+1)),
		kv.Create(make([]byte, kv.MaxKey+1), nil), kv.CompareAndSet(nil, make([]byte, kv.MaxValue+1), nil),
	} {
		if _, err := kv.DecodeDone(m.Apply(app.Context{}, op)); !errors.Is(err, kv.ErrBadOp) {
			t.Errorf("operation of %d bytes: %v", len(op), err)
		}
		if err := m.(app.Validator).Validate(op); !errors.Is(err, kv.ErrBadOp) {
			t.Errorf("operation of %d bytes is valid: %v", len(op), err)
		}
	}
	if _, err := kv.DecodeDone(m.Apply(app.Context{}, kv.Put(make([]byte, kv.MaxKey), make([]byte, kv.MaxValue)))); err != nil {
		t.Errorf("the longest key and value: %v", err)
	}
}

func FuzzKV(f *testing.F) {
	k, v := []byte("key"), []byte("value")
	for _, op := range [][]byte{nil, kv.Put(k, v), kv.Get(k), kv.Delete(k), kv.Create(k, v), kv.CompareAndSet(k, v, v), kv.Scan(k, nil, 1, 1),
		kv.Scan(nil, k, 0, 0), kv.Scan(nil, []byte{}, 0, 0)} {
		f.Add(op)
	}
	r := rand.New(rand.NewPCG(1, 1))
	m := start(f)
	for range 100 {
		op := draw(r)
		f.Add(op)
		f.Add(m.Apply(app.Context{}, op))
	}
	s, err := m.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	var whole bytes.Buffer
	if _, err := s.WriteTo(&whole); err != nil || s.Close() != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add([]byte("\x02\x80\x00\x00\x00\x00\x00")) // a snapshot with a number that is not in its shortest form
	f.Fuzz(func(t *testing.T, b []byte) {
		m := start(t)
		result := m.Apply(app.Context{}, b)
		bad := len(result) == 1 && func() bool { _, err := kv.DecodeDone(result); return errors.Is(err, kv.ErrBadOp) }()
		if bad != (m.(app.Validator).Validate(b) != nil) {
			t.Errorf("%q: result %q, but %v", b, result, m.(app.Validator).Validate(b))
		}
		if again, err := kv.Again(b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%q is accepted, but written as %q", b, again)
		}
		kv.DecodeRead(b)
		kv.DecodeList(b)
		kv.DecodeTxn(b)
		kv.DecodeLease(b)
		kv.DecodeLeases(b)
		kv.DecodeChanges(b)
		kv.DecodeRevision(b)
		kv.DecodeDone(b)
		kv.DecodeGet(b)
		kv.DecodeScan(b)
		if m.Restore(bytes.NewReader(b)) == nil {
			s, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			if s.WriteTo(&again); !bytes.Equal(again.Bytes(), b) {
				t.Errorf("restored %q, but wrote %q", b, again.Bytes())
			}
		}
	})
}
