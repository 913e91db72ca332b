package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// TestErrorsOfTheClient: each way in which a call can fail has a status and a code, and says whether something may have
// been changed.
func TestErrorsOfTheClient(t *testing.T) {
	r := newRig(t, nil)
	for _, v := range []struct {
		err           error
		write, read   string
		status, reads int
		unknown       bool
	}{
		{&bft.CallError{Kind: client.ErrNotSubmitted}, "not_submitted", "not_submitted", 503, 503, false},
		{&bft.CallError{Kind: client.ErrOutcomeUnknown}, "outcome_unknown", "no_answer", 504, 504, true},
		{&bft.CallError{Kind: client.ErrOverloaded, Outcome: client.ErrNotSubmitted}, "overloaded", "overloaded", 503, 503, false},
		{&bft.CallError{Kind: client.ErrOverloaded, Outcome: client.ErrOutcomeUnknown}, "outcome_unknown_overloaded", "no_answer", 504, 504, true},
		{&bft.CallError{Kind: client.ErrSessionExpired, Outcome: client.ErrOutcomeUnknown}, "outcome_unknown_expired", "no_answer", 504, 504, true},
		{&bft.CallError{Kind: client.ErrRejected}, "rejected", "rejected", 422, 422, false},
		{&bft.CallError{Kind: client.ErrReadFailed}, "read_failed", "read_failed", 422, 422, false},
		{&bft.CallError{Kind: client.ErrContended}, "contended", "contended", 503, 503, false},
		{errors.Join(&bft.CallError{Kind: client.ErrNotSubmitted}, transport.ErrNotAdmitted), "not_admitted", "not_admitted", 403, 403, false},
	} {
		r.cluster.set(func(context.Context, string, []byte) error { return v.err })
		a := r.do("POST", "/v1/counter/add", `{"number":1}`)
		if code, effect := a.failure(t); a.status != v.status || code != v.write || (effect == "unknown") != v.unknown {
			t.Errorf("%v of an operation: %d %s, effect %s", v.err, a.status, code, effect)
		}
		if retry := a.header.Get("Retry-After"); (retry != "") != (a.status == 503 || strings.HasSuffix(v.write, "overloaded")) {
			t.Errorf("%v: Retry-After %q", v.err, retry)
		}
		a = r.do("GET", "/v1/counter", "")
		if code, effect := a.failure(t); a.status != v.reads || code != v.read || effect != "none" {
			t.Errorf("%v of a read: %d %s, effect %s", v.err, a.status, code, effect)
		}
	}
}

// TestResultsThatMakeNoSense: what the cluster agreed on and this gateway cannot read has an unknown effect, if it is one.
func TestResultsThatMakeNoSense(t *testing.T) {
	e := malformed(io.EOF)
	if e.Status != 502 || e.Effect == Unknown {
		t.Errorf("%+v", e)
	}
	r := newRig(t, func(_ *config.Gateway, o *Options) {
		o.Accounts[0].Cluster = nonsense{o.Accounts[0].Cluster}
	})
	for path, effect := range map[string]string{"/v1/counter": "none", "/v1/counter/add": "unknown"} {
		method, body := "GET", ""
		if effect == "unknown" {
			method, body = "POST", `{"number":1}`
		}
		a := r.do(method, path, body)
		if code, got := a.failure(t); a.status != 502 || code != "malformed_result" || got != effect {
			t.Errorf("%s: %d %s, effect %s", path, a.status, code, got)
		}
	}
}

type nonsense struct{ Cluster }

func (nonsense) Invoke(context.Context, Operation) (Outcome, error) {
	return Outcome{Value: []byte("nonsense")}, nil
}

func (nonsense) Query(context.Context, string, []byte, client.Consistency) ([]byte, error) {
	return []byte("nonsense"), nil
}

func TestMalformedRequests(t *testing.T) {
	r := newRig(t, nil)
	const add = "/v1/counter/add"
	for _, body := range []string{"{", `{"number":5`, `{"number":5}x`, `{"number":5}{}`, `{"number":"5"}`, `{"number":5.5}`, `{"number":1e400}`,
		`{"nomber":5}`, `{"number":5,}`, "{\"number\":5,\"x\xff\":1}", `{"number":null}`, "{" + strings.Repeat(`"a":{`, 20000)} {
		r.fails("POST", add, body, 400, "bad_request")
	}
	const json = "Content-Type: application/json"
	r.fails("POST", add, `[]`, 400, "bad_request", json)
	r.fails("POST", add, `5`, 400, "bad_request", json)
	r.fails("POST", add, ``, 400, "bad_request", json)
	r.wants("POST", add, `{"number":5}`, 200, `{"value":5}`, json+"; charset=utf-8")
	r.fails("POST", add, `number=5`, 415, "not_json", "Content-Type: application/x-www-form-urlencoded")
	r.fails("POST", add, ``, 415, "not_json")
	r.fails("POST", add, `{"number":5}`, 415, "not_json", json, "Content-Encoding: gzip")
	r.fails("GET", "/v1/counter", "x", 400, "bad_request")
	for _, query := range []string{"consistency=strong", "consistensy=stale", "timeout=5", "timeout=0s", "timeout=-1s", "timeout=1h", "timeout=1s&timeout=2s", "a;b", "%zz", "timeout=%ff"} {
		r.fails("GET", "/v1/counter?"+query, "", 400, "bad_request")
	}
	r.idle()
}

func TestWrongMethodsAndPaths(t *testing.T) {
	r := newRig(t, nil)
	for path, allow := range map[string]string{"/v1/counter": "GET, HEAD", "/v1/counter/add": "POST", "/v1/kv/a": "DELETE, GET, HEAD, PUT", "/healthz": "GET, HEAD"} {
		for _, method := range []string{"PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
			a := r.do(method, path, "")
			if code, _ := a.failure(t); a.status != 405 || code != "method_not_allowed" || a.header.Get("Allow") != allow {
				t.Errorf("%s %s: %d %s, Allow %q", method, path, a.status, code, a.header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/kv/", "/v1/kv/a/b", "/v1/kv/..", "/v1//kv", "/v1/./kv", "/v2/kv/a", "/v1/services/kv"} {
		r.fails("GET", path, "", 404, "no_such_route")
	}
	if a := r.do("GET", "/v1/kv/%2E%2E%2f", ""); a.status != 404 {
		t.Errorf("%d", a.status)
	} else if code, _ := a.failure(t); code != "not_found" { // it is a key
		t.Error(code)
	}
}

// TestHugeBodies: they are refused by their length where it is known, else when they have become too long.
func TestHugeBodies(t *testing.T) {
	r := newRig(t, nil)
	for _, length := range []string{"Content-Length: 1099511627776", "Transfer-Encoding: chunked"} {
		c := r.dial()
		fmt.Fprintf(c, "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n", length)
		go func() { // as long as it is taken
			chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
			for _, err := io.WriteString(c, chunk); err == nil; {
				_, err = io.WriteString(c, chunk)
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", length, err)
		}
		if resp.StatusCode != 413 || !resp.Close {
			t.Errorf("%s: %d", length, resp.StatusCode)
		}
		c.Close()
	}
	resp, err := r.client.Get(r.url + "/v1/counter?" + strings.Repeat("x", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 431 {
		t.Errorf("a head of a MiB: %d", resp.StatusCode)
	}
	r.idle()
}

// dial opens a connection by hand.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

const brief = config.Duration(50 * time.Millisecond)

// TestSlowHeaders: a head that drips is cut off.
func TestSlowHeaders(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.HeaderTime = brief })
	c := r.dial()
	go func() { // one byte after another, as long as it is taken
		for _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"); err == nil; time.Sleep(time.Millisecond) {
			_, err = io.WriteString(c, "X: y\r\n")
		}
	}()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection whose head never ends is kept")
	}
}

// TestSlowBodies: a body that drips has the status of what took too long, and the connection is closed.
func TestSlowBodies(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.BodyTime = brief })
	for path, body := range map[string]string{"PUT /v1/kv/a": `{"value":"`, "POST /v1/files/content/small": "x", "POST /v1/files/content/large": strings.Repeat("x", 1000)} {
		c := r.dial()
		length := 1000
		if len(body) == length {
			length = 3 * files.ChunkSize
		}
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, length, body)
		go func() { // one byte after another, as long as it is taken
			for _, err := io.WriteString(c, "x"); err == nil; time.Sleep(time.Duration(brief) / 20) {
				_, err = io.WriteString(c, "x")
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 408 || !resp.Close || !strings.Contains(string(text), "slow_body") {
			t.Errorf("%s: %d %s, %v", path, resp.StatusCode, text, err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is kept", path)
		}
	}
	r.idle()
	if n := r.uploads(); n != 0.0 {
		t.Errorf("%v uploads are left", n)
	}
	// Who goes away in the middle leaves nothing either.
	c := r.dial()
	fmt.Fprintf(c, "POST /v1/files/content/gone HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\nx", 3*files.ChunkSize)
	c.Close()
	r.idle()
	r.fails("GET", "/v1/files/content/gone", "", 404, "not_found")
}

// TestSlowReaders: who does not take the answer is cut off, and what was held for it is given back.
func TestSlowReaders(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.WriteTime = brief })
	value := strings.Repeat("x", 1<<20)
	r.do("PUT", "/v1/kv/a", `{"value":"`+value+`"}`)
	r.do("POST", "/v1/files/content/f", string(random(16*files.ChunkSize)))
	for _, path := range []string{"/v1/kv/a", "/v1/files/content/f"} {
		for range 8 {
			c := r.dial()
			if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			// What the system buffers may hold an answer; many on one connection it does not.
			io.WriteString(c, strings.Repeat(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path), 32))
		}
	}
	r.idle()
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
}

// hold makes every call of the cluster wait for the end of the test, and tells of each that it has come.
func (r *rig) hold() (came chan struct{}, release func()) {
	came, end := make(chan struct{}, 4096), make(chan struct{})
	release = sync.OnceFunc(func() { close(end) })
	r.t.Cleanup(release)
	r.cluster.set(func(ctx context.Context, _ string, _ []byte) error {
		came <- struct{}{}
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return &bft.CallError{Kind: client.ErrOutcomeUnknown}
		}
	})
	return came, release
}

// TestTooManyRequests: beyond the bound they are refused at once, with the time to come again; health is still told.
func TestTooManyRequests(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		cfg.Limits.Requests = 2
		withUsers("ana", "bia", "caio")(cfg, o)
	})
	came, release := r.hold()
	var wg sync.WaitGroup
	for _, user := range []string{"ana", "bia"} {
		wg.Go(func() { r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, bearer(user)) })
		<-came
	}
	a := r.do("GET", "/v1/counter", "", bearer("caio"))
	if code, effect := a.failure(t); a.status != 503 || code != "gateway_busy" || effect != "none" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%d %s %s %v", a.status, code, effect, a.header)
	}
	r.wants("GET", "/healthz", "", 200, `{"status":"ok"}`)
	r.wants("GET", "/readyz", "", 200, `{"status":"ready"}`)
	release()
	wg.Wait()
	r.idle()
}

// TestMemory: bodies and answers that would take more than the gateway may hold are refused.
func TestMemory(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.Memory = 16 << 20 })
	r.do("PUT", "/v1/kv/large", `{"value":"`+strings.Repeat("x", 1<<20)+`"}`)
	r.idle()
	all := holder{"others"}
	r.g.memory.add(all, 16<<20-1000)
	r.fails("PUT", "/v1/kv/a", `{"value":"`+strings.Repeat("x", 1000)+`"}`, 503, "gateway_busy")
	r.fails("GET", "/v1/kv/large", "", 503, "gateway_busy")
	r.fails("POST", "/v1/files/content/f", strings.Repeat("x", 1<<20), 503, "gateway_busy")
	r.wants("PUT", "/v1/kv/a", `{"value":"1"}`, 200, `{"key":"a"}`)
	// An operation whose large result cannot be told was executed all the same.
	a := r.do("POST", "/v1/services/kv/invoke", `{"operation":"G\u0005large"}`)
	if code, effect := a.failure(t); a.status != 504 || code != "gateway_busy" || effect != "unknown" {
		t.Errorf("%d %s %s", a.status, code, effect)
	}
	r.g.memory.give(all, 16<<20-1000)
	r.idle()
}

// TestCallTime: a call that takes too long ends, with an outcome that is unknown.
func TestCallTime(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.CallTime = brief })
	r.hold()
	r.fails("POST", "/v1/counter/add", `{"number":1}`, 504, "outcome_unknown")
	r.fails("POST", "/v1/counter/add?timeout=20ms", `{"number":1}`, 504, "outcome_unknown")
	r.fails("GET", "/v1/counter", "", 504, "no_answer")
	r.fails("GET", "/v1/files/content/x", "", 504, "no_answer")
}

// TestThousandConnections: a thousand at once, each with requests of its own, all answered.
func TestThousandConnections(t *testing.T) {
	r := newRig(t, nil)
	const connections, requests = 1000, 3
	start, failed := make(chan struct{}), make(chan error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		c := r.dial()
		wg.Go(func() {
			<-start
			in := bufio.NewReader(c)
			for k := range requests {
				body := `{"number":1}`
				fmt.Fprintf(c, "POST /v1/counter/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				resp, err := http.ReadResponse(in, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err != nil || resp.StatusCode != 200 {
					failed <- fmt.Errorf("request %d of connection %d: %v %v", k, i, resp, err)
					return
				}
			}
		})
	}
	close(start)
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	r.wants("GET", "/v1/counter", "", 200, fmt.Sprintf(`{"value":%d}`, connections*requests))
	r.idle()
}

const right, wrong = "ANATOKEN7", "NOTOKEN7"

// withUser lets only ana in, whose key is her own.
func withUser(cfg *config.Gateway, o *Options) {
	cfg.Users = []config.GatewayUser{{Name: "ana", Token: config.DigestToken(right)}}
	key := testKey("ana").Public()
	ana := &fakeCluster{world: o.Accounts[0].Cluster.(*fakeCluster).world, key: key}
	o.Accounts = []Account{{Name: "ana", Token: config.DigestToken(right), Key: key, Cluster: ana, Operator: true}}
}

func TestTokens(t *testing.T) {
	r := newRig(t, withUser)
	const bearer = "Authorization: Bearer "
	for _, h := range []string{"X: y", bearer, bearer + wrong, "Authorization: Basic " + right, "Authorization: " + right} {
		a := r.do("GET", "/v1/counter", "", h)
		if code, _ := a.failure(t); a.status != 401 || code != "unauthorized" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %s %v", h, a.status, code, a.header)
		}
	}
	r.fails("POST", "/v1/files/content/x", strings.Repeat("x", 1<<20), 401, "unauthorized")
	r.fails("GET", "/metrics", "", 401, "unauthorized")
	for _, open := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if a := r.do("GET", open, ""); a.status != 200 {
			t.Errorf("%s: %d", open, a.status)
		}
	}
	r.wants("POST", "/v1/echo", `{"text":"hi"}`, 200, `{"number":1,"text":"hi"}`, bearer+right)
	o := r.do("GET", "/v1/cluster", "", "Authorization: bearer "+right).object(t)
	if o["account"] != "ana" || o["key"] != testKey("ana").Public().String() {
		t.Errorf("%v", o)
	}
	if a := r.do("GET", "/metrics", "", bearer+right); a.status != 200 || !strings.Contains(string(a.body), `account="ana"`) {
		t.Errorf("metrics: %d %s", a.status, a.body)
	}
}

// TestTokensAreNotLogged: not even of a request that is logged.
func TestTokensAreNotLogged(t *testing.T) {
	if err := logging.SetLogLevel("baluarte/gateway", "debug"); err != nil {
		t.Fatal(err)
	}
	defer logging.SetLogLevel("baluarte/gateway", "error")
	lines := logging.NewPipeReader(logging.PipeLevel(logging.LevelDebug))
	logged := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines) // up to its end, which is an error
		logged <- string(text)
	}()
	r := newRig(t, withUser)
	for _, token := range []string{right, wrong} {
		r.do("GET", "/v1/counter", "", "Authorization: Bearer "+token)
	}
	r.do("GET", "/v1/counter?secret="+right, "", "Authorization: Bearer "+right)
	r.do("GET", "/v1/kv/end", "", "Authorization: Bearer "+right)
	r.stop()
	lines.Close()
	text := <-logged
	if strings.Contains(text, right) || strings.Contains(text, wrong) {
		t.Errorf("a token is logged: %s", text)
	}
	if !strings.Contains(text, "/v1/kv/end") {
		t.Errorf("the log has only %s", text)
	}
}

func TestRate(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUser(cfg, o)
		o.Accounts[0].Rate = 1
	})
	const token = "Authorization: Bearer " + right
	for { // the first, and one a second after it
		a := r.do("GET", "/v1/counter", "", token)
		if a.status == 200 {
			continue
		}
		if code, _ := a.failure(t); a.status != 429 || code != "rate_limited" || a.header.Get("Retry-After") != "1" {
			t.Errorf("%d %s %v", a.status, code, a.header)
		}
		return
	}
}

// TestBrowsersOfOthers: a page of another site reaches nothing, whatever name it has for this machine.
func TestBrowsersOfOthers(t *testing.T) {
	r := newRig(t, nil)
	r.fails("POST", "/v1/counter/add", `{"number":1}`, 403, "cross_origin", "Sec-Fetch-Site: cross-site")
	r.fails("POST", "/v1/counter/add", `{"number":1}`, 403, "cross_origin", "Origin: https://example.org")
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://example.org", "Origin: null"} {
		r.fails("GET", "/v1/counter", "", 403, "cross_origin", header)
		r.fails("GET", "/v1/watch/kv", "", 403, "cross_origin", header)
		r.wants("GET", "/healthz", "", 200, `{"status":"ok"}`, header) // which says nothing of anybody
	}
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, "Sec-Fetch-Site: none") // typed by hand
	r.fails("GET", "/v1/counter", "", 421, "misdirected", "Host: example.org")
	for _, host := range []string{"localhost", "localhost:1", "127.0.0.1", "[::1]:8470", "[::1]"} {
		r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, "Host: "+host)
	}
	r = newRig(t, withUser)
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, "Host: example.org", "Authorization: Bearer "+right)
}

func TestReady(t *testing.T) {
	r := newRig(t, nil)
	r.wants("GET", "/readyz", "", 200, `{"status":"ready"}`)
	r.cluster.mu.Lock()
	r.cluster.down = 2
	r.cluster.mu.Unlock()
	r.fails("GET", "/readyz", "", 503, "no_quorum")
	r.wants("GET", "/healthz", "", 200, `{"status":"ok"}`)
}

// TestEnds: what is being served ends as it would; then nobody is served any more.
func TestEnds(t *testing.T) {
	r := newRig(t, nil)
	came, release := r.hold()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r.wants("POST", "/v1/counter/add", `{"number":1}`, 200, `{"value":1}`)
	}()
	<-came
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	<-r.g.ending
	if e := r.g.unready(); e == nil || e.Code != "ending" {
		t.Errorf("ready while it ends: %v", e)
	}
	release()
	<-answered
	<-stopped
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("it still listens")
	}
}

// TestEndIsBounded: a request that does not end is cut off.
func TestEndIsBounded(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.StopTime = brief })
	came, _ := r.hold()
	done := make(chan error, 1)
	go func() {
		_, err := r.client.Get(r.url + "/v1/counter")
		done <- err
	}()
	<-came
	r.stop()
	if err := <-done; err == nil {
		t.Error("the request was answered, though nobody did")
	}
}

// TestBugs: a panic is an answer, and ends nothing else.
func TestBugs(t *testing.T) {
	r := newRig(t, nil)
	r.cluster.set(func(context.Context, string, []byte) error { panic("a bug") })
	r.fails("GET", "/v1/counter", "", 500, "internal")
	r.cluster.set(nil)
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
	r.idle()
}

func TestNobodyToServe(t *testing.T) {
	if _, err := New(Options{Config: config.DefaultGateway()}); err == nil {
		t.Error("a gateway without accounts")
	}
}
