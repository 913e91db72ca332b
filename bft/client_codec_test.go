package bft

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

func TestClientCodecRoundTrip(t *testing.T) {
	opening := &Bundle{Nonce: Nonce{4}, First: 1}
	later := &Bundle{Session: 9, First: 40}
	long := [][]byte{[]byte(strings.Repeat("x", DigestOver)), {0}}
	for _, b := range []*Bundle{opening, later} {
		for _, full := range []bool{true, false} {
			replier := ReplicaID(1)
			want := &Reply{Session: 9, Opening: b.Opens(), Nonce: b.Nonce, First: b.First, View: 6}
			if full {
				replier, want.Results = 2, long
			} else {
				want.Digest = ResultsDigest(long)
			}
			got, err := DecodeReply(ReplyFrame(2, 6, b, 9, long, replier))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		got, err := DecodeBusy(BusyFrame(b))
		if want := (&Busy{Session: b.Session, Opening: b.Opens(), Nonce: b.Nonce, First: b.First}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	q := &Query{ID: 5, Consistency: Stale, Ops: [][]byte{{}, {1}}, Replier: Everyone}
	if got, err := DecodeQuery(QueryFrame(q), 2, 100); err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("got %+v, %v, want %+v", got, err, q)
	}
	if got, err := DecodeAnswer(AnswerFrame(2, 3, 4, q, long)); err != nil || !reflect.DeepEqual(got, &Answer{ID: 5, Results: long, Epoch: 3, Executed: 4}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := DecodeAnswer(AnswerFrame(2, 3, 4, q, nil)); err != nil || !got.Refused() {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Results of at most 64 bytes in all are always sent in full, larger ones only by whom the client
// named.
func TestRule28InFull(t *testing.T) {
	small, large := [][]byte{make([]byte, 60), make([]byte, 4)}, [][]byte{make([]byte, 60), make([]byte, 5)}
	for _, test := range []struct {
		self, replier ReplicaID
		results       [][]byte
		want          bool
	}{{1, 2, small, true}, {1, 2, large, false}, {2, 2, large, true}, {1, Everyone, large, true}} {
		if got := InFull(test.self, test.replier, test.results); got != test.want {
			t.Errorf("%d asked for %d: %v", test.self, test.replier, got)
		}
	}
}

// The digest depends on how the bytes are divided into results.
func TestResultsDigest(t *testing.T) {
	seen := map[Digest]int{}
	for i, results := range [][][]byte{{}, {{}}, {{}, {}}, {{1, 2}}, {{1}, {2}}, {{1}, {2}, {}}} {
		d := ResultsDigest(results)
		if j, ok := seen[d]; ok {
			t.Errorf("results %d and %d have one digest", i, j)
		}
		seen[d] = i
	}
}

func TestClientFramesRefused(t *testing.T) {
	unknown := []byte{0x7a, 1, 0} // field 15
	reply := mustMarshal(&bftpb.Reply{Session: 1, First: 1, Results: [][]byte{{0}}})
	digest := bytes.Repeat([]byte{1}, 32)
	many := make([][]byte, WindowOps+1)
	for name, frame := range map[string][]byte{
		"empty":                    {},
		"unknown type":             {200},
		"truncated":                frame(TypeReply, &bftpb.Reply{Session: 1, First: 1, Results: [][]byte{{0}}})[:6],
		"unknown field":            append(append([]byte{byte(TypeReply)}, reply...), unknown...),
		"no results":               frame(TypeReply, &bftpb.Reply{Session: 1, First: 1}),
		"results and digest":       frame(TypeReply, &bftpb.Reply{Session: 1, First: 1, Results: [][]byte{{0}}, Digest: digest}),
		"short digest":             frame(TypeReply, &bftpb.Reply{Session: 1, First: 1, Digest: digest[1:]}),
		"zero digest":              frame(TypeReply, &bftpb.Reply{Session: 1, First: 1, Digest: make([]byte, 32)}),
		"long nonce":               frame(TypeReply, &bftpb.Reply{First: 1, Nonce: make([]byte, 17), Digest: digest}),
		"reply to number 0":        frame(TypeReply, &bftpb.Reply{Session: 1, Digest: digest}),
		"reply to no session":      frame(TypeReply, &bftpb.Reply{First: 1, Digest: digest}),
		"opening at 2":             frame(TypeReply, &bftpb.Reply{First: 2, Nonce: make([]byte, 16), Digest: digest}),
		"too many results":         frame(TypeReply, &bftpb.Reply{Session: 1, First: 1, Results: many}),
		"busy with nonce and id":   frame(TypeBusy, &bftpb.Busy{Session: 1, First: 1, Nonce: make([]byte, 16)}),
		"busy without either":      frame(TypeBusy, &bftpb.Busy{First: 1}),
		"busy with unknown field":  append(frame(TypeBusy, &bftpb.Busy{Session: 1, First: 1}), unknown...),
		"too many answers":         frame(TypeAnswer, &bftpb.Answer{Results: many}),
		"answer and digest":        frame(TypeAnswer, &bftpb.Answer{Results: [][]byte{{0}}, Digest: digest}),
		"answer, unknown field":    append(frame(TypeAnswer, &bftpb.Answer{}), unknown...),
		"length beyond the end":    {byte(TypeReply), 0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"group":                    {byte(TypeReply), 0x23, 0x24},
		"endless varint":           append([]byte{byte(TypeReply)}, bytes.Repeat([]byte{0xff}, 20)...),
		"frame beyond the largest": append([]byte{byte(TypeAnswer)}, make([]byte, MaxFrameBytes)...),
	} {
		r := newRig(t, rigConfig(4))
		if err := r.c.Step(0, frame); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := &bftpb.Query{Consistency: 1, Operations: [][]byte{{1}, {2}}}
	for name, test := range map[string]struct {
		q    []byte
		ops  int
		size int
	}{
		"no reads":        {frame(TypeQuery, &bftpb.Query{Consistency: 1}), 2, 100},
		"consistency 0":   {frame(TypeQuery, &bftpb.Query{Operations: [][]byte{{1}}}), 2, 100},
		"consistency 3":   {frame(TypeQuery, &bftpb.Query{Consistency: 3, Operations: [][]byte{{1}}}), 2, 100},
		"too many reads":  {frame(TypeQuery, good), 1, 100},
		"too many bytes":  {frame(TypeQuery, good), 2, 5},
		"unknown field":   {append(frame(TypeQuery, good), unknown...), 2, 100},
		"another message": {frame(TypeAnswer, &bftpb.Answer{}), 2, 100},
	} {
		if _, err := DecodeQuery(test.q, test.ops, test.size); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Decoders of what comes from the network neither panic nor hand out what is over the bounds, and
// encoding what they read gives a frame with the same meaning.
func FuzzClientDecoders(f *testing.F) {
	b := &Bundle{Session: 9, First: 40}
	f.Add(ReplyFrame(2, 6, b, 9, okResults("a", "b"), 2))
	f.Add(ReplyFrame(1, 6, b, 9, okResults(strings.Repeat("x", 99)), 2))
	f.Add(BusyFrame(&Bundle{Nonce: Nonce{4}, First: 1}))
	q := &Query{ID: 5, Consistency: Stale, Ops: [][]byte{{}, {1}}, Replier: Everyone}
	f.Add(QueryFrame(q))
	f.Add(AnswerFrame(2, 3, 4, q, okResults("c")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := DecodeReply(data); err == nil {
			b := &Bundle{Session: m.Session, First: m.First}
			if m.Opening {
				b.Session, b.Nonce = 0, m.Nonce
			}
			if len(m.Results) > WindowOps {
				t.Fatalf("%d results", len(m.Results))
			}
			if m.Results != nil {
				again, err := DecodeReply(ReplyFrame(0, m.View, b, m.Session, m.Results, 0))
				if err != nil || !reflect.DeepEqual(again, m) {
					t.Fatalf("%+v became %+v, %v", m, again, err)
				}
			}
		}
		if m, err := DecodeBusy(data); err == nil {
			again, err := DecodeBusy(BusyFrame(&Bundle{Session: m.Session, Nonce: m.Nonce, First: m.First}))
			if err != nil || *again != *m {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
		if m, err := DecodeQuery(data, 16, 1<<16); err == nil {
			again, err := DecodeQuery(QueryFrame(m), 16, 1<<17)
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
		if m, err := DecodeAnswer(data); err == nil && len(m.Results) > WindowOps {
			t.Fatalf("%d results", len(m.Results))
		}
	})
}
