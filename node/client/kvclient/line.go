package kvclient

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// Turn is what Line tells of somebody who has a lock or waits for it.
type Turn struct {
	// Lease is the one on which the turn hangs, Ends when that ends in agreed time.
	Lease uint64
	Ends  time.Time
	// Token is the fencing token: larger for each later turn.
	Token uint64
	// Note is the value of the key, of the first turn alone.
	Note []byte
}

// Enter returns the operation that gives a lease of this client a turn for a lock, and the key that exists for as long as the
// turn does. Its result is that of a transaction, whose revision is the turn's token. It is for who cannot stay to hold
// the lock as [Acquire] does; the name has 1 to MaxLockName bytes.
func Enter(name string, lease uint64, note []byte) (key string, op []byte) {
	key = turnKey(name, lease)
	return key, kv.Transact(&kv.Txn{Then: []kv.Op{{Kind: kv.OpPut, Key: []byte(key), Value: note, Lease: lease}}})
}

func turnKey(name string, lease uint64) string {
	return fmt.Sprintf("%s%s/%016x", lockPrefix, name, lease)
}

// Line returns the turns of a lock in their order: the first has it. Of those whose lease has ended by this machine's clock
// it has the cluster see that first.
func Line(ctx context.Context, c Cluster, name string) ([]Turn, error) {
	for settled := false; ; settled = true {
		var entries []kv.Entry
		var ends time.Time
		note := kv.Entry{}
		err := eachTurn(ctx, c, lockPrefix+name+"/", func(e kv.Entry) {
			if !e.Ends.IsZero() && (ends.IsZero() || e.Ends.Before(ends)) {
				ends = e.Ends
			}
			if note.Revision == 0 || e.Revision < note.Revision {
				note = e
			}
			e.Value = nil // the values of all may be more than fits in memory
			entries = append(entries, e)
		})
		if err != nil {
			return nil, err
		}
		if !settled {
			if did, err := Settle(ctx, c, ends); err != nil {
				return nil, err
			} else if did {
				continue
			}
		}
		sortByRevision(entries)
		turns := make([]Turn, len(entries))
		for i, e := range entries {
			turns[i] = Turn{Lease: e.Lease, Ends: e.Ends, Token: e.Revision}
		}
		if len(turns) > 0 {
			turns[0].Note = note.Value
		}
		return turns, nil
	}
}

// eachTurn lists the keys of a lock, of which the part before the lease is given.
func eachTurn(ctx context.Context, c Cluster, prefix string, each func(kv.Entry)) error {
	for after := []byte(nil); ; {
		result, err := Ask(ctx, c, kv.List([]byte(prefix), after, 0, 0))
		if err != nil {
			return err
		}
		page, err := kv.DecodeList(result)
		if err != nil {
			return err
		}
		for _, e := range page.Items {
			if after = e.Key; isTurn(strings.TrimPrefix(string(e.Key), prefix)) {
				each(e)
			}
		}
		if !page.More {
			return nil
		}
	}
}
