package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/client"
)

// transferWithin bounds a transfer of a large file by a slow machine that has other work.
const transferWithin = 5 * time.Minute

// localFile makes a file of that many bytes, the same for each seed.
func localFile(t *testing.T, seed byte, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(content)
	path = filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// files starts a command of the service files, with calls that wait for the cluster as long as it takes.
func (r *running) files(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	r.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "bftnode", append(append([]string{"files"}, args...), "--dir", r.dir, "--timeout", transferWithin.String())...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return cmd
}

// ended waits for a command that must succeed, and returns what it printed.
func (r *running) ended(cmd *exec.Cmd) string {
	r.t.Helper()
	if err := cmd.Wait(); err != nil {
		r.t.Fatalf("%v: %v: %s", cmd.Args, err, cmd.Stderr)
	}
	return cmd.Stdout.(*bytes.Buffer).String()
}

// ask asks the service files; the answer is of the present state.
func (r *running) ask(c *client.Client, q []byte) []byte {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	result, err := c.Service("files").Query(ctx, q, client.Ordered)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// uploads is how many uploads are under way.
func (r *running) uploads(c *client.Client) uint64 {
	r.t.Helper()
	q, err := files.DecodeUsage(r.ask(c, files.UsageOf(bft.ClientID{})))
	if err != nil {
		r.t.Fatal(err)
	}
	return q.All.Uploads
}

// awaitUploads waits until so many uploads are under way, or the command has ended.
func (r *running) awaitUploads(n uint64, done <-chan struct{}) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	r.await("an upload", func() (bool, string) {
		select {
		case <-done:
			return true, ""
		default:
			return r.uploads(c) >= n, "none is under way"
		}
	})
}

// got gets a file, which must have one of the contents.
func (r *running) got(name string, contents ...[]byte) {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "copy")
	r.ended(r.files("get", name, path))
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range contents {
		if bytes.Equal(c, data) {
			return
		}
	}
	r.t.Fatalf("%s has %d bytes that nobody stored", name, len(data))
}

// TestLargeFileWhileReplicasDie: a file of 64 MiB is stored while the primary is killed, and got back equal while a
// backup is.
func TestLargeFileWhileReplicasDie(t *testing.T) {
	r := up(t, "--app", "files")
	local, content := localFile(t, 1, 64<<20)
	put := r.files("put", local, "large")
	r.awaitUploads(1, nil)
	_, pid := r.primary()
	r.kill(pid, syscall.SIGKILL)
	if out := r.ended(put); !strings.Contains(out, "large: version 1, 67108864 bytes") {
		t.Errorf("put printed %q", out)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	get := r.files("get", "large", copied)
	primary, _ := r.primary()
	r.kill(r.pids()[(primary+1)%4], syscall.SIGKILL)
	r.ended(get)
	if data, err := os.ReadFile(copied); err != nil || !bytes.Equal(data, content) {
		t.Errorf("got %d bytes, %v: not what was stored", len(data), err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(copied), ".*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestUpdateCutShort: whoever dies during an update, the client or all replicas at once, what was stored before is whole.
func TestUpdateCutShort(t *testing.T) {
	r := up(t, "--app", "files")
	oldPath, old := localFile(t, 1, 1<<20)
	nextPath, next := localFile(t, 2, 32<<20)
	r.ended(r.files("put", oldPath, "f"))

	// An interrupted client takes back what it has sent, unless it was done.
	update := r.files("update", nextPath, "f")
	r.awaitUploads(1, nil)
	r.kill(update.Process.Pid, syscall.SIGINT)
	update.Wait() // the exit code says which of the two it was
	// It does not wait for long; if the cluster has no time for it, it says so.
	left := strings.Contains(update.Stderr.(*bytes.Buffer).String(), "could not be dropped")
	c := r.dial()
	r.await("the end of the upload", func() (bool, string) { return left || r.uploads(c) == 0, "it is there" })
	c.Close()
	r.got("f", old, next)

	update = r.files("update", nextPath, "f")
	r.awaitUploads(1, nil)
	r.kill(update.Process.Pid, syscall.SIGKILL)
	update.Wait() // killed, or it was faster
	// The last thing that it sent may be a commit on its way: then the new content is whole.
	r.got("f", old, next)

	update = r.files("update", nextPath, "f")
	done := make(chan struct{})
	go func() {
		update.Wait() // it ends without the cluster, or was faster
		close(done)
	}()
	r.awaitUploads(2, done) // that of the one that was killed is still there
	r.kill(r.cmd.Process.Pid, syscall.SIGKILL)
	for _, pid := range r.pids() {
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have died with the supervisor
		}
	}
	_ = update.Process.Kill() // it may have ended
	<-done
	r.stop(syscall.SIGKILL)
	r.start()
	r.got("f", old, next)
	r.ended(r.files("update", oldPath, "f"))
	r.got("f", old)
}

// smallFiles is how many the list must cope with.
const smallFiles = 10_000

// TestManySmallFiles: they are stored, and each is listed once.
func TestManySmallFiles(t *testing.T) {
	r := up(t, "--app", "files")
	c := r.dial()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, 1000)
	for i := range smallFiles {
		op := files.Put(files.Create, fmt.Sprintf("d%03d/%05d", i%100, i), fmt.Append(nil, i))
		slots <- struct{}{}
		wg.Add(1)
		end := func(result []byte, err error) {
			if err == nil {
				_, err = files.DecodeRequest(result)
			}
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
			<-slots
			wg.Done()
		}
		if err := c.Service("files").Submit(ctx, op, end); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	_, pid := r.primary()
	r.kill(pid, syscall.SIGKILL)
	lines := strings.Split(strings.TrimSuffix(r.ended(r.files("list")), "\n"), "\n")
	if len(lines) != smallFiles+1 || !strings.HasSuffix(lines[1], " d000/00000") || !strings.HasSuffix(lines[smallFiles], " d099/09999") {
		t.Fatalf("%d lines: %q … %q", len(lines), lines[min(1, len(lines)-1)], lines[len(lines)-1])
	}
	last := ""
	for _, l := range lines[1:] {
		if name := l[strings.LastIndexByte(l, ' ')+1:]; name <= last {
			t.Fatalf("%q after %q", name, last)
		} else {
			last = name
		}
	}
	if history := strings.Count(r.ended(r.files("history", "--json")), "\n"); history != smallFiles {
		t.Errorf("%d requests in the history", history)
	}
}
