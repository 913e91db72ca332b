package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// MemberStatus is what one replica holds of another, or of itself by what the others say of it.
type MemberStatus struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	// State is one of those of a replica, such as StateActive.
	State string `json:"state"`
	// SilentMillis is how long ago it was heard, in milliseconds; -1: never.
	SilentMillis int64 `json:"silent_millis"`
	// HeardBy are the others that say that they hear it.
	HeardBy []int `json:"heard_by"`
	// LinkBroken: it is not heard there, but f+1 others hear it.
	LinkBroken bool `json:"link_broken"`
}

// cell is a member's state in the table of tables.
func (m *MemberStatus) cell() string {
	switch {
	case !slices.Contains([]string{StateActive, StateAwaiting, StateUnresponsive, StateDisconnected}, m.State):
		return "?" // whatever a replica says is printed on a terminal
	case m.LinkBroken:
		return m.State + ", link broken"
	case m.State == StateActive:
		return m.State
	case m.SilentMillis < 0:
		return m.State + ", never heard"
	}
	return fmt.Sprintf("%s, silent %.1fs", m.State, (time.Duration(m.SilentMillis) * time.Millisecond).Seconds())
}

// members prints what each replica that answers holds of each: a line for a member, a column for a replica.
func (s *Status) members(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "MEMBER")
	for _, r := range s.Replicas {
		fmt.Fprintf(t, "\tBY %s", r.name)
	}
	fmt.Fprintln(t)
	for id := range s.Replicas {
		fmt.Fprint(t, s.Replicas[id].name)
		for i := range s.Replicas {
			r := &s.Replicas[i]
			cell := "-"
			if r.live && id < len(r.Members) {
				cell = r.Members[id].cell()
			}
			fmt.Fprintf(t, "\t%s", cell)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

// changed is what makes status --watch print again. How long a member has been silent, and who says that they hear it, does not.
func (s *Status) changed(members bool) ([]byte, error) {
	c := *s
	c.Replicas = slices.Clone(s.Replicas)
	for i := range c.Replicas {
		r := &c.Replicas[i]
		if r.Members = slices.Clone(r.Members); !members {
			r.Members = nil
		}
		for j := range r.Members {
			r.Members[j].SilentMillis, r.Members[j].HeardBy = 0, nil
		}
	}
	return json.Marshal(&c)
}
