package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers a request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w}
	start := time.Now()
	label, who := "none", "none"
	c := &call{g: g, w: out, r: r, control: http.NewResponseController(w)}
	defer c.end()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { // an answer that was cut off on purpose
				g.metrics.count(label, who, out, start)
				panic(p)
			}
			log.Errorf("a bug: %s %s: %v\n%s", r.Method, r.URL.Path, p, debug.Stack())
			c.sendError(fail(http.StatusInternalServerError, "internal", "the gateway has a bug, its log says more"))
		}
		g.metrics.count(label, who, out, start)
		log.Debugf("%s %s by %s: %d %s in %v", r.Method, r.URL.Path, who, out.status, out.code, time.Since(start))
	}()
	// Neither the discarding of what nobody reads nor an answer to who does not take it may last.
	c.deadlines(time.Duration(g.limits.BodyTime), time.Duration(g.limits.WriteTime))
	handler, pattern := g.mux.Handler(r)
	switch {
	case path.Clean(r.URL.EscapedPath()) != r.URL.EscapedPath():
		c.sendError(fail(http.StatusNotFound, "no_such_route", "a path has no empty part, dot or slash at its end: in a key write %%2F for a slash"))
		return
	case pattern == "":
		c.sendError(noRoute(handler, r))
		return
	}
	c.route = routeOf[pattern]
	label = pattern
	acc, err := g.admit(c)
	if acc != nil {
		who = acc.Name
	}
	if err != nil {
		c.sendError(err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	g.mux.ServeHTTP(out, r)
}

type callKey struct{}

// handler makes the function of a route.
func (g *Gateway) handler(rt *route) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(callKey{}).(*call)
		c.r = r // with what the pattern matched
		answer, err := c.run(rt)
		switch {
		case err != nil:
			c.sendError(err)
		case !c.w.written():
			c.send(http.StatusOK, answer)
		}
	}
}

// admit tells for whom a request is served, or why it is not. Unless the route is open it takes a place among the
// requests that are served, or the watches.
func (g *Gateway) admit(c *call) (*account, error) {
	if c.route.open {
		return nil, nil
	}
	if g.ofAnotherSite(c.r) {
		return nil, fail(http.StatusForbidden, "cross_origin", "a page of another site asks: the gateway is not for browsers")
	}
	acc, err := g.accountOf(c.r)
	if err != nil {
		return nil, err
	}
	if acc == g.anonymous && g.loopback && !loopbackHost(c.r.Host) {
		// A name that somebody made point to this machine, so that a browser takes the gateway for theirs.
		return acc, fail(http.StatusMisdirectedRequest, "misdirected", "the Host header names another machine: without a token only localhost is served")
	}
	c.account, c.holder = acc, g.holderOf(acc, c.r)
	if err := g.countConnection(c, acc); err != nil {
		return acc, err
	}
	if err := acc.allow(c.holder); err != nil {
		return acc, err
	}
	if s := c.route.service; s != "" && !g.hosts(s) {
		return acc, fail(http.StatusNotFound, "no_such_service", "this cluster hosts no service %s, only %s", s, strings.Join(g.manifest.Services, ", "))
	}
	if c.route.operator && !acc.Operator && len(g.accounts) > 0 {
		return acc, fail(http.StatusForbidden, "not_operator", "this is for users that the gateway's configuration makes operators")
	}
	places := g.serving
	if c.route.watch {
		places = g.watches
	}
	if err := places.take(c.holder, 1); err != nil {
		return acc, err
	}
	c.place = places
	return acc, nil
}

// ofAnotherSite tells whether a page of another site has a browser ask. One may not read either: what the gateway
// answers is not kept from a page by the browser alone.
func (g *Gateway) ofAnotherSite(r *http.Request) bool {
	asked := *r
	asked.Method = http.MethodPost // GET and HEAD would pass
	return g.origins.Check(&asked) != nil
}

func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// noRoute words the answer of the mux to what no pattern matches.
func noRoute(handler http.Handler, r *http.Request) *Error {
	probe := &response{ResponseWriter: discard{http.Header{}}}
	handler.ServeHTTP(probe, r)
	if allow := probe.Header().Get("Allow"); probe.status == http.StatusMethodNotAllowed && allow != "" {
		e := fail(http.StatusMethodNotAllowed, "method_not_allowed", "this path is for %s", allow)
		e.allow = allow
		return e
	}
	return fail(http.StatusNotFound, "no_such_route", "there is nothing at this path: /openapi.json lists what there is")
}

type discard struct{ h http.Header }

// Header returns the headers.
func (d discard) Header() http.Header { return d.h }

// Write forgets a part of a body.
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader forgets the status, which the response around it keeps.
func (discard) WriteHeader(int) {}

// response notes what becomes of an answer.
type response struct {
	http.ResponseWriter
	status int
	code   string // of the error
	bytes  int64
}

func (w *response) written() bool { return w.status != 0 }

// WriteHeader notes the status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (m *metrics) count(route, who string, w *response, start time.Time) {
	m.requests.WithLabelValues(route, who, strconv.Itoa(w.status), w.code).Inc()
	m.seconds.WithLabelValues(route).Observe(time.Since(start).Seconds())
	m.sent.Add(float64(w.bytes))
}

// send answers with a JSON object, to which a receipt is added if one was asked for. What does not fit the memory that
// the gateway may hold for slow readers is not sent.
func (c *call) send(status int, answer any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		panic(fmt.Errorf("gateway: an answer of type %T: %w", answer, err))
	}
	text := b.Bytes()
	if c.extra != nil {
		text = c.extra(bytes.TrimSuffix(bytes.TrimSpace(text), []byte("}")))
	}
	if status == http.StatusOK && len(text) > smallAnswer {
		if err := c.reserve(int64(len(text))); err != nil {
			if c.changed {
				err.Status, err.Code = http.StatusGatewayTimeout, "gateway_busy"
			}
			c.sendError(err)
			return
		}
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	c.deadlines(0, time.Duration(c.g.limits.WriteTime))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(text) // the other end may be gone
}

// bodyLeft is how long the rest of a body is waited for that nobody reads.
const bodyLeft = time.Second

// smallAnswer is the size up to which answers do not count against the memory.
const smallAnswer = 4 << 10

// sendError answers with an error object, unless an answer has begun.
func (c *call) sendError(err error) {
	if c.w.written() {
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		log.Errorf("%s %s: %v", c.r.Method, c.r.URL.Path, err)
		e = fail(http.StatusInternalServerError, "internal", "%v", err)
	}
	if c.changed && e.Effect == "" && e.Status >= http.StatusInternalServerError {
		e.Effect = Unknown // what was executed cannot be told
	}
	c.w.code, c.extra = e.Code, nil
	h := c.w.Header()
	e.writeHeaders(h)
	if c.r.ContentLength != 0 && !c.bodyRead {
		// What is left of a body is waited for no longer than one takes that is on its way: to close before it is here could
		// take the answer from its reader.
		h.Set("Connection", "close")
		c.deadlines(bodyLeft, 0)
	}
	c.send(e.Status, map[string]*Error{"error": e})
}

// deadlines sets until when the next part of the body must have come, and of the answer be taken; 0 leaves one as it is.
func (c *call) deadlines(read, write time.Duration) {
	now := time.Now()
	if read > 0 {
		_ = c.control.SetReadDeadline(now.Add(read)) // only a test's recorder has none
	}
	if write > 0 {
		_ = c.control.SetWriteDeadline(now.Add(write))
	}
}
