package simtest

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// passive tells whether the service is replicated passively. A factory that fails does so again in the run.
func (tr *trial) passive() (yes bool) {
	defer func() { _ = recover() }()
	m, err := tr.suite.factory(memstore.New())
	_, yes = m.(app.Updater)
	return err == nil && yes
}

// updating is what a subject has besides if its service is replicated passively.
type updating struct {
	s *subject
	app.Updater
}

// Draft has the service begin a draft.
func (u updating) Draft() app.Draft {
	d := &draft{s: u.s}
	u.s.call("Draft", nil, func() { d.Draft = u.Updater.Draft() })
	if v, ok := d.Draft.(app.UpdateValidator); ok {
		return &judge{d, v}
	}
	return d
}

// draft is a draft of the service.
type draft struct {
	s *subject
	app.Draft
}

// Update has the service execute an operation on its draft, which must leave the state as it is.
func (d *draft) Update(ctx app.Context, op []byte) (update []byte) {
	own, before := bytes.Clone(op), d.before()
	d.s.call("Update", op, func() { update = bytes.Clone(d.Draft.Update(ctx, own)) })
	d.after("Update", op, own, before)
	return update
}

// before is the state of an honest replica.
func (d *draft) before() []byte {
	if !d.s.place.Honest() {
		return nil
	}
	return d.s.present()
}

// after looks whether a call has left alone what it must.
func (d *draft) after(method string, op, own, before []byte) {
	if before == nil {
		return
	}
	if !bytes.Equal(op, own) {
		d.s.fail("BYTES", "%s changes the bytes of the operation that it is given: %s became %s", method, quote(op), quote(own))
	}
	if now := d.s.present(); !bytes.Equal(before, now) {
		d.s.fail("UPDATE", "%s of %s changes the state %s", method, quote(op), difference("before", before, "after", now))
	}
}

// judge is a draft that judges updates.
type judge struct {
	*draft
	v app.UpdateValidator
}

// ValidateUpdate asks the service.
func (j *judge) ValidateUpdate(ctx app.Context, op, update []byte) (err error) {
	own, before := bytes.Clone(op), j.before()
	j.s.call("ValidateUpdate", op, func() { err = j.v.ValidateUpdate(ctx, own, bytes.Clone(update)) })
	j.after("ValidateUpdate", op, own, before)
	return err
}
