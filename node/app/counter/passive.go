package counter

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/baluarte-bft/baluarte/node/app"
)

// passive is the counter replicated passively: the primary computes, and all others are told the number.
//
//	add 5    →  update "tell 5"
//	(empty)  →  update "set 6"      its result is empty
//	mul 9223372036854775807  →  update "overflow"
type passive struct{ *machine }

// NewPassive makes a counter that stands at 0 and is replicated passively. Its operations, queries, results and
// snapshots are those of New.
func NewPassive(app.Store) (app.StateMachine, error) { return passive{new(machine)}, nil }

// Apply applies an update.
func (m passive) Apply(_ app.Context, update []byte) []byte {
	name, operand, _ := strings.Cut(string(update), " ")
	n, err := strconv.ParseInt(operand, 10, 64)
	switch {
	case string(update) == ErrOverflow.Error():
		return bytes.Clone(update)
	case err != nil || name != "tell" && name != "set":
		return []byte(ErrSyntax.Error())
	}
	m.value.Store(n)
	if name == "set" {
		return nil
	}
	return strconv.AppendInt(nil, n, 10)
}

// Draft begins at the present number.
func (m passive) Draft() app.Draft { return &draft{m.value.Load()} }

// draft is the number after the operations that it was given.
type draft struct{ value int64 }

// Update executes one operation.
func (d *draft) Update(_ app.Context, op []byte) []byte {
	next, err := step(d.value, op)
	if err != nil {
		return []byte(err.Error())
	}
	d.value = next
	name := "tell "
	if len(op) == 0 {
		name = "set "
	}
	return strconv.AppendInt([]byte(name), next, 10)
}

// ValidateUpdate computes the update again. A service whose updates depend on more than the state checks what it can: that
// a number which was drawn is in its range, say.
func (d *draft) ValidateUpdate(ctx app.Context, op, update []byte) error {
	if want := d.Update(ctx, op); !bytes.Equal(update, want) {
		return fmt.Errorf("counter: %q makes %q, not %q", op, want, update)
	}
	return nil
}
