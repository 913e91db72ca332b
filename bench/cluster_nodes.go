package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/baluarte-bft/baluarte/bench/fault"
	"github.com/baluarte-bft/baluarte/bench/proxy"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Ports of replicas are drawn below the range of outgoing connections, one of which could else take that of a
// replica that is down.
const (
	lowestPort, highestPort = 12000, 30000
	portTries               = 1000
	// saidBytes bounds what is quoted of a replica that ended.
	saidBytes = 400
)

// nodes are the replicas of a cluster as processes that are controlled one by one. Its methods are not for
// concurrent use.
type nodes struct {
	cluster *cluster
	program string // of the replicas
	// faulty runs replicas with wrappers, see faultyArgs; of those that have an entry.
	self       string
	faultyArgs map[int][]string

	replicas []*nodeProcess
	links    *links
	starts   chan nodeStart
}

// nodeProcess is one replica.
type nodeProcess struct {
	name, home string
	listen     string
	cmd        *exec.Cmd // nil while it does not run
	stdin      io.WriteCloser
	ended      chan struct{} // closed when cmd has ended
	expected   bool          // the harness ends it
}

// nodeStart asks the thread that starts processes for one more.
type nodeStart struct {
	cmd  *exec.Cmd
	done chan error
}

// newNodes makes the homes of n replicas in the cluster's directory. With slowLinks, every connection goes through
// a proxy, which delays nothing yet.
func newNodes(c *cluster, n int, program string, slowLinks bool) (*nodes, error) {
	x := &nodes{cluster: c, program: program, faultyArgs: map[int][]string{}, starts: make(chan nodeStart)}
	go func() {
		// Children are bound to the thread that started them. It ends with the goroutine, after them.
		runtime.LockOSThread()
		for s := range x.starts {
			s.done <- s.cmd.Start()
		}
	}()
	ports, err := freePorts(2 * n)
	if err != nil {
		return x, err
	}
	keys := make([]*crypto.PrivateKey, n)
	members := make([]config.Member, n)
	for i := range members {
		if keys[i], err = crypto.GenerateKey(nil); err != nil {
			return x, err
		}
		p := &nodeProcess{name: fmt.Sprintf("r%d", i), listen: fmt.Sprintf("127.0.0.1:%d", ports[i])}
		p.home = filepath.Join(c.dir, p.name)
		x.replicas = append(x.replicas, p)
		members[i] = config.Member{Name: p.name, Key: config.Key{PublicKey: keys[i].Public()}, Addresses: []string{p.listen}}
	}
	c.manifest = config.NewManifest("bench", []string{Counter, KV}, members)
	if slowLinks {
		if x.links, err = newLinks(x.replicas); err != nil {
			return x, err
		}
	}
	for i := range x.replicas {
		if err := x.makeHome(i, keys[i], ports[n+i]); err != nil {
			return x, fmt.Errorf("making replica %d: %w", i, err)
		}
	}
	c.manifest = x.seenFrom(n)
	return x, nil
}

// seenFrom is the manifest with the addresses at which replica i, or the clients if i is the number of replicas, finds the
// members. The id of a cluster does not cover addresses.
func (x *nodes) seenFrom(i int) *config.Manifest {
	m := *x.cluster.manifest
	m.Members = append([]config.Member(nil), m.Members...)
	for j := range m.Members {
		if x.links != nil && i != j {
			m.Members[j].Addresses = []string{x.links.proxies[i][j].Addr()}
		}
	}
	return &m
}

// makeHome makes the home directory of one replica, as bftnode does.
func (x *nodes) makeHome(i int, key *crypto.PrivateKey, httpPort int) error {
	p := x.replicas[i]
	if err := os.MkdirAll(p.home, 0o700); err != nil {
		return err
	}
	cfg := config.DefaultConfig()
	cfg.Member, cfg.HTTP, cfg.Log.Level = p.name, fmt.Sprintf("127.0.0.1:%d", httpPort), "error"
	cfg.Listen = []string{p.listen}
	err := errors.Join(
		crypto.WriteKeyFile(filepath.Join(p.home, config.KeyFile), key, nil),
		config.WriteFile(filepath.Join(p.home, config.ManifestFile), x.seenFrom(i).Encode(), 0o644),
		config.WriteFile(filepath.Join(p.home, config.ConfigFile), cfg.Encode(), 0o644))
	if err != nil {
		return err
	}
	h, err := config.OpenHome(p.home, nil)
	if err != nil {
		return err
	}
	return node.InitDir(h.DataDir(), h.Core)
}

// start starts a replica that does not run.
func (x *nodes) start(i int) error {
	p := x.replicas[i]
	cmd := exec.Command(x.program, "run", "--home", p.home, "--lifeline")
	if args, ok := x.faultyArgs[i]; ok {
		cmd = exec.Command(x.self, append([]string{"replica", p.home, "--control"}, args...)...)
	}
	log, err := os.OpenFile(filepath.Join(p.home, config.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	bindProcess(cmd)
	s := nodeStart{cmd, make(chan error)}
	x.starts <- s
	if err := <-s.done; err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p.cmd, p.ended, p.expected = cmd, make(chan struct{}), false
	go func(ended chan struct{}) {
		// How it ended stands in its log.
		_ = cmd.Wait()
		close(ended)
	}(p.ended)
	return nil
}

// startAll starts all replicas.
func (x *nodes) startAll() error {
	for i := range x.replicas {
		if err := x.start(i); err != nil {
			return err
		}
	}
	return nil
}

// kill ends a replica as a crash does, and returns once it is gone.
func (x *nodes) kill(i int) error {
	p := x.replicas[i]
	p.expected = true
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("killing replica %s: %w", p.name, err)
	}
	<-p.ended
	// The pipe of a process that is gone.
	_ = p.stdin.Close()
	return nil
}

// pause stops a replica's process, as it stands, or lets it go on.
func (x *nodes) pause(i int, on bool) error {
	if err := pauseProcess(x.replicas[i].cmd.Process, on); err != nil {
		return fmt.Errorf("pausing replica %s: %w", x.replicas[i].name, err)
	}
	return nil
}

// control begins the delay of a replica that is run with wrappers, or ends it, if it is 0.
func (x *nodes) control(i int, delay time.Duration) error {
	line := fault.Off
	if delay > 0 {
		line = fault.On + " " + delay.String()
	}
	if _, err := fmt.Fprintln(x.replicas[i].stdin, line); err != nil {
		return fmt.Errorf("replica %s does not listen any more: %w", x.replicas[i].name, err)
	}
	return nil
}

// deaths says which replicas ended although nobody ended them.
func (x *nodes) deaths() []string {
	var said []string
	for _, p := range x.replicas {
		if p.cmd == nil || p.expected {
			continue
		}
		select {
		case <-p.ended:
			said = append(said, fmt.Sprintf("replica %s ended: %s", p.name, p.lastWords()))
		default:
		}
	}
	return said
}

// lastWords is the end of what a replica wrote, in one line.
func (p *nodeProcess) lastWords() string {
	data, err := os.ReadFile(filepath.Join(p.home, config.LogFile))
	if err != nil || len(data) == 0 {
		return "it said nothing"
	}
	return strings.Join(strings.Fields(string(data[max(0, len(data)-saidBytes):])), " ")
}

// awaitActive waits until all replicas say that they take part, in the same view.
func (x *nodes) awaitActive(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	for {
		if said := x.deaths(); len(said) > 0 {
			return fmt.Errorf("the cluster did not start: %s", strings.Join(said, "; "))
		}
		reports, silent := askReplicas(ctx, r.observer, x.cluster)
		alike := silent == 0
		for i := range reports {
			alike = alike && reports[i].State == node.StateActive && reports[i].View == reports[0].View
		}
		if alike {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the replicas did not come to agree within %v: try again on a machine with less load", upTimeout)
		}
	}
}

// stop ends all replicas and proxies. Their data is not needed any more.
func (x *nodes) stop() {
	for i, p := range x.replicas {
		if p.cmd != nil {
			if err := x.kill(i); err != nil {
				x.cluster.note(err.Error())
			}
		}
	}
	if x.links != nil {
		x.links.close()
	}
	close(x.starts)
}

// freePorts returns n ports of the loopback address that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // all are held until all are found
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("found only %d of %d free ports of 127.0.0.1 within %d and %d", len(ports), n, lowestPort, highestPort)
}

// links are the proxies between all replicas, and from the clients to each.
type links struct {
	// proxies[i][j] is for the connections that i dials to j. Those of the clients come last; nil for i = j.
	proxies [][]*proxy.Proxy
}

func newLinks(replicas []*nodeProcess) (*links, error) {
	l := &links{proxies: make([][]*proxy.Proxy, len(replicas)+1)}
	for i := range l.proxies {
		l.proxies[i] = make([]*proxy.Proxy, len(replicas))
		for j, to := range replicas {
			if i == j {
				continue
			}
			var err error
			if l.proxies[i][j], err = proxy.Listen(proxy.Config{Target: to.listen}); err != nil {
				l.close()
				return nil, err
			}
		}
	}
	return l, nil
}

// set delays what goes from i to j, of all places, by delay(i, j).
func (l *links) set(delay func(i, j int) time.Duration) {
	for i, row := range l.proxies {
		for j, p := range row {
			if p != nil {
				p.SetDelays(proxy.Delays{Forward: delay(i, j), Back: delay(j, i)})
			}
		}
	}
}

func (l *links) close() {
	for _, row := range l.proxies {
		for _, p := range row {
			if p != nil {
				_ = p.Close() // of a listener of our own
			}
		}
	}
}
