package files_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// uploader is the client that updates one file again and again, by uploads of two parts. The others begin none, so it knows
// the numbers of its own.
type uploader struct {
	calls  int
	upload uint64
}

// sent is the content of an upload: the second part tells it from others.
func sent(upload uint64) []byte { return append(content(4, 1), fmt.Appendf(nil, "%04d", upload)...) }

// next is what it calls next; now and then it calls twice, or goes on too early.
func (u *uploader) next(r *rand.Rand) []byte {
	if u.calls++; u.calls == 1 {
		return files.Put(files.Create, "own", []byte("old"))
	}
	if r.IntN(12) == 0 {
		u.calls += r.IntN(3) - 1
	}
	switch u.calls % 4 {
	case 0:
		return files.Stage(u.upload, 0, parts(sent(u.upload))[0])
	case 1:
		return files.Stage(u.upload, 1, parts(sent(u.upload))[1])
	case 2:
		return files.Commit(u.upload, digest(sent(u.upload)))
	}
	u.upload++
	return files.Begin(files.Update, "own", 8)
}

// TestUnderFaults: whoever crashes, loses power or lies, a file that anybody sees is one that somebody sent, as a whole.
// 1,000 seeds: go test ./node/app/files -run TestUnderFaults -simtest.seeds=1..1000
func TestUnderFaults(t *testing.T) {
	var uploaders sync.Map // by the random numbers of the client
	operation := func(r *rand.Rand, client int) []byte {
		if client == 0 {
			u, _ := uploaders.LoadOrStore(r, new(uploader))
			return u.(*uploader).next(r)
		}
		if r.IntN(20) == 0 {
			return []byte("nonsense")
		}
		op := draw(r)
		for op[0] == files.Begin(files.Create, "", 0)[0] {
			op = draw(r)
		}
		return op
	}
	query := func(r *rand.Rand, _ int) []byte {
		if r.IntN(4) == 0 {
			return files.File("own", 0)
		}
		return ask(r)
	}
	known := map[bft.Digest]bool{digest([]byte("old")): true}
	for n := range 1000 {
		known[digest(sent(uint64(n)))] = true
	}
	for n := range 14 {
		known[digest(content(n, 1))], known[digest(content(n, 2))] = true, true
	}
	var updated atomic.Int64
	whole := func(op, result []byte, read bool) error {
		if !read || op[0] != files.File("", 0)[0] {
			return nil
		}
		info, chunks, err := files.DecodeFile(result)
		if err != nil {
			return nil // there is none
		}
		if files.Digest(info.Size, chunks) != info.Digest || !known[info.Digest] {
			return fmt.Errorf("version %d of %q, of %d bytes, is nothing that anybody sent", info.Version, info.Name, info.Size)
		}
		if len(chunks) > 1 {
			updated.Add(1)
		}
		return nil
	}
	t.Cleanup(func() { // after all seeds, which run beside each other
		t.Logf("%d reads saw a file of several parts", updated.Load())
	})
	limits := small()
	limits.UploadTime, limits.ClientUploads = time.Second, 3
	simtest.Run(t, files.Factory(limits), 20, simtest.Operations(operation), simtest.Queries(query), simtest.Results(whole))
}
