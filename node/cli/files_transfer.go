package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const (
	// atOnceBytes is the size up to which a content travels in one operation instead of an upload.
	atOnceBytes = 64 << 10
	// transfers is how many parts are on their way at once: two bundles, and half of what one answer holds.
	transfers = 4
	// abortWithin bounds the last call of an upload that failed; without it the upload expires.
	abortWithin = 2 * time.Second
)

// openLocal opens a file to upload.
func openLocal(path string) (*os.File, error) {
	if path == stdinArg {
		return nil, usage("a file is read from a name, not from the standard input: give ./- for one that is called so")
	}
	info, err := os.Stat(path) // before it is opened: a pipe would wait for somebody to write
	if err != nil {
		return nil, wrong.File(path, err, "name a local file that can be read")
	}
	if !info.Mode().IsRegular() {
		return nil, usage("%s is not a regular file: name one", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, wrong.File(path, err, "name a local file that can be read")
	}
	return f, nil
}

// checkFileSize refuses what is larger than a file can be, before anything is sent.
func checkFileSize(local *os.File) error {
	info, err := local.Stat()
	if most := files.DefaultLimits().File; err == nil && uint64(info.Size()) > most {
		return usage("%s has %d bytes, and a file at most %d (%d MiB): store it in parts", local.Name(), info.Size(), most, most>>20)
	}
	return err
}

// upload stores a local file.
func (c *cabinet) upload(mode files.Mode, name string, local *os.File) (files.Request, error) {
	stat, err := local.Stat()
	if err != nil {
		return files.Request{}, err
	}
	size := uint64(stat.Size())
	if size <= atOnceBytes {
		content := make([]byte, size)
		if err := readPart(local, content, 0, size); err != nil {
			return files.Request{}, err
		}
		return c.request(files.Put(mode, name, content))
	}
	result, err := c.invoke(files.Begin(mode, name, size))
	if err != nil {
		return files.Request{}, err
	}
	up, err := files.DecodeStarted(result)
	if err != nil {
		return files.Request{}, err
	}
	r, err := c.transfer(&up, local, size)
	if err != nil {
		err = errors.Join(err, c.abort(up.Upload)) // after a commit that did succeed it does nothing
	}
	return r, err
}

// request invokes an operation that becomes a request of the history.
func (c *cabinet) request(op []byte) (files.Request, error) {
	result, err := c.invoke(op)
	if err != nil {
		return files.Request{}, err
	}
	return files.DecodeRequest(result)
}

// readPart fills a part from a file that must still have the size that it had.
func readPart(local *os.File, part []byte, at int64, size uint64) error {
	n, err := local.ReadAt(part, at)
	if err != nil && err != io.EOF {
		return err
	}
	var one [1]byte
	if more, _ := local.ReadAt(one[:], int64(size)); n < len(part) || more > 0 {
		return fmt.Errorf("%s changed while it was read: try again", local.Name())
	}
	return nil
}

// transfer stages all parts and commits.
func (c *cabinet) transfer(up *files.Started, local *os.File, size uint64) (files.Request, error) {
	digests := make([]bft.Digest, up.Parts)
	err := c.parallel("sending", size, up.Parts, func(i uint64) (int, error) {
		at := i * up.Chunk
		part := make([]byte, min(up.Chunk, size-at))
		if err := readPart(local, part, int64(at), size); err != nil {
			return 0, err
		}
		digests[i] = files.ChunkDigest(part)
		result, err := c.invoke(files.Stage(up.Upload, int(i), part))
		if err == nil {
			err = files.DecodeDone(result)
		}
		return len(part), err
	})
	if err != nil {
		return files.Request{}, err
	}
	return c.request(files.Commit(up.Upload, files.Digest(size, digests)))
}

// abort drops an upload, also if this process was interrupted. That the upload is not there is as well.
func (c *cabinet) abort(upload uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), abortWithin)
	defer cancel()
	if _, err := c.service.Invoke(ctx, files.Abort(upload)); err != nil {
		return errors.New("what was sent of it could not be dropped: it expires by itself")
	}
	return nil
}

// parallel does step for parts 0 to n-1, several at a time, and shows how many of the bytes are done. It returns the
// first error, after which no further part begins.
func (c *cabinet) parallel(what string, size, n uint64, step func(i uint64) (int, error)) error {
	bar := c.bar(what, size)
	defer bar.Exit() // which leaves the line clean, however it ended
	var next atomic.Uint64
	var first error
	var once sync.Once
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range min(transfers, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n && !failed.Load(); i = next.Add(1) - 1 {
				done, err := step(i)
				if err != nil {
					failed.Store(true)
					once.Do(func() { first = err })
					return
				}
				bar.Add(done)
			}
		})
	}
	wg.Wait()
	return first
}

// bar shows how far a transfer is, if somebody is looking.
func (c *cabinet) bar(what string, size uint64) *progressbar.ProgressBar {
	f, ok := c.s.program.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultBytesSilent(int64(size))
	}
	return progressbar.NewOptions64(int64(size), progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

// checkTarget tells whether a download may be written to a local path.
func checkTarget(path string, force bool) error {
	if path == stdinArg {
		return usage("a file is written to a name, not to the standard output: give ./- for one that is called so")
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(path)
		_, err := os.Stat(dir)
		return wrong.File(dir, err, "make that directory, or name a file in another one")
	case err != nil:
		return wrong.File(path, err, "name a local file to write")
	case info.IsDir():
		return usage("%s is a directory: name a file in it", path)
	case !force:
		return usage("%s is there already: give --force to replace it", path)
	}
	return nil
}

// attempts is how often a download begins when the version that it reads is dropped meanwhile.
const attempts = 3

// download writes a version to a local file.
func (c *cabinet) download(name string, version uint64, path string, force bool) (info files.Info, err error) {
	for range attempts {
		result, err := c.ask(files.File(name, version))
		if err != nil {
			return info, err
		}
		var chunks []bft.Digest
		if info, chunks, err = files.DecodeFile(result); err != nil {
			return info, err
		}
		if files.Digest(info.Size, chunks) != info.Digest || info.Name != name || version > 0 && info.Version != version {
			return info, fmt.Errorf("the description of %q does not have its digest: more than f replicas lie", name)
		}
		if err = c.fetch(&info, chunks, path, force); !errors.Is(err, files.ErrNotFound) {
			return info, err
		}
	}
	return info, fmt.Errorf("%q changes faster than it can be read: try again", name)
}

// fetch writes the chunks beside the path, and puts the file in its place once it is complete and on the disk.
func (c *cabinet) fetch(info *files.Info, chunks []bft.Digest, path string, force bool) (err error) {
	beside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8]+".part")
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return wrong.NewFile(path, err, "name a local file that can be made")
	}
	defer func() {
		if err != nil {
			os.Remove(beside) // there is nothing to say of it beside err
		}
	}()
	err = c.receive(f, info, chunks)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return place(beside, path, force)
}

// receive writes the chunks to their places. All but the last have the size of the first.
func (c *cabinet) receive(f io.WriterAt, info *files.Info, chunks []bft.Digest) error {
	if len(chunks) == 0 {
		return nil
	}
	first, err := c.chunk(chunks[0])
	if err != nil {
		return err
	}
	size := uint64(len(first))
	return c.parallel("receiving", info.Size, uint64(len(chunks)), func(i uint64) (int, error) {
		data := first
		if i > 0 {
			var err error
			if data, err = c.chunk(chunks[i]); err != nil {
				return 0, err
			}
		}
		if i*size >= info.Size || uint64(len(data)) != min(size, info.Size-i*size) {
			return 0, fmt.Errorf("part %d of %q has %d bytes, which do not fit its size", i, info.Name, len(data))
		}
		return f.WriteAt(data, int64(i*size))
	})
}

// place gives a complete file its name.
func place(beside, path string, force bool) error {
	if force {
		return os.Rename(beside, path)
	}
	// A link, unlike a rename, does not replace what has come there meanwhile.
	err := os.Link(beside, path)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already: give --force to replace it", path)
	}
	if err != nil { // a file system without links
		if err := checkTarget(path, false); err != nil {
			return err
		}
		return os.Rename(beside, path)
	}
	return os.Remove(beside)
}
