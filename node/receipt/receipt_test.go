package receipt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

func testKey(i int) *crypto.PrivateKey {
	return crypto.NewKeyFromSeed(sha256.Sum256(fmt.Appendf(nil, "receipt test %d", i)))
}

func testManifest(n int) *config.Manifest {
	var members []config.Member
	for i := range n {
		members = append(members, config.Member{Name: fmt.Sprintf("r%d", i), Key: config.Key{PublicKey: testKey(i).Public()}, Addresses: []string{"127.0.0.1:1"}})
	}
	return config.NewManifest("test", []string{"kv"}, members)
}

// make3 returns a receipt for the second of three operations, signed by the members.
func make3(m *config.Manifest, signers ...int) *Receipt {
	ops := [][]byte{exec.EncodeOp("kv", false, []byte("a")), exec.EncodeOp("kv", false, []byte("put")), exec.EncodeOp("kv", false, []byte("c"))}
	results := [][]byte{{0}, append([]byte{0}, "done"...), {0}}
	leaves := exec.ReceiptLeaves(10, ops, results)
	r := &Receipt{Format: Format, Cluster: m.ID(), Client: testKey(99).Public(), Session: 7, Number: 11, Executed: 5, Time: time.Unix(1, 2).UTC(),
		Service: "kv", Operation: []byte("put"), Result: []byte("done"), First: 10, Count: 3, Path: crypto.MerkleProve(leaves, 1), Root: crypto.MerkleRoot(leaves)}
	said := exec.Receipted{Client: r.Client, Session: 7, First: 10, Seq: 5, Time: bft.Time(r.Time.UnixNano()), Root: r.Root}
	for _, i := range signers {
		r.Signatures = append(r.Signatures, Signature{Member: fmt.Sprintf("r%d", i), Key: testKey(i).Public(),
			Signature: HexSignature(testKey(i).Sign(said.SigningBytes(m.ID(), 0)))})
	}
	return r
}

// TestCheck: a receipt that f+1 members signed holds, through JSON too; with fewer, or changed anywhere, it does not.
func TestCheck(t *testing.T) {
	for _, n := range []int{4, 5, 7} {
		m := testManifest(n)
		f := (n - 1) / 3
		enough := []int{}
		for i := range f + 1 {
			enough = append(enough, n-1-i)
		}
		r := make3(m, enough...)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = Parse(text); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(m); err != nil {
			t.Errorf("%d members: %v", n, err)
		}
		if err := make3(m, enough[1:]...).Check(m); err == nil || !strings.Contains(err.Error(), "are needed") {
			t.Errorf("%d members: f signatures are enough: %v", n, err)
		}
	}
	m := testManifest(4)
	for name, change := range map[string]func(r *Receipt){
		"format":       func(r *Receipt) { r.Format = 2 },
		"cluster":      func(r *Receipt) { r.Cluster[0]++ },
		"epoch":        func(r *Receipt) { r.Epoch++ },
		"client":       func(r *Receipt) { r.Client[0]++ },
		"session":      func(r *Receipt) { r.Session++ },
		"number":       func(r *Receipt) { r.Number-- },
		"beyond":       func(r *Receipt) { r.Number = 13 },
		"before":       func(r *Receipt) { r.Number = 9 },
		"executed":     func(r *Receipt) { r.Executed++ },
		"time":         func(r *Receipt) { r.Time = r.Time.Add(1) },
		"service":      func(r *Receipt) { r.Service = "k" },
		"no service":   func(r *Receipt) { r.Service = "K V" },
		"read":         func(r *Receipt) { r.Read = true },
		"operation":    func(r *Receipt) { r.Operation = []byte("pus") },
		"result":       func(r *Receipt) { r.Result = nil },
		"first":        func(r *Receipt) { r.First--; r.Number-- },
		"count":        func(r *Receipt) { r.Count++ },
		"no count":     func(r *Receipt) { r.Count = -1 },
		"path":         func(r *Receipt) { r.Path = r.Path[:1] },
		"root":         func(r *Receipt) { r.Root[0]++ },
		"signature":    func(r *Receipt) { r.Signatures[0].Signature[0]++ },
		"stranger":     func(r *Receipt) { r.Signatures[0].Key = testKey(50).Public() },
		"other's":      func(r *Receipt) { r.Signatures[0].Key = testKey(3).Public() },
		"twice":        func(r *Receipt) { r.Signatures[1] = r.Signatures[0] },
		"no signature": func(r *Receipt) { r.Signatures = nil },
		"too many":     func(r *Receipt) { r.Signatures = make([]Signature, 5) },
	} {
		r := make3(m, 0, 1)
		if change(r); r.Check(m) == nil {
			t.Errorf("%s: changed, and it holds", name)
		} else if strings.Contains(r.Check(m).Error(), "\n") {
			t.Errorf("%s: %v", name, r.Check(m))
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"format":1,"signatures":[{"signature":"00"}]}`, `{"format":1,"cluster":"00"}`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is a receipt", text)
		}
	}
}

// TestReceiptsAreOfTheirCluster: members of two clusters may have the same keys; what they signed in one is not of the other.
func TestReceiptsAreOfTheirCluster(t *testing.T) {
	a, b := testManifest(4), testManifest(4)
	b.Name = "other"
	r := make3(a, 0, 1)
	r.Cluster = b.ID()
	if r.Check(b) == nil {
		t.Error("a receipt of another cluster holds")
	}
}

func TestFrames(t *testing.T) {
	n := Name{Session: 1 << 40, First: 7, Index: 3}
	if got, err := DecodeAsk(Ask(n)); err != nil || got != n {
		t.Errorf("%v, %v", got, err)
	}
	for _, a := range []*Answer{{Name: n}, {Name: n, Known: true, Executed: 5, Time: 6, Count: 9, Root: bft.Digest{1}, Signature: crypto.Signature{2}},
		{Name: n, Known: true, Path: []bft.Digest{{3}, {4}}}} {
		if got, err := DecodeAnswer(a.Encode()); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v became %+v, %v", a, got, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(Ask(Name{1, 2, 3}))
	f.Add((&Answer{Known: true, Path: []bft.Digest{{3}, {4}}}).Encode())
	f.Fuzz(func(t *testing.T, frame []byte) {
		if n, err := DecodeAsk(frame); err == nil && !bytes.Equal(Ask(n), frame) {
			t.Errorf("%x is not how %v is encoded", frame, n)
		}
		if a, err := DecodeAnswer(frame); err == nil && !bytes.Equal(a.Encode(), frame) {
			t.Errorf("%x is not how %+v is encoded", frame, a)
		}
	})
}
