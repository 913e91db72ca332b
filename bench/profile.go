package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Replicas have no hooks for tests. To be profiled, a bftnode that is built here gets one more file, which
// go build takes from an overlay: it serves profiles on a socket of the file system, in the
// directory that profileVariable names.
const (
	profileVariable = "BFTBENCH_PROFILES"
	profileSource   = `package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
)

func init() {
	dir := os.Getenv("` + profileVariable + `")
	if dir == "" {
		return
	}
	l, err := net.Listen("unix", filepath.Join(dir, fmt.Sprint(os.Getpid())))
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profiles:", err)
		return
	}
	go http.Serve(l, nil)
}
`
)

// profileOverlay writes the source and the file for go build -overlay, and returns the path of the latter.
func profileOverlay(ctx context.Context, temp string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", programPackage).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = exit.Stderr
		}
		return "", buildError(ctx, err, out)
	}
	source := filepath.Join(temp, "profile.go")
	if err := os.WriteFile(source, []byte(profileSource), 0o600); err != nil {
		return "", err
	}
	target := filepath.Join(strings.TrimSpace(string(out)), "bftbench_profile.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {target: source}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(temp, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// profiler takes CPU profiles of this process and of the replicas.
type profiler struct {
	dir     string
	own     *os.File
	fetches sync.WaitGroup
	mu      sync.Mutex
	notes   []string
}

// startProfiles begins the profiles of the next d.
func startProfiles(ctx context.Context, dir string, c *cluster, replicas []replicaReport, d time.Duration) (*profiler, error) {
	p := &profiler{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "load.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	p.own = f
	for i := range replicas {
		r := &replicas[i]
		p.fetches.Go(func() {
			if err := p.fetch(ctx, c.sockets, r, d); err != nil {
				p.mu.Lock()
				p.notes = append(p.notes, fmt.Sprintf("no profile of replica %s: %v", r.Name, err))
				p.mu.Unlock()
			}
		})
	}
	return p, nil
}

// fetch asks one replica for a profile, through its socket or, of a cluster that was not made here, its HTTP port.
func (p *profiler) fetch(ctx context.Context, sockets string, r *replicaReport, d time.Duration) error {
	transport := &http.Transport{DisableKeepAlives: true}
	host := r.HTTP
	if sockets != "" {
		host = "replica"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(sockets, strconv.Itoa(r.PID)))
		}
	}
	if host == "" {
		return errors.New("it serves no HTTP; have the cluster made here, without --dir and --bftnode")
	}
	seconds := max(1, int(d.Seconds()))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", host, seconds), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return errors.New("its program offers none; have the cluster made here, without --dir and --bftnode")
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	f, err := os.Create(filepath.Join(p.dir, r.Name+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// stop ends the profile of this process.
func (p *profiler) stop() error {
	if p.own == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := p.own.Close()
	p.own = nil
	return err
}

// wait waits for the profiles of the replicas, and returns what went wrong.
func (p *profiler) wait() []string {
	p.fetches.Wait()
	return p.notes
}
