package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"golang.org/x/net/netutil"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

var log = logging.Logger("baluarte/gateway")

// Options say what a gateway serves, and to whom.
type Options struct {
	// Config was validated.
	Config *config.Gateway
	// Manifest is that of the cluster.
	Manifest *config.Manifest
	// Accounts are those of the users. One with the zero Token serves whoever shows none.
	Accounts []Account
	// TLS is nil for HTTP without TLS.
	TLS *tls.Config
}

// Gateway is an HTTP server whose requests become calls of a cluster.
type Gateway struct {
	limits    config.GatewayLimits
	loopback  bool
	manifest  *config.Manifest
	accounts  map[config.TokenDigest]*account
	anonymous *account // nil: a token is needed
	clusters  []Cluster
	tls       *tls.Config
	mux       *http.ServeMux
	metrics   *metrics
	origins   *http.CrossOriginProtection

	connections *shares
	serving     *shares       // requests, without watches
	watches     *shares       // which last, and do little
	memory      *shares       // bytes of bodies and answers
	ending      chan struct{} // closed when Serve begins to end
}

// New makes a gateway that does not listen yet.
func New(o Options) (*Gateway, error) {
	if len(o.Accounts) == 0 {
		return nil, errors.New("gateway: no account to serve")
	}
	l := o.Config.Limits
	g := &Gateway{limits: l, loopback: o.Config.Loopback(), manifest: o.Manifest, tls: o.TLS, accounts: map[config.TokenDigest]*account{},
		mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(), ending: make(chan struct{}),
		connections: newShares(int64(l.Connections), "connections"), serving: newShares(int64(l.Requests), "requests"),
		watches: newShares(int64(l.Watches), "watches"), memory: newShares(int64(l.Memory), "bytes of bodies and answers")}
	for _, a := range o.Accounts {
		acc := newAccount(a)
		g.clusters = append(g.clusters, a.Cluster)
		if a.Token == (config.TokenDigest{}) {
			g.anonymous = acc
		} else {
			g.accounts[a.Token] = acc
		}
	}
	g.shareKeys()
	g.metrics = newMetrics(g)
	for i := range routes {
		g.mux.HandleFunc(routes[i].method+" "+routes[i].pattern, g.handler(&routes[i]))
	}
	return g, nil
}

// shareKeys has those who sign with one key share what it has.
func (g *Gateway) shareKeys() {
	byKey := map[crypto.PublicKey][]*account{}
	for _, a := range g.accounts {
		byKey[a.Key] = append(byKey[a.Key], a)
	}
	if a := g.anonymous; a != nil {
		byKey[a.Key] = append(byKey[a.Key], a)
	}
	for _, shared := range byKey {
		if len(shared) == 1 && (shared[0] != g.anonymous || g.loopback) {
			continue
		}
		openings, outstanding := newOpenings(g.manifest.Protocol.OpeningsPerClient), newOutstanding()
		for _, a := range shared {
			a.openings, a.outstanding = openings, outstanding
		}
	}
}

// Serve serves requests until ctx has ended, then lets those that are being served end, and closes the listener. The
// error says why it could not go on.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Duration(g.limits.HeaderTime), IdleTimeout: time.Duration(g.limits.IdleTime),
		MaxHeaderBytes: int(g.limits.Header), TLSConfig: g.tls, ErrorLog: serverLog(), ConnContext: withConn, Protocols: &http.Protocols{}}
	// The bounds are made for a request at a time on each connection.
	server.Protocols.SetHTTP1(true)
	l = &fairListener{netutil.LimitListener(l, g.limits.Connections), g.connections, g.metrics.refused.Inc}
	done := make(chan error, 1)
	go func() {
		if g.tls != nil {
			done <- server.ServeTLS(l, "", "")
		} else {
			done <- server.Serve(l)
		}
	}()
	select {
	case err := <-done:
		return fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
	}
	close(g.ending)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(g.limits.StopTime))
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warnf("requests that had not ended after %s were cut off", g.limits.StopTime)
		err = server.Close()
	}
	<-done
	return err
}

// unready says why the gateway cannot serve at present, or nil.
func (g *Gateway) unready() *Error {
	select {
	case <-g.ending:
		return busy("ending", "the gateway is about to end")
	default:
	}
	var reach string
	for _, c := range g.clusters {
		r := c.Reachable()
		if len(r.Down) <= r.N-r.Needed {
			return nil
		}
		reach = r.String()
	}
	return busy("no_quorum", "%s", reach)
}
