package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/client"
)

// filesFailed words an error of the service.
func filesFailed(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, files.ErrNotFound):
		return fail(http.StatusNotFound, "not_found", "%v", err)
	case errors.Is(err, files.ErrExists):
		return fail(http.StatusConflict, "exists", "%v: PUT gives it another version; nothing was changed", err)
	case errors.Is(err, files.ErrQuota):
		return unchanged(http.StatusInsufficientStorage, "quota", "%v; nothing was changed", err)
	case errors.Is(err, files.ErrBadPart), errors.Is(err, files.ErrBadOp):
		return fail(http.StatusUnprocessableEntity, "rejected", "%v", err)
	}
	return malformed(err)
}

// fileName is the name in the path.
func (c *call) fileName() (string, error) {
	name := c.r.PathValue("name")
	if err := files.CheckName(name); err != nil {
		return "", badRequest("%v", err)
	}
	return name, nil
}

func infoObject(i *files.Info) map[string]any {
	return map[string]any{"name": i.Name, "version": i.Version, "size": i.Size, "digest": i.Digest, "time": i.Time,
		"client": i.Client, "request": i.Request}
}

func requestObject(r *files.Request) map[string]any {
	return map[string]any{"request": r.Number, "time": r.Time, "client": r.Client, "kind": r.Kind.String(), "name": r.Name,
		"version": r.Version, "size": r.Size}
}

// filesList lists a page.
func filesList(c *call) (any, error) {
	limit, err := c.number("limit", 1, files.MaxItems, files.MaxItems)
	if err != nil {
		return nil, err
	}
	after := c.query.Get("after")
	if len(after) > files.MaxName {
		return nil, badRequest("after has %d bytes: a name has at most %d", len(after), files.MaxName)
	}
	result, err := c.ask(files.List(after, int(limit)))
	if err != nil {
		return nil, err
	}
	page, more, err := files.DecodeList(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	return map[string]any{"files": infoObjects(page), "more": more}, nil
}

func infoObjects(page []files.Info) []map[string]any {
	objects := make([]map[string]any, len(page))
	for i := range page {
		objects[i] = infoObject(&page[i])
	}
	return objects
}

// filesVersions lists the versions of a file that are kept.
func filesVersions(c *call) (any, error) {
	name, err := c.fileName()
	if err != nil {
		return nil, err
	}
	result, err := c.ask(files.Versions(name))
	if err != nil {
		return nil, err
	}
	list, err := files.DecodeVersions(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	return map[string]any{"versions": infoObjects(list)}, nil
}

// filesHistory lists a page of the requests that changed files.
func filesHistory(c *call) (any, error) {
	limit, err := c.number("limit", 1, files.MaxItems, files.MaxItems)
	if err != nil {
		return nil, err
	}
	after, err := c.number("after", 0, math.MaxInt64, 0)
	if err != nil {
		return nil, err
	}
	name := c.query.Get("name")
	if name != "" {
		if err := files.CheckName(name); err != nil {
			return nil, badRequest("%v", err)
		}
	}
	result, err := c.ask(files.History(uint64(after), int(limit), name))
	if err != nil {
		return nil, err
	}
	page, err := files.DecodeHistory(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	requests := make([]map[string]any, len(page.Requests))
	for i := range requests {
		requests[i] = requestObject(&page.Requests[i])
	}
	return map[string]any{"requests": requests, "more": page.More, "next": page.Next}, nil
}

// filesUsage tells what is used of the limits.
func filesUsage(c *call) (any, error) {
	result, err := c.ask(files.UsageOf(c.account.Key))
	if err != nil {
		return nil, err
	}
	q, err := files.DecodeUsage(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	usage := func(u files.Usage, mostFiles, mostBytes, mostUploads uint64) map[string]uint64 {
		return map[string]uint64{"files": u.Files, "max_files": mostFiles, "bytes": u.Bytes, "max_bytes": mostBytes,
			"uploads": u.Uploads, "max_uploads": mostUploads}
	}
	return map[string]any{"client": usage(q.Client, q.Limits.ClientFiles, q.Limits.ClientBytes, q.Limits.ClientUploads),
		"all": usage(q.All, q.Limits.Files, q.Limits.Bytes, q.Limits.Uploads), "max_file": q.Limits.File}, nil
}

func filesDelete(c *call) (any, error) {
	name, err := c.fileName()
	if err != nil {
		return nil, err
	}
	result, err := c.invoke(files.Delete(name))
	if err != nil {
		return nil, err
	}
	return doneFile(result)
}

func doneFile(result []byte) (any, error) {
	r, err := files.DecodeRequest(result)
	if err != nil {
		return nil, filesFailed(err)
	}
	return requestObject(&r), nil
}

// attempts is how often a download begins when the version that it reads is dropped meanwhile.
const attempts = 3

// filesGet sends a version of a file as it is.
func filesGet(c *call) (any, error) {
	name, err := c.fileName()
	if err != nil {
		return nil, err
	}
	version, err := c.number("version", 1, math.MaxInt64, 0)
	if err != nil {
		return nil, err
	}
	for range attempts {
		var info files.Info
		var chunks []bft.Digest
		var first []byte
		if info, chunks, err = c.version(name, uint64(version)); err != nil {
			return nil, err
		}
		tag := `"` + info.Digest.String() + `"`
		switch {
		case c.r.Header.Get("If-None-Match") == tag:
			c.fileHeaders(&info, tag)
			c.w.Header().Del("Content-Length")
			c.w.WriteHeader(http.StatusNotModified)
			return nil, nil
		case c.r.Method == http.MethodHead:
			c.fileHeaders(&info, tag)
			c.w.WriteHeader(http.StatusOK)
			return nil, nil
		}
		if err := c.reserve(transferMemory); err != nil {
			return nil, err
		}
		if err := c.transfer(downloadBytes); err != nil {
			return nil, err
		}
		if len(chunks) > 0 {
			first, err = c.chunk(chunks[0])
		}
		if err == nil {
			c.fileHeaders(&info, tag)
			return nil, c.sendFile(&info, chunks, first)
		}
		c.release()
		if !errors.Is(err, files.ErrNotFound) {
			return nil, filesFailed(err)
		}
	}
	return nil, busy("contended", "%q changes faster than it can be read", name)
}

// version asks for a version of a file, 0 for the present one, with the digests of its chunks.
func (c *call) version(name string, version uint64) (files.Info, []bft.Digest, error) {
	result, err := c.askFile(files.File(name, version))
	if err != nil {
		return files.Info{}, nil, err
	}
	info, chunks, err := files.DecodeFile(result)
	if err != nil {
		return info, nil, filesFailed(err)
	}
	if files.Digest(info.Size, chunks) != info.Digest || info.Name != name || version > 0 && info.Version != version {
		return info, nil, malformed(fmt.Errorf("the description of %q does not have its digest", name))
	}
	return info, chunks, nil
}

func (c *call) fileHeaders(i *files.Info, tag string) {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatUint(i.Size, 10))
	h.Set("Content-Disposition", "attachment") // a browser must not run what somebody stored
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", tag)
	h.Set("Last-Modified", i.Time.Format(http.TimeFormat))
	h.Set("Baluarte-Version", strconv.FormatUint(i.Version, 10))
	h.Set("Baluarte-Client", i.Client.String())
}

// sendFile sends the chunks in order, and asks for a few ahead. An answer that cannot be completed is cut off: the
// reader sees that bytes are missing.
func (c *call) sendFile(info *files.Info, chunks []bft.Digest, first []byte) error {
	type part struct {
		data []byte
		err  error
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.ctx = ctx
	ahead := make(chan chan part, transfers-1)
	go func() {
		defer close(ahead)
		for i, digest := range chunks {
			p := make(chan part, 1)
			select {
			case ahead <- p:
			case <-ctx.Done():
				return
			}
			if i == 0 {
				p <- part{data: first}
				continue
			}
			go func() {
				data, err := c.chunk(digest)
				p <- part{data, err}
			}()
		}
	}()
	c.w.WriteHeader(http.StatusOK)
	sent := uint64(0)
	for p := range ahead {
		got := <-p
		full := sent+uint64(len(got.data)) <= info.Size && (len(got.data) == len(first) || sent+uint64(len(got.data)) == info.Size)
		if got.err != nil || !full {
			log.Warnf("a file could not be sent to its end: part %d bytes long at %d of %d: %v", len(got.data), sent, info.Size, got.err)
			panic(http.ErrAbortHandler)
		}
		c.deadlines(0, time.Duration(c.g.limits.WriteTime))
		if _, err := c.w.Write(got.data); err != nil {
			return nil // the reader is gone, or too slow
		}
		sent += uint64(len(got.data))
	}
	if sent != info.Size {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// chunk gets a chunk. Its digest says whether it is right, so a state of the past will do, if it has it.
func (c *call) chunk(digest bft.Digest) ([]byte, error) {
	ctx, cancel := c.part()
	defer cancel()
	if result, err := c.cluster().Query(ctx, "files", files.Chunk(digest), client.Stale); err == nil {
		if data, err := files.DecodeChunk(result, digest); err == nil {
			return data, nil
		}
	}
	result, err := c.askFile(files.Chunk(digest))
	if err != nil {
		return nil, err
	}
	return files.DecodeChunk(result, digest)
}

// part is the context of one of the many calls of a transfer.
func (c *call) part() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, c.partTime)
}

// askFile asks a question in the course of a transfer. While others write it is ordered: to begin anew would cost more.
func (c *call) askFile(question []byte) ([]byte, error) {
	ctx, cancel := c.part()
	defer cancel()
	result, err := c.cluster().Query(ctx, "files", question, client.Linearizable)
	if errors.Is(err, client.ErrContended) {
		result, err = c.cluster().Query(ctx, "files", question, client.Ordered)
	}
	if err != nil {
		return nil, callFailed(err, true)
	}
	return result, nil
}

// eofIsShort words the end of a body before its announced length.
func eofIsShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badRequest("the body ended before its Content-Length")
	}
	return err
}
