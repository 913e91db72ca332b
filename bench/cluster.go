package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

const (
	programPackage = "github.com/baluarte-bft/baluarte/cmd/bftnode"
	// upTimeout bounds the start of a cluster, stopTimeout its end in order.
	upTimeout   = 30 * time.Second
	stopTimeout = 10 * time.Second
	// maxNotes bounds the lines that are kept of what a cluster says.
	maxNotes = 20
)

// cluster is the cluster under test.
type cluster struct {
	dir      string
	manifest *config.Manifest
	own      bool   // made here
	sockets  string // directory of the profile sockets of its replicas, or empty

	temp  string // to be removed, or empty
	up    *exec.Cmd
	ended chan struct{} // closed when up has ended

	mu    sync.Mutex
	notes []string // what up had to say, such as that a replica ended
}

// useCluster opens the directory of a cluster that runs.
func useCluster(dir string) (*cluster, error) {
	path := filepath.Join(dir, config.ManifestFile)
	m, err := config.ReadManifest(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, wrong.Errorf("there is no cluster in %s: start one with bftnode up --dir %s, or leave --dir out to have one made", dir, dir)
	}
	if err != nil {
		return nil, wrong.File(path, err, "name the directory of a cluster with --dir")
	}
	c := &cluster{dir: dir, manifest: m}
	if m.Clients != nil {
		return nil, fmt.Errorf("%s lists the clients that it admits, and the load uses new keys: use a cluster without such a list", path)
	}
	return c, nil
}

// prepare makes the directory of a cluster to be started, with its program.
func prepare(ctx context.Context, o *Options) (*cluster, string, error) {
	temp, err := os.MkdirTemp("", "bftbench-")
	if err != nil {
		return nil, "", err
	}
	c := &cluster{dir: filepath.Join(temp, "cluster"), own: true, temp: temp, ended: make(chan struct{})}
	program, err := c.program(ctx, o)
	if err != nil {
		c.stop()
		return nil, "", err
	}
	return c, program, nil
}

// program finds or builds the program of the replicas.
func (c *cluster) program(ctx context.Context, o *Options) (string, error) {
	if o.Program != "" {
		path, err := exec.LookPath(o.Program)
		if err != nil {
			return "", wrong.Errorf("no program %s: name that of bftnode, or leave --bftnode out to have it built", o.Program)
		}
		return path, nil
	}
	program := filepath.Join(c.temp, "bftnode")
	args := []string{"build", "-o", program}
	if o.Profiles != "" {
		c.sockets = filepath.Join(c.temp, "profiles")
		if err := os.Mkdir(c.sockets, 0o700); err != nil {
			return "", err
		}
		overlay, err := profileOverlay(ctx, c.temp)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, programPackage)...).CombinedOutput()
	if err != nil {
		if path, missing := installed(ctx, o); path != "" || missing != nil {
			return path, missing
		}
		return "", buildError(ctx, err, out)
	}
	return program, nil
}

func buildError(ctx context.Context, err error, out []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := strings.Join(strings.Fields(string(bytes.TrimSpace(out))), " ")
	return fmt.Errorf("bftnode could not be built (%w: %.200s): mend its source, or name the program with --bftnode", err, text)
}

// start starts the replicas, which belong to one process of `bftnode up`, and waits until they agree.
func (c *cluster) start(ctx context.Context, program string, o *Options) error {
	c.up = exec.Command(program, "up", "--dir", c.dir, "--nodes", strconv.Itoa(o.Nodes), "--app", Counter+","+KV,
		"--no-restart", "--timeout", upTimeout.String())
	if c.sockets != "" {
		c.up.Env = append(os.Environ(), profileVariable+"="+c.sockets)
	}
	stdout, err := c.up.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := c.up.StderrPipe()
	if err != nil {
		return err
	}
	if err := startBound(c.up); err != nil {
		c.up = nil
		return fmt.Errorf("starting %s: %w", program, err)
	}
	ready := make(chan bool, 1)
	var readers sync.WaitGroup
	readers.Go(func() { ready <- awaitLine(stdout, "ready") })
	readers.Go(func() { c.listen(stderr) })
	go func() {
		readers.Wait()
		// How it ended is told by what it said.
		_ = c.up.Wait()
		close(c.ended)
	}()
	select {
	case ok := <-ready:
		if !ok {
			<-c.ended
			return fmt.Errorf("the cluster did not start: %s", strings.Join(c.said(), "; "))
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	c.manifest, err = config.ReadManifest(filepath.Join(c.dir, config.ManifestFile))
	return err
}

// awaitLine tells whether a line with this beginning comes, and reads on to the end after that, so that the
// writer is not held up.
func awaitLine(r io.Reader, prefix string) bool {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return true
		}
	}
	return false
}

// listen keeps what the supervisor of the replicas says.
func (c *cluster) listen(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		c.note(lines.Text())
	}
}

func (c *cluster) note(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, line)
	}
}

func (c *cluster) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notes)
}

// stop ends a cluster that was made here, and removes its directory.
func (c *cluster) stop() {
	if c.up != nil {
		// An error means that it has ended.
		_ = c.up.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.ended:
		case <-time.After(stopTimeout):
			// Its replicas notice that it is gone, and end too.
			_ = c.up.Process.Kill()
			<-c.ended
		}
		c.up = nil
	}
	if c.temp != "" {
		_ = os.RemoveAll(c.temp) // what is left lies in the directory for temporary files
	}
}
