package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/discovery"
	"github.com/baluarte-bft/baluarte/node/store"
	"github.com/baluarte-bft/baluarte/node/transport"
	"github.com/baluarte-bft/baluarte/node/verify"
)

var log = logging.Logger("baluarte/node")

// clientKeys is how many client keys' tables are kept, about 1.5 KiB each.
const clientKeys = 4096

// Node is a running replica. Its methods may be called by any goroutine.
type Node struct {
	opts    Options
	started time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // the goroutines of the pipeline
	closing sync.Once
	up      chan struct{} // closed when all of this is set: handlers wait for it
	closed  chan struct{}
	err     error // of Close; valid once closed is closed

	store      *store.Store
	net        *transport.Server
	http       *httpServer
	checker    *bft.Checker
	verifier   *verify.Pool
	demand     *demand
	clientKeys *crypto.Ed25519
	peers      []peer

	inbox   *inbox
	replica *bft.Replica // the core's goroutine alone
	signer  *mailbox[bft.SignRequest]
	checks  *mailbox[*bft.Bundle]

	machine  *exec.Machine
	exec     *executor
	disk     *disk
	routes   *routes
	bans     bans
	queries  *queries
	tracer   *tracer
	receipts *receiptBook
	metrics  *metrics
	status   statusCache
	quorum   quorumWatch
	watch    *watch
	// announcer is nil if the replica does not announce itself.
	announcer *discovery.Announcer

	// What the core last said of itself, for others.
	info            atomic.Pointer[bft.Info]
	view, committed atomic.Uint64
	beat            atomic.Int64 // logical time of its last turn
	behind          atomic.Bool  // the disk does not keep up: no new input
	overloaded      atomic.Bool  // that, or the executor does not: Busy for clients
	executed        atomic.Uint64
}

// Start starts a replica and returns once it takes part or waits for its peers. Its errors are one line
// that says what to do; see package store for those of a damaged store. Cancelling ctx closes the node.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	n := &Node{opts: o, started: time.Now(), up: make(chan struct{}), closed: make(chan struct{}), clientKeys: crypto.NewEd25519(clientKeys),
		peers: make([]peer, o.Core.N()), inbox: newInbox(o.Core.N()), signer: newMailbox[bft.SignRequest](),
		checks: newMailbox[*bft.Bundle](), routes: newRoutes(), queries: newQueries()}
	n.ctx, n.cancel = context.WithCancel(ctx)
	n.demand = newDemand(&o.Core)
	n.verifier = verify.New(crypto.NewEd25519(2*o.Core.N()), runtime.GOMAXPROCS(0), verifyClaims, verifyRemember)
	n.exec = &executor{n: n, box: newMailbox[task]()}
	n.disk = newDisk(n)
	n.tracer = newTracer(n)
	n.receipts = newReceiptBook()
	n.metrics = newMetrics(n)
	var err error
	if n.watch, err = newWatch(n); err != nil {
		n.cancel()
		return nil, err
	}
	if err := n.start(); err != nil {
		n.cancel()
		if n.http != nil {
			err = errors.Join(err, n.http.close())
		}
		if n.store != nil {
			err = errors.Join(err, n.store.Close())
		}
		return nil, err
	}
	go func() {
		<-n.ctx.Done()
		n.stop()
	}()
	log.Infof("%s of cluster %s runs on %s, executed %d", o.Names[o.Core.Self], o.Core.Cluster.Short(), n.Addr(), n.executed.Load())
	n.tellQuorum()
	return n, nil
}

func (n *Node) start() error {
	o := &n.opts
	var err error
	if n.checker, err = bft.NewChecker(&o.Core); err != nil {
		return err
	}
	// What can be refused is refused before the directory is touched.
	if o.HTTP != "" {
		if n.http, err = listenHTTP(o.HTTP); err != nil {
			return err
		}
	}
	st, err := n.openStore()
	if err != nil {
		return err
	}
	restored, err := n.restore(st)
	if err != nil {
		return err
	}
	if n.machine.Passive() {
		o.Core.Passive, o.Core.Pipeline = true, 1
	}
	if n.replica, err = bft.New(o.Core, restored); err != nil {
		return err
	}
	n.observe()
	members := make([]transport.Member, o.Core.N())
	for i := range members {
		members[i] = transport.Member{Key: o.Core.Members[i], Addrs: o.Addrs[i]}
	}
	if n.net, err = transport.Listen(transport.ServerConfig{Key: o.Key, Self: int(o.Core.Self), Cluster: o.Core.Cluster,
		Members: members, Listen: o.Listen, AdmitClient: n.admit, Handler: handler{n}, Limits: o.Transport}); err != nil {
		return portInUse(strings.Join(o.Listen, ", "), err)
	}
	loops := []func(){n.coreLoop, n.signLoop, n.checkLoop, n.exec.loop, n.disk.writeLoop, n.disk.readLoop, n.slowLoop, n.watch.loop}
	for range max(2, runtime.GOMAXPROCS(0)) {
		loops = append(loops, n.readerLoop)
	}
	n.running.Add(len(loops))
	for _, f := range loops {
		go f()
	}
	if n.http != nil {
		n.http.serve(n)
	}
	n.announce()
	close(n.up)
	return nil
}

// now is the logical time: nanoseconds since the start, never 0.
func (n *Node) now() bft.Time { return bft.Time(time.Since(n.started)) + 1 }

// Addr is the first address that the replica listens on.
func (n *Node) Addr() string {
	if a := n.net.Addrs(); len(a) > 0 {
		return a[0]
	}
	return ""
}

// HTTPAddr is the address of metrics and health, or empty.
func (n *Node) HTTPAddr() string {
	if n.http == nil {
		return ""
	}
	return n.http.addr()
}

// Wait returns when the node has closed, with what went wrong while it did.
func (n *Node) Wait() error {
	<-n.closed
	return n.err
}

// Close ends the node in order: what was decided is made durable first.
func (n *Node) Close() error {
	n.stop()
	return n.Wait()
}

// stop ends input first, then each stage after those that feed it.
func (n *Node) stop() {
	n.closing.Do(func() {
		n.cancel()
		if n.announcer != nil {
			n.announcer.Close()
		}
		err := n.net.Close()
		n.verifier.Drain()
		n.signer.close()
		n.checks.close()
		n.exec.box.close()
		n.disk.parts.close()
		n.disk.snapshots.close()
		n.running.Wait()
		if n.http != nil {
			err = errors.Join(err, n.http.close())
		}
		if err = errors.Join(err, n.store.Close()); err != nil {
			n.err = fmt.Errorf("node: closing: %w", err)
		}
		close(n.closed)
	})
	<-n.closed
}

// fatal ends the process: what this replica knows or promised is in doubt. It does not return.
func (n *Node) fatal(err error) {
	if n.opts.Fatal != nil {
		n.opts.Fatal(err)
		select {}
	}
	fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", "; "))
	os.Exit(1)
}

// slowLoop does what is due about once a second.
func (n *Node) slowLoop() {
	defer n.running.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			n.routes.age(now)
			for _, w := range n.queries.expire(now) {
				n.refuse(w)
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// portInUse makes the error of a taken port say what to do.
func portInUse(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("node: the address %s is in use: stop what listens there, or choose another", addr)
	}
	return fmt.Errorf("node: listening on %s: %w", addr, err)
}
