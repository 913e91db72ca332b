package kvclient

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
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
	return fmt.Sprintf("%s%s/%0*x", lockPrefix, name, turnDigits, lease)
}

// turnDigits is the length of the lease in a key.
const turnDigits = 16

// Line returns the turns of a lock in their order: the first has it. Of those whose lease has ended by this machine's clock
// it has the cluster see that first. It calls holds before it goes on with each page, with the bytes that it holds with this
// page at most; an error of holds ends it.
func Line(ctx context.Context, c Cluster, name string, holds func(bytes int64) error) ([]Turn, error) {
	for settled := false; ; settled = true {
		var turns []Turn
		var ends time.Time
		var note []byte
		owner := uint64(0) // the token of whom the note is of
		err := eachTurn(ctx, c, lockPrefix+name+"/", func(page int64) error {
			return holds(page + int64(len(note)) + int64(cap(turns))*turnBytes)
		}, func(e *kv.Entry) {
			if !e.Ends.IsZero() && (ends.IsZero() || e.Ends.Before(ends)) {
				ends = e.Ends
			}
			if owner == 0 || e.Revision < owner {
				owner, note = e.Revision, bytes.Clone(e.Value)
			}
			turns = append(turns, Turn{Lease: e.Lease, Ends: e.Ends, Token: e.Revision}) // nothing of the page
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
		slices.SortFunc(turns, func(a, b Turn) int { return cmp.Compare(a.Token, b.Token) })
		if len(turns) > 0 {
			turns[0].Note = note
		}
		return turns, nil
	}
}

// turnBytes is the memory that a Turn takes.
const turnBytes = int64(unsafe.Sizeof(Turn{}))

// maxLooked bounds the keys that are looked at for the turns of a lock: all turns of all locks are on leases, so there are no
// more of them.
const maxLooked = kv.MaxLeasedKeys

// eachTurn lists the turns of a lock, whose keys begin with prefix. What each is given belongs to a page, of so many bytes as
// begin is told first.
func eachTurn(ctx context.Context, c Cluster, prefix string, begin func(page int64) error, each func(*kv.Entry)) error {
	looked := 0
	for after := []byte(nil); ; {
		result, err := Ask(ctx, c, kv.List([]byte(prefix), after, 0, 0))
		if err != nil {
			return err
		}
		page, err := kv.DecodeList(result)
		if err != nil {
			return err
		}
		if err := begin(int64(len(result)) + int64(cap(page.Items))*int64(unsafe.Sizeof(kv.Entry{}))); err != nil {
			return err
		}
		for i := range page.Items {
			if isTurn(prefix, &page.Items[i]) {
				each(&page.Items[i])
			}
		}
		if !page.More || len(page.Items) == 0 {
			return nil
		}
		after = bytes.Clone(page.Items[len(page.Items)-1].Key)
		if looked += len(page.Items); looked >= maxLooked {
			return &bft.CallError{Kind: client.ErrReadFailed, Text: fmt.Sprintf("more than %d keys begin with %s: delete those that are on no lease", maxLooked, prefix)}
		}
	}
}

// isTurn tells the key of a turn, which is on the lease that it names, from others that are there: those of a lock whose name
// goes on, and those that somebody put there without a lease, which nothing would end.
func isTurn(prefix string, e *kv.Entry) bool {
	return e.Lease != 0 && len(e.Key) == len(prefix)+turnDigits && string(e.Key) == fmt.Sprintf("%s%0*x", prefix, turnDigits, e.Lease)
}
