package coverage

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// The classification of failures, in the order of its definition.
var (
	classes   = []string{"crash", "send omission", "receive omission", "timing", "value", "state transition", "arbitrary"}
	durations = []string{"transient", "intermittent", "permanent"}
)

// InForce is a set of kinds of faults: of pairs of class and duration. The zero value is the empty set.
type InForce uint32

// Fault is the set of one kind of fault, by the names of its class and its duration. It fails for
// names that the classification does not have.
func Fault(class, duration string) (InForce, error) {
	c, d := slices.Index(classes, class), slices.Index(durations, duration)
	if c < 0 || d < 0 {
		return 0, fmt.Errorf("coverage: no faults are of class %q and duration %q", class, duration)
	}
	return 1 << (c*len(durations) + d), nil
}

// Faults counts the messages that replicas received, by the stage of the receiver and by what
// faults were in force in the run at the time: a message counts once for each kind.
type Faults struct{ Table }

// NewFaults makes an empty table.
func NewFaults() *Faults {
	var rows []string
	for _, c := range classes {
		for _, d := range durations {
			rows = append(rows, c+", "+d)
		}
	}
	return &Faults{*newTable("faults in force × stage of the receiver", rows, stageNames[:], func(int, int) string { return "" })}
}

// Note counts a message that was received in a stage while faults were in force.
func (f *Faults) Note(stage Stage, faults InForce) {
	for faults != 0 {
		f.add(bits.TrailingZeros32(uint32(faults)), int(stage))
		faults &= faults - 1
	}
}

// Merge adds the counts of another table of faults.
func (f *Faults) Merge(o *Faults) error { return f.Table.Merge(&o.Table) }

// Messages counts the messages that replicas received, by type and by the stage of the receiver.
type Messages struct{ Table }

// NewMessages makes an empty table.
func NewMessages() *Messages {
	var rows []string
	for t := bft.TypeRequest; t <= bft.TypeBusy; t++ {
		rows = append(rows, t.String())
	}
	return &Messages{*newTable("messages × stage of the receiver", rows, stageNames[:], func(row, _ int) string {
		switch bft.TypeRequest + bft.MessageType(row) {
		case bft.TypeAnswer, bft.TypeReply, bft.TypeBusy:
			return "only clients receive it"
		}
		return ""
	})}
}

// Note counts a message of a type that was received in a stage. Other types than those of the
// protocol are not counted.
func (m *Messages) Note(stage Stage, t bft.MessageType) {
	if t >= bft.TypeRequest && t <= bft.TypeBusy {
		m.add(int(t-bft.TypeRequest), int(stage))
	}
}

// Merge adds the counts of another table of messages.
func (m *Messages) Merge(o *Messages) error { return m.Table.Merge(&o.Table) }
