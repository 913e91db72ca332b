package gateway

import (
	"context"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/client"
)

// A client bounds the calls that have not ended and their bytes. A call counts as callBytes and its own, so that one sum stays
// within both bounds.
var (
	clientBytes = int64(bft.DefaultClientConfig().MaxBytes)
	callBytes   = clientBytes / int64(bft.DefaultClientConfig().MaxCalls)
)

// What the parts of an upload and of a download that are on their way count.
var (
	uploadBytes   = transfers * (callBytes + files.ChunkSize)
	downloadBytes = transfers * callBytes
)

// newOutstanding divides among those who sign with one key what its client may have outstanding.
func newOutstanding() *shares { return newShares(clientBytes, "bytes of calls") }

// cluster calls the cluster within the account's share of its key's client.
func (c *call) cluster() Cluster {
	if c.account.outstanding == nil || c.transferring > 0 {
		return c.account.Cluster
	}
	return within{c.account.Cluster, c.account.outstanding, c.holder}
}

// transfer takes the share of a transfer's parts for as long as the request lasts: a transfer that has begun is not cut off
// because others come. All its calls from then on are within it.
func (c *call) transfer(n int64) error {
	if c.account.outstanding == nil || c.transferring > 0 {
		return nil
	}
	if err := c.account.outstanding.take(c.holder, n); err != nil {
		return err
	}
	c.transferring = n
	return nil
}

// within is a cluster that is called within shares.
type within struct {
	Cluster
	shares *shares
	holder holder
}

// Invoke has an operation executed.
func (w within) Invoke(ctx context.Context, o Operation) (Outcome, error) {
	n := callBytes + int64(len(o.Op))
	if err := w.shares.take(w.holder, n); err != nil {
		return Outcome{}, err
	}
	defer w.shares.give(w.holder, n)
	return w.Cluster.Invoke(ctx, o)
}

// Query asks a question.
func (w within) Query(ctx context.Context, service string, question []byte, mode client.Consistency) ([]byte, error) {
	n := callBytes + int64(len(question))
	if err := w.shares.take(w.holder, n); err != nil {
		return nil, err
	}
	defer w.shares.give(w.holder, n)
	return w.Cluster.Query(ctx, service, question, mode)
}
