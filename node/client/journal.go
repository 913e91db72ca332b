package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Recovery is what a client does with what its journal says was outstanding when its former life ended.
type Recovery int

// The recoveries.
const (
	// Finish repeats the operations: each is executed, once, unless it was before.
	Finish Recovery = iota
	// Exterminate ends them: what was not executed before never will be.
	Exterminate
)

// Journal has the client write each operation down, durably, in the file at path before it leaves, and strike it out when
// its outcome is known. If the file has operations that are outstanding, of a client with the same key and cluster that was
// killed, they are dealt with first: [Client.Recovered] tells their outcomes, and other calls wait. One client uses a
// journal at a time. It costs a sync of the disk for each bundle that leaves.
//
// What was called with [AtLeastOnce] or [Maybe] is repeated, or ended, like the rest: exactly as it left last.
func Journal(path string, r Recovery) Option {
	return func(o *Options) { o.journal, o.recovery = path, r }
}

// Recovered is an operation that was outstanding in the journal.
type Recovered struct {
	// Service is empty if the operation was for the only one of its cluster.
	Service string
	Op      []byte
	// Reply is the service's answer, if Err is nil. After ErrNotSubmitted or ErrRejected the operation was not
	// executed and never will be; after others it may have been.
	Reply []byte
	Err   error
}

// journal is the file, of one client at a time. Each line is an entry in JSON. A line that the former life did not complete
// was never relied on: its bundle had not left.
type journal struct {
	path  string
	f     *os.File
	lines map[bft.BundleName][]byte // of outstanding bundles, with the line end
	order []bft.BundleName          // of those and some that are done with
	size  int                       // of the file, in bytes
	live  int                       // of lines
	// failed is why nothing may leave any more.
	failed atomic.Pointer[error]

	recovered []Recovered
	left      int           // of recovered without an outcome; of the goroutine run
	known     chan struct{} // closed when all have one
}

// entry is a line: a bundle that leaves, or the name of one that is done with.
type entry struct {
	Cluster   string `json:"cluster,omitempty"` // of the first line
	Bundle    []byte `json:"bundle,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	Session   uint64 `json:"session,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	First     uint64 `json:"first,omitempty"`
}

// journalSlack is how much a journal has beyond what is outstanding before it is written anew, in bytes.
const journalSlack = 1 << 20

func journalError(path string, err error) error {
	return fmt.Errorf("client: journal %s: %w", path, err)
}

// openJournal opens or makes the file, and reads what is outstanding.
func openJournal(path string, cluster bft.Digest) (*journal, []*bft.Bundle, error) {
	j := &journal{path: path, lines: map[bft.BundleName][]byte{}, known: make(chan struct{})}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	j.f = f
	bundles, err := j.begin(cluster)
	if err != nil {
		j.f.Close()
		return nil, nil, journalError(path, err)
	}
	return j, bundles, nil
}

// begin reads the file and writes it anew: it may be new itself, and its end may be torn.
func (j *journal) begin(cluster bft.Digest) (bundles []*bft.Bundle, err error) {
	if err := lockJournal(j.f); err != nil {
		return nil, err
	}
	if err := j.read(cluster); err != nil {
		return nil, err
	}
	if err := j.rewrite(cluster); err != nil {
		return nil, err
	}
	for _, name := range j.order {
		b, err := bundleOf(j.lines[name])
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

// read takes what the file has.
func (j *journal) read(cluster bft.Digest) error {
	r := bufio.NewReaderSize(j.f, 64<<10)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && (n > 1 || len(line) == 0 || bytes.HasPrefix(line, []byte(`{"cluster":`))) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errNoJournal
		}
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil && n > 1 {
			return fmt.Errorf("line %d is no entry: %w", n, err)
		}
		switch {
		case n == 1:
			if e.Cluster != hex.EncodeToString(cluster[:]) {
				return errNoJournal
			}
		case e.Bundle != nil:
			b, err := bundleOf(line)
			if err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			j.add(b.Name(), line)
		default:
			name := bft.BundleName{Session: bft.SessionID(e.Session), First: e.First}
			if nonce, err := hex.DecodeString(e.Nonce); err == nil {
				copy(name.Nonce[:], nonce)
			}
			j.strike(name)
		}
	}
}

func bundleOf(line []byte) (*bft.Bundle, error) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, err
	}
	if len(e.Signature) != crypto.SignatureSize {
		return nil, fmt.Errorf("signature of %d bytes", len(e.Signature))
	}
	return bft.DecodeBundle(e.Bundle, crypto.Signature(e.Signature), bft.WindowOps, bft.MaxBundleBytes)
}

func (j *journal) add(name bft.BundleName, line []byte) {
	if j.lines[name] == nil {
		j.order = append(j.order, name)
	}
	j.live += len(line) - len(j.lines[name])
	j.lines[name] = line
}

// strike notes that a bundle is done with; false if it is not outstanding.
func (j *journal) strike(name bft.BundleName) bool {
	line := j.lines[name]
	if line == nil {
		return false
	}
	j.live -= len(line)
	delete(j.lines, name)
	return true
}

// write makes durable what leaves, and notes what is done with. After an error nothing may leave.
func (j *journal) write(leaving []*bft.Bundle, answered []bft.BundleName, cluster bft.Digest) error {
	var out []byte
	for _, b := range leaving {
		line, err := json.Marshal(entry{Bundle: b.Payload, Signature: b.Signature[:]})
		if err != nil {
			return err
		}
		line = append(line, '\n')
		j.add(b.Name(), line)
		out = append(out, line...)
	}
	for _, name := range answered {
		if !j.strike(name) {
			continue
		}
		e := entry{Session: uint64(name.Session), First: name.First}
		if name.Session == 0 {
			e.Nonce = hex.EncodeToString(name.Nonce[:])
		}
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out = append(append(out, line...), '\n')
	}
	if len(out) == 0 {
		return nil
	}
	n, err := j.f.Write(out)
	if j.size += n; err == nil && len(leaving) > 0 {
		err = j.f.Sync()
	}
	if err == nil && j.size > 2*j.live+journalSlack {
		err = j.rewrite(cluster)
	}
	return err
}

// rewrite replaces the file by one that has what is outstanding and nothing else.
func (j *journal) rewrite(cluster bft.Digest) error {
	kept := j.order[:0]
	for _, name := range j.order {
		if j.lines[name] != nil {
			kept = append(kept, name)
		}
	}
	j.order = kept
	head, err := json.Marshal(entry{Cluster: hex.EncodeToString(cluster[:])})
	if err != nil {
		return err
	}
	out := append(head, '\n')
	for _, name := range j.order {
		out = append(out, j.lines[name]...)
	}
	next := j.path + ".next"
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// Whoever opens the new file finds it locked.
	err = lockJournal(f)
	if err == nil {
		_, err = f.Write(out)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err == nil {
		err = config.SyncDir(filepath.Dir(j.path))
	}
	if err != nil {
		f.Close()
		return err
	}
	j.f.Close()
	j.f, j.size = f, len(out)
	return nil
}

// openJournal opens the client's journal, if it has one.
func (c *Client) openJournal(path string, r Recovery) error {
	if path == "" {
		return nil
	}
	j, bundles, err := openJournal(path, c.manifest.ID())
	if err != nil {
		return err
	}
	c.journal = j
	if err := c.resume(bundles, r); err != nil {
		c.closeJournal()
		return journalError(path, err)
	}
	return nil
}

func (c *Client) closeJournal() {
	if c.journal != nil {
		_ = c.journal.f.Close() // what counts was synced
	}
}

// resume has the core deal with what the journal has outstanding.
func (c *Client) resume(bundles []*bft.Bundle, r Recovery) error {
	j := c.journal
	calls := make([][]bft.CallID, len(bundles))
	for i, b := range bundles {
		for _, frame := range b.Ops {
			at := len(j.recovered)
			x := Recovered{Op: frame}
			if op, err := exec.DecodeOp(frame); err == nil {
				x.Service, x.Op = string(op.Service), op.Payload
			}
			j.recovered = append(j.recovered, x)
			j.left++
			calls[i] = append(calls[i], c.slot(func(reply []byte, err error) {
				j.recovered[at].Reply, j.recovered[at].Err = append([]byte(nil), reply...), err
				if j.left--; j.left == 0 {
					close(j.known)
				}
			}))
		}
	}
	if j.left == 0 {
		close(j.known)
	}
	return c.core.Resume(bundles, calls, r == Exterminate)
}

// slot takes a slot for a call that the core begins with. Nobody else uses the client yet.
func (c *Client) slot(done func([]byte, error)) bft.CallID {
	id := bft.CallID(len(c.calls)) + 1<<32
	c.calls = append(c.calls, call{id: id, done: done})
	c.open++
	return id
}

// Recovered waits until the outcome of all operations that the journal had outstanding is known, and returns them in the
// order in which they were sent; none without a journal. The error is that of ctx.
func (c *Client) Recovered(ctx context.Context) ([]Recovered, error) {
	if c.journal == nil {
		return nil, nil
	}
	select {
	case <-c.journal.known:
		return c.journal.recovered, nil
	case <-ctx.Done():
		return nil, c.explain(&bft.CallError{Kind: ErrOutcomeUnknown, Text: "what the journal has outstanding is not known yet"}, ctx.Err())
	}
}

// note writes to the journal what the core says; false if nothing may leave.
func (c *Client) note(ready *bft.ClientReady) bool {
	j := c.journal
	if j == nil {
		return true
	}
	if j.failed.Load() != nil {
		return false
	}
	if err := j.write(ready.Leaving, ready.Answered, c.manifest.ID()); err != nil {
		err = journalError(j.path, err)
		j.failed.Store(&err)
		return false
	}
	return true
}

// journalFailure is why nothing leaves any more, or nil.
func (c *Client) journalFailure() error {
	if c.journal == nil {
		return nil
	}
	if err := c.journal.failed.Load(); err != nil {
		return &bft.CallError{Kind: ErrNotSubmitted, Text: (*err).Error()}
	}
	return nil
}

var errNoJournal = errors.New("it is of another cluster, or no journal: name another file")

var errJournalUsed = fmt.Errorf("another client uses it: %w", fs.ErrExist)
