package apptest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/node/app"
)

// sift sets accepted and refused: what Validate refuses, a replica never applies.
func (c *checker) sift(ops [][]byte) error {
	c.accepted, c.refused = ops, nil
	if c.passive {
		return nil
	}
	s, err := c.subject()
	if err != nil {
		return err
	}
	v, ok := s.machine.(app.Validator)
	if !ok {
		return nil
	}
	c.accepted = nil
	for _, op := range ops {
		verdict, err := validate(v, op)
		switch {
		case err != nil:
			return err
		case verdict == nil:
			c.accepted = append(c.accepted, op)
		default:
			c.refused = append(c.refused, op)
		}
	}
	if len(c.accepted) == 0 && len(ops) > 0 {
		return errors.New("validate refuses every operation: give some that it accepts")
	}
	return nil
}

// judge checks that Validate says of all operations what it said at first, when the state was empty.
func (c *checker) judge(m app.StateMachine) error {
	v, ok := m.(app.Validator)
	if !ok || c.passive {
		return nil
	}
	for _, group := range []struct {
		ops     [][]byte
		refused bool
	}{{c.accepted, false}, {c.refused, true}} {
		for _, op := range group.ops {
			verdict, err := validate(v, op)
			if err != nil {
				return err
			}
			if (verdict != nil) != group.refused {
				return fmt.Errorf("validate looks at the state: with an empty one it refuses operation %.60q: %t; later it says: %v", op, group.refused, verdict)
			}
		}
	}
	return nil
}

// validate returns what Validate says, and an error if it panics or writes to the operation.
func validate(v app.Validator, op []byte) (verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("validate panics on operation %.60q: %v", op, p)
		}
	}()
	own := bytes.Clone(op)
	verdict = v.Validate(own)
	if !bytes.Equal(own, op) {
		err = fmt.Errorf("validate changes the bytes of operation %.60q", op)
	}
	return verdict, err
}
