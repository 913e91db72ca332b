package members

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestHeartbeatFrame(t *testing.T) {
	h := Heartbeat{Kind: Ask, Question: 7, Report: Report{0, Never, 1500 * time.Millisecond, 60 * 24 * time.Hour}}
	got, err := Decode(h.Append(nil), 4)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{0, Never, 1500 * time.Millisecond, Never} // longer than fits
	if got.Kind != Ask || got.Question != 7 || !slices.Equal(got.Report, want) {
		t.Errorf("%+v", got)
	}
	for _, bad := range [][]byte{nil, h.Append(nil)[1:], append(h.Append(nil), 0),
		(&Heartbeat{Kind: 3, Question: 1, Report: h.Report}).Append(nil),
		(&Heartbeat{Kind: Beat, Question: 1, Report: h.Report}).Append(nil),
		(&Heartbeat{Kind: Answer, Report: h.Report}).Append(nil)} {
		if _, err := Decode(bad, 4); !errors.Is(err, ErrFrame) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// FuzzHeartbeat: what is read is written back equal, and no report breaks a table.
func FuzzHeartbeat(f *testing.F) {
	f.Add((&Heartbeat{Kind: Answer, Question: 1, Report: make(Report, 4)}).Append(nil), uint8(1))
	f.Add((&Heartbeat{Report: Report{Never, 0, Never, time.Hour}}).Append(nil), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, from uint8) {
		h, err := Decode(b, 4)
		if err != nil {
			return
		}
		if again := h.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		r := newRig(t, 4, phases["spread"])
		r.run(3 * time.Second)
		r.tables[0].Learn(r.now, int(from%4), h.Report, h.Question)
		r.run(4 * time.Second)
		for id := range r.tables {
			r.wantAll(id, Active)
		}
	})
}
