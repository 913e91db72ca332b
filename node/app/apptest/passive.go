package apptest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/baluarte-bft/baluarte/node/app"
)

// perBatch is how many operations are executed on one draft, as those of one proposal are.
const perBatch = 3

// updates has a service that is replicated passively execute the operations that it accepts, as a primary does, and returns the
// updates. A service may make others every time: what is checked afterwards is that all replicas do the same with these.
func (c *checker) updates(ops [][]byte) ([][]byte, error) {
	if err := c.sift(ops); err != nil {
		return nil, err
	}
	s, err := c.subject()
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for from := 0; from < len(c.accepted); from += perBatch {
		to := min(from+perBatch, len(c.accepted))
		before, err := s.snapshot()
		if err != nil {
			return nil, err
		}
		updates, err := draft(s.machine.(app.Updater).Draft(), c.accepted, from, to)
		if err == nil {
			err = judged(s.machine.(app.Updater).Draft(), c.accepted, updates, from)
		}
		if err != nil {
			return nil, err
		}
		after, err := s.snapshot()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(before, after) {
			return nil, fmt.Errorf("a draft changes the state: %s", difference(before, after))
		}
		all = append(all, updates...)
		if err := s.apply(all, from, to); err != nil {
			return nil, fmt.Errorf("an update: %w", err)
		}
	}
	return all, c.isolated(all)
}

// draft executes operations from..to of ops on a draft.
func draft(d app.Draft, ops [][]byte, from, to int) (updates [][]byte, err error) {
	at := from
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("update panics on operation %d, %.60q: %v", at, ops[at], p)
		}
	}()
	for ; at < to; at++ {
		own := bytes.Clone(ops[at])
		updates = append(updates, bytes.Clone(d.Update(contextOf(at), own)))
		if !bytes.Equal(own, ops[at]) {
			return nil, fmt.Errorf("update changes the bytes of operation %d, %.60q", at, ops[at])
		}
		for i := range own {
			own[i] ^= 0xff // whoever kept a reference will see it
		}
	}
	return updates, nil
}

// judged has a draft judge updates as a backup does: those that came of the operations it must accept, and no bytes may
// make it panic.
func judged(d app.Draft, ops, updates [][]byte, from int) (err error) {
	v, ok := d.(app.UpdateValidator)
	if !ok {
		return nil
	}
	at := from
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("validate of an update panics on operation %d, %.60q: %v", at, ops[at], p)
		}
	}()
	for i, update := range updates {
		at = from + i
		if err := v.ValidateUpdate(contextOf(at), bytes.Clone(ops[at]), bytes.Clone(update)); err != nil {
			return fmt.Errorf("validate refuses an update that came of operation %d, %.60q: %.60q: %w", at, ops[at], update, err)
		}
	}
	return nil
}

// isolated uses a draft while the updates are applied to the service that it came from. With -race that finds shared memory.
func (c *checker) isolated(updates [][]byte) error {
	s, err := c.subject()
	if err != nil {
		return err
	}
	d := s.machine.(app.Updater).Draft()
	var beside sync.WaitGroup
	var drafted error
	beside.Go(func() { _, drafted = draft(d, c.accepted, 0, len(c.accepted)) })
	err = s.apply(updates, 0, len(updates))
	beside.Wait()
	return errors.Join(err, drafted)
}

// checkPassive is Check for a service that is replicated passively: its updates take the place of the operations.
func (c *checker) checkPassive(ops [][]byte) error {
	updates, err := c.updates(ops)
	if err != nil {
		return err
	}
	arbitrary, err := c.updates(c.spoil(ops))
	if err != nil {
		return fmt.Errorf("with arbitrary operations in between (seed %d): %w", c.seed, err)
	}
	c.passive = true // what is applied is no operation: Validate does not judge it
	for _, script := range [][][]byte{updates, arbitrary, c.spoil(updates)} {
		if err := c.script(script); err != nil {
			return fmt.Errorf("with updates in the place of operations: %w", err)
		}
	}
	return nil
}
