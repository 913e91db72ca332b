package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bench/single"
	"github.com/baluarte-bft/baluarte/node/config"
)

// ReferenceDuration and ReferenceWarmup bound the measurement of a server without replicas: it tells a factor,
// which needs less time than the figures of the cluster.
const (
	ReferenceDuration = 5 * time.Second
	ReferenceWarmup   = 2 * time.Second
)

// measureReference puts the same load on one server without replicas, with the parameters of the cluster. The
// cluster that was made here has ended by then; one that ran before has nothing to do. What goes
// wrong costs a warning, not the measurement of the cluster.
func (r *run) measureReference(ctx context.Context) error {
	o := *r.o
	o.Duration, o.Warmup = min(o.Duration, ReferenceDuration), min(o.Warmup, ReferenceWarmup)
	o.Profiles, o.Reference = "", false
	ref := &run{o: &o, result: &Result{}, progress: func(p Progress) {
		p.Phase = "a server without replicas: " + p.Phase
		r.progress(p)
	}}
	err := ref.measureServer(ctx, r.cluster.manifest)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.warn("a server without replicas could not be measured: %v", err)
		return nil
	}
	r.result.takeReference(ref.result)
	return nil
}

// measureServer is Run for a server.
func (r *run) measureServer(ctx context.Context, like *config.Manifest) (err error) {
	r.say("starting it")
	if r.cluster, err = startServer(ctx, r.o.ReferenceProgram, like); err != nil {
		return err
	}
	r.unreplicated = true
	defer func() {
		r.closeClients()
		r.say("ending it")
		r.cluster.stop()
	}()
	r.describe()
	if err := r.dial(ctx); err != nil {
		return err
	}
	return r.measure(ctx)
}

// startServer starts a server without replicas in a temporary directory, as a process of its own. What it returns is
// a cluster of one.
func startServer(ctx context.Context, program string, like *config.Manifest) (_ *cluster, err error) {
	temp, err := os.MkdirTemp("", "bftbench-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: temp, own: true, temp: temp, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	manifest := filepath.Join(temp, config.ManifestFile)
	if err := config.WriteFile(manifest, like.Encode(), 0o600); err != nil {
		return nil, err
	}
	up := exec.Command(program, "server", "--dir", filepath.Join(temp, single.Name), "--like", manifest)
	stdout, err := up.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := up.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := startBound(up); err != nil {
		return nil, fmt.Errorf("starting %s server: %w", program, err)
	}
	c.up = up
	ready := make(chan *config.Manifest, 1)
	var readers sync.WaitGroup
	readers.Go(func() { ready <- awaitServer(stdout, like) })
	readers.Go(func() { c.listen(stderr) })
	go func() {
		readers.Wait()
		// How it ended is told by what it said.
		_ = up.Wait()
		close(c.ended)
	}()
	select {
	case c.manifest = <-ready:
	case <-time.After(upTimeout):
		return nil, fmt.Errorf("it did not start within %v", upTimeout)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.manifest == nil {
		select {
		case <-c.ended: // all that it said has been read
		case <-time.After(stopTimeout):
		}
		return nil, fmt.Errorf("it did not start: %s", strings.Join(c.said(), "; "))
	}
	return c, nil
}

// awaitServer reads a server's output to its end, but returns its manifest as soon as it is ready; nil if it ends
// before.
func awaitServer(r io.Reader, like *config.Manifest) *config.Manifest {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if address, key, ok := single.ParseReady(lines.Text()); ok {
			return single.Manifest(like, key, address)
		}
	}
	return nil
}
