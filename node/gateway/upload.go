package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
)

const (
	// atOnceBytes is the size up to which a content travels in one operation instead of an upload.
	atOnceBytes = 64 << 10
	// transfers is how many parts are on their way at once.
	transfers = 4
	// transferMemory is what a transfer holds: parts on their way, and one that is read or written.
	transferMemory = (transfers + 1) * files.ChunkSize
	// abortWithin bounds the last call of an upload that failed; without it the upload expires.
	abortWithin = 2 * time.Second
)

func filesCreate(c *call) (any, error) { return c.store(files.Create) }
func filesUpdate(c *call) (any, error) { return c.store(files.Update) }

// store stores the body as a version of a file, as a whole or not at all.
func (c *call) store(mode files.Mode) (any, error) {
	name, err := c.fileName()
	if err != nil {
		return nil, err
	}
	size := c.r.ContentLength
	switch {
	case size < 0:
		return nil, fail(http.StatusLengthRequired, "length_required", "the size of a file must be known: send Content-Length")
	case c.r.Header.Get("Content-Encoding") != "":
		return nil, fail(http.StatusUnsupportedMediaType, "not_plain", "a file is stored as it comes: send no Content-Encoding")
	}
	if size <= atOnceBytes {
		if err := c.reserve(size); err != nil {
			return nil, err
		}
		content := make([]byte, size)
		if err := c.readPart(content); err != nil {
			return nil, err
		}
		c.bodyEnds()
		return c.storeLast(files.Put(mode, name, content))
	}
	if err := c.reserve(transferMemory); err != nil {
		return nil, err
	}
	if err := c.transfer(uploadBytes); err != nil {
		return nil, err
	}
	result, err := c.invokePart(files.Begin(mode, name, uint64(size)))
	if err != nil {
		return nil, err
	}
	up, err := files.DecodeStarted(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	if up.Chunk == 0 || up.Chunk > files.ChunkSize || up.Parts != (uint64(size)+up.Chunk-1)/up.Chunk {
		return nil, malformed(errors.New("an upload whose parts do not fit its size"))
	}
	digest, err := c.stage(&up, uint64(size))
	if err == nil {
		var answer any
		if answer, err = c.storeLast(files.Commit(up.Upload, digest)); err == nil {
			return answer, nil
		}
	}
	c.abort(up.Upload) // after a commit that did succeed it does nothing
	return nil, err
}

// storeLast invokes the operation that makes a version visible.
func (c *call) storeLast(op []byte) (any, error) {
	ctx, cancel := c.part()
	defer cancel()
	all := c.ctx
	c.ctx = ctx
	result, err := c.invoke(op)
	c.ctx = all
	if err != nil {
		return nil, err
	}
	return doneFile(result)
}

// invokePart executes an operation of an upload, of which nothing can be seen before it is complete.
func (c *call) invokePart(op []byte) ([]byte, error) {
	ctx, cancel := c.part()
	defer cancel()
	out, err := c.cluster().Invoke(ctx, Operation{Service: "files", Op: op})
	if err != nil {
		e := callFailed(err, false)
		if e.Effect == Unknown { // of a part: the file stays as it was
			e.Effect, e.Code = None, "no_answer"
		}
		return nil, e
	}
	return out.Value, nil
}

// readPart fills a part from the body, which must come within the body's time: a byte now and then would hold a place
// among the requests that are served for as long as its sender likes.
func (c *call) readPart(part []byte) error {
	c.deadlines(time.Duration(c.g.limits.BodyTime), 0)
	for read := 0; read < len(part); {
		n, err := io.ReadAtLeast(c.r.Body, part[read:], 1)
		read += n
		c.g.metrics.received.Add(float64(n))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return c.readFailed(err)
		case err != nil && read < len(part):
			return eofIsShort(err)
		}
	}
	return nil
}

// stage sends the parts, several at a time, and returns the digest of the content.
func (c *call) stage(up *files.Started, size uint64) (bft.Digest, error) {
	digests := make([]bft.Digest, up.Parts)
	free := make(chan []byte, transfers) // buffers
	for range transfers {
		free <- make([]byte, up.Chunk)
	}
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	failed := make(chan struct{})
	giveUp := func(err error) { once.Do(func() { first = err; close(failed) }) }
	for i := range up.Parts {
		var buffer []byte
		select {
		case buffer = <-free:
		case <-failed:
		}
		if buffer == nil {
			break
		}
		part := buffer[:min(up.Chunk, size-i*up.Chunk)]
		if err := c.readPart(part); err != nil {
			giveUp(err)
			break
		}
		if i == up.Parts-1 {
			c.bodyEnds()
		}
		digests[i] = files.ChunkDigest(part)
		wg.Go(func() {
			result, err := c.invokePart(files.Stage(up.Upload, int(i), part))
			if err == nil {
				if err = files.DecodeDone(result); err != nil {
					err = filesFailed(err)
				}
			}
			if err != nil {
				giveUp(err)
			}
			free <- buffer
		})
	}
	wg.Wait()
	if first != nil {
		return bft.Digest{}, first
	}
	return files.Digest(size, digests), nil
}

// abort drops an upload, also if its sender is gone.
func (c *call) abort(upload uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), abortWithin)
	defer cancel()
	if _, err := c.account.Cluster.Invoke(ctx, Operation{Service: "files", Op: files.Abort(upload)}); err != nil {
		log.Infof("what was sent of a file could not be dropped, and expires: %v", err)
	}
}
