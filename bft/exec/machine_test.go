package exec

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

func TestOperationsAreRoutedByName(t *testing.T) {
	a, b := &tape{}, &tape{}
	m, err := New(Config{Services: []Service{{"b", b}, {"a", a}}, Limits: DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, m, a}
	bundle := openWith(alice, 1)
	bundle.Ops = [][]byte{
		EncodeOp("a", false, []byte("x")), EncodeOp("b", false, []byte("y")), EncodeOp("", false, []byte("z")),
		EncodeOp("c", false, nil), EncodeOp("b", true, []byte("q")), EncodeOp("b", true, []byte("fail")),
		{7}, EncodeOp("a", false, []byte("invalid")), EncodeOp("a", false, []byte("quiet")),
	}
	bundle.NotAfter = hour
	r.want(r.do(bundle), "1:x", "1:y", "unknown service", "unknown service", "re: q",
		`exec: query failed: "failed as asked"`, "invalid", "invalid", "ok")
	if string(a.bytes)+string(b.bytes) != "xquiety" {
		t.Errorf("executed %q and %q", a.bytes, b.bytes)
	}
}

func TestQueryAnswersReadsOnly(t *testing.T) {
	r := newRig(t)
	results := r.Query(context.Background(), [][]byte{
		EncodeOp("tape", true, []byte("q")), EncodeOp("", false, []byte("x")), EncodeOp("x", true, nil), nil,
	})
	if value, err := Result(results[0]); err != nil || string(value) != "re: q" {
		t.Errorf("%q, %v", value, err)
	}
	for i, want := range []error{ErrInvalid, ErrUnknownService, ErrInvalid} {
		if _, err := Result(results[1+i]); !errors.Is(err, want) {
			t.Errorf("query %d: %v, want %v", 1+i, err, want)
		}
	}
}

func TestValidateRefusesAtTheDoor(t *testing.T) {
	r := newRig(t)
	for frame, want := range map[string]error{
		string(op("x")): nil, string(op("invalid")): ErrInvalid, "": ErrInvalid, "\x02\x00": ErrInvalid,
		string(EncodeOp("other", false, nil)): ErrUnknownService, string(EncodeOp("tape", true, []byte("invalid"))): nil,
	} {
		if err := r.Validate([]byte(frame)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", frame, err, want)
		}
	}
}

func TestErrorTextIsBoundedAtAWholeCharacter(t *testing.T) {
	s := &service{machine: &failing{}}
	result := query(context.Background(), s, nil)
	if len(result) > 1+MaxErrorText || len(result) < MaxErrorText-3 || Status(result[0]) != StatusFailed {
		t.Errorf("%d bytes", len(result))
	}
	if strings.ContainsRune(string(result[1:]), '\uFFFD') {
		t.Error("half a character")
	}
}

type failing struct{ tape }

func (failing) Query(context.Context, []byte) ([]byte, error) {
	return nil, errors.New(strings.Repeat("ähm", 200))
}

func TestContextIsTheSameEverywhereAndDifferentForEachOperation(t *testing.T) {
	r, other := newRig(t), newRig(t)
	for _, x := range []*rig{r, other} {
		x.at(2*hour, openWith(alice, 1, "a", "b"), openWith(bob, 1, "c"))
		x.at(0, in(alice, 1, 3, "d"))
	}
	seeds := map[uint64]bool{}
	for i := range r.tape.seen {
		a, b := &r.tape.seen[i], &other.tape.seen[i]
		if *a != *b {
			t.Errorf("contexts %+v and %+v", a, b)
		}
		seeds[a.Seed().Uint64()] = true
		if want := time.Unix(2*3600, 0).UTC(); a.Time() != want || a.Nanos() != 2*hour {
			t.Errorf("time %v, want %v", a.Time(), want)
		}
	}
	if len(seeds) != 4 {
		t.Errorf("%d different seeds for 4 operations", len(seeds))
	}
	if c := r.tape.seen[2]; c.Client != bob || c.Session != 2 || c.Op != 1 || c.Seq != 1 {
		t.Errorf("context %+v", c)
	}
}

func TestStreamIsTheSameHoweverItIsRead(t *testing.T) {
	ctx := NewContext(1, 0, bft.Digest{1}, 2)
	var whole, pieces [100]byte
	ctx.Seed().Read(whole[:])
	s := ctx.Seed()
	for i := 0; i < 100; i += 7 {
		s.Read(pieces[i:min(i+7, 100)])
	}
	if whole != pieces {
		t.Error("the streams differ")
	}
	for n := range uint64(50) {
		if v := s.Uint64N(n + 1); v > n {
			t.Errorf("Uint64N(%d) is %d", n+1, v)
		}
	}
}

func TestRule32HistoryCoversNumbersProposalsAndResults(t *testing.T) {
	r := newRig(t)
	var leaves []bft.Digest
	for i, bundles := range [][]*bft.Bundle{{openWith(alice, 1, "x"), openWith(bob, 1)}, nil, {in(alice, 1, 2, "y")}} {
		p := bft.Proposal{Time: bft.Time(i)}
		out := r.Execute(&bft.Batch{Seq: bft.Seq(i + 1), Proposal: p, Digest: p.Digest(), Bundles: bundles})
		var replies []bft.Digest
		for _, reply := range out.Replies {
			replies = append(replies, reply.Digest())
		}
		leaves = append(leaves, HistoryLeaf(bft.Seq(i+1), p.Digest(), crypto.MerkleRoot(replies)))
	}
	if r.HistoryRoot() != crypto.MerkleRoot(leaves) {
		t.Fatal("the root is not that of the leaves")
	}
	if !crypto.MerkleVerify(r.HistoryRoot(), leaves[1], 1, 3, crypto.MerkleProve(leaves, 1)) {
		t.Error("a leaf cannot be proved")
	}
	if h := r.History(); h.Len() != 3 {
		t.Errorf("%d numbers", h.Len())
	}
}

func TestBatchesAreExecutedInOrder(t *testing.T) {
	r := newRig(t)
	r.at(0)
	for _, seq := range []bft.Seq{1, 3, 0} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("batch %d after 1 was executed", seq)
				}
			}()
			r.Execute(&bft.Batch{Seq: seq})
		}()
	}
}

func TestConfigIsValidated(t *testing.T) {
	m := &tape{}
	for what, change := range map[string]func(*Config){
		"none":            func(c *Config) { c.Services = nil },
		"twice":           func(c *Config) { c.Services = append(c.Services, c.Services[0]) },
		"no machine":      func(c *Config) { c.Services[0].Machine = nil },
		"service name":    func(c *Config) { c.Services[0].Name = "A b" },
		"sessions per":    func(c *Config) { c.Limits.SessionsPerClient = 0 },
		"max closed":      func(c *Config) { c.Limits.MaxClosed = 0 },
		"openings per":    func(c *Config) { c.Limits.OpeningsPerClient = 1 << 30 },
		"max ahead":       func(c *Config) { c.Limits.MaxAhead = 0 },
		"result bytes":    func(c *Config) { c.Limits.TotalResultBytes = 1 },
		"at most 1677721": func(c *Config) { c.Limits.MaxSessions = 1 << 30 },
	} {
		c := Config{Services: []Service{{"tape", m}}, Limits: DefaultLimits()}
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStatusesMatchWhatClientsRead(t *testing.T) {
	for s := range statusEnd {
		value, err := Result(statusResults[s])
		switch {
		case s == StatusOK && (err != nil || len(value) != 0), s != StatusOK && !errors.Is(err, s.Err()):
			t.Errorf("%s: %q, %v", s, value, err)
		case s.Final() != bft.ResultStatus(s).Final() || s.String() == "":
			t.Errorf("%s: final %v", s, s.Final())
		}
	}
	for _, bad := range []string{"", "\x01x", "\x0f", "\xff"} {
		if _, err := Result([]byte(bad)); !errors.Is(err, ErrBadResult) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzDecodeOp(f *testing.F) {
	f.Add(EncodeOp("kv", true, []byte("payload")))
	f.Add(EncodeOp("", false, nil))
	f.Add([]byte{1, 65})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOp(b)
		if err != nil {
			return
		}
		if again := EncodeOp(string(o.Service), o.Read, o.Payload); string(again) != string(b) {
			t.Errorf("%q was read as %+v, which is written %q", b, o, again)
		}
	})
}
