package gateway

import (
	"errors"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
)

func changeObject(change *kv.Change) map[string]any {
	o := map[string]any{"revision": change.Revision, "change": change.Kind.String()}
	addText(o, "key", change.Key)
	if change.Kind == kv.Changed {
		addText(o, "value", change.Value)
	}
	return o
}

// kvChanges lists a page of what has changed: all changes of each of its revisions. It does not wait for more, as a watch does.
func kvChanges(c *call) (any, error) {
	from, err := c.number("from", 1, maxNumber, 1)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 1, kv.MaxScanItems, kv.MaxScanItems)
	if err != nil {
		return nil, err
	}
	prefix := []byte(c.query.Get("prefix"))
	if len(prefix) > kv.MaxKey {
		return nil, badRequest("prefix has at most %d bytes, as keys do", kv.MaxKey)
	}
	cluster := kvCluster{c.cluster()}
	head, err := c.head()
	if err == nil {
		var did bool
		if did, err = kvclient.Settle(c.ctx, cluster, head.NextEnd); did && err == nil {
			head, err = c.head()
		}
	}
	if err != nil {
		return nil, callFailed(err, true)
	}
	through, changes := uint64(from)-1, []map[string]any{}
	if uint64(from) <= head.Revision { // both ends lie behind, so the replicas agree on what there is between them
		result, err := kvclient.Ask(c.ctx, cluster, kv.Changes(prefix, uint64(from), head.Revision, int(limit), 0))
		if err != nil {
			return nil, callFailed(err, true)
		}
		page, last, err := kv.DecodeChanges(result)
		switch {
		case errors.Is(err, kv.ErrCompacted):
			return nil, compacted(last + 1)
		case err != nil:
			return nil, malformed(err)
		}
		through = last
		for i := range page {
			changes = append(changes, changeObject(&page[i]))
		}
	}
	return map[string]any{"changes": changes, "next": through + 1, "more": through < head.Revision}, nil
}

// head is where the service stands.
func (c *call) head() (kv.Head, error) {
	result, err := kvclient.Ask(c.ctx, kvCluster{c.cluster()}, kv.Revision())
	if err != nil {
		return kv.Head{}, err
	}
	head, err := kv.DecodeRevision(result)
	if err != nil {
		return head, malformed(err)
	}
	return head, nil
}
