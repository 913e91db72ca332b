package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// withUsers lets the users of these names in, whose tokens are their names, and nobody else. They share a key.
func withUsers(names ...string) func(*config.Gateway, *Options) {
	return func(cfg *config.Gateway, o *Options) {
		shared := o.Accounts[0]
		o.Accounts = nil
		for _, name := range names {
			cfg.Users = append(cfg.Users, config.GatewayUser{Name: name, Token: config.DigestToken(name)})
			a := shared
			a.Name, a.Token = name, config.DigestToken(name)
			o.Accounts = append(o.Accounts, a)
		}
	}
}

func bearer(user string) string { return "Authorization: Bearer " + user }

// TestSharesAreFair: whatever others hold and ask for, who has nothing gets something as long as n holders of half of the
// rest leave anything; all is given back.
func TestSharesAreFair(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.Int64Range(1, 1000).Draw(rt, "total")
		s := newShares(total, "things")
		held := map[string]int64{}
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c/1", "c/2", "c/3"}), 1, 300).Draw(rt, "holders")
		inside := func(name string) (sum int64) {
			for h, n := range held {
				if strings.HasPrefix(h, name) {
					sum += n
				}
			}
			return sum
		}
		for _, name := range names {
			n := rapid.Int64Range(1, max(1, total/4)).Draw(rt, "n")
			left := total - inside("")
			outer, _, _ := strings.Cut(name, "/")
			within := left - inside(outer)
			if name != outer {
				within -= held[name]
			}
			err := s.take(strings.Split(name, "/"), n)
			switch {
			case (err == nil) != (within >= n):
				rt.Fatalf("%s has %d of %d, %d are left, and is refused %d: %v", name, held[name], total, left, n, err)
			case err == nil:
				held[name] += n
			case (err.Status == 503) != (left < n):
				rt.Fatalf("%d with %d left of %d", err.Status, left, total)
			}
			if inside("") > total || s.held() != inside("") {
				rt.Fatalf("%d are held of %d", s.held(), total)
			}
		}
		for name, n := range held {
			s.give(strings.Split(name, "/"), n)
		}
		if s.held() != 0 || len(s.used) != 0 {
			rt.Fatalf("left: %v", s.used)
		}
	})
}

func TestSources(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "?"} {
		if got := source(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// dialFrom opens a connection from an address of this machine.
func (r *rig) dialFrom(from string) net.Conn {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// TestOneUserTakesNotAll: one who trickles uploads on as many connections as he likes is refused beyond his share, and
// others are served; so it is with addresses where no token is needed.
func TestOneUserTakesNotAll(t *testing.T) {
	const places, tooMany = 64, 8
	for name, v := range map[string]struct {
		change      func(*config.Gateway, *Options)
		size        int
		him, others string // headers
		from        string
		most        int64
	}{
		"small":     {withUsers("ana", "bia"), 100, bearer("ana") + "\r\n", bearer("bia"), "127.0.0.1", places / 2},
		"large":     {withUsers("ana", "bia"), 2 * files.ChunkSize, bearer("ana") + "\r\n", bearer("bia"), "127.0.0.1", 3}, // of the memory
		"addresses": {func(*config.Gateway, *Options) {}, 100, "", "X: y", "127.0.0.2", places / 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(cfg *config.Gateway, o *Options) {
				v.change(cfg, o)
				cfg.Limits.Requests, cfg.Limits.Memory = places, 16<<20
				if len(cfg.Users) > 0 { // he takes no more of the connections than of the requests, though bia has the same address
					cfg.Limits.Connections = places
				}
				cfg.Limits.BodyTime = config.Duration(patience)
			})
			for i := range int(v.most) + tooMany {
				c := r.dialFrom(v.from)
				fmt.Fprintf(c, "POST /v1/files/content/%d HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\nx", i, v.him, v.size)
				if int64(i) < v.most {
					r.waitFor("upload", func() bool { return r.g.serving.held() > int64(i) && r.g.memory.held() > 0 })
					if v.size > files.ChunkSize {
						r.waitFor("memory of an upload", func() bool { return r.g.memory.held() == int64(i+1)*transferMemory })
					}
					continue
				}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(resp.Body) // what of it has come
				if resp.StatusCode != 429 || !strings.Contains(string(text), `"code":"share_exceeded"`) || resp.Header.Get("Retry-After") == "" {
					t.Errorf("beyond the share: %d %s", resp.StatusCode, text)
				}
			}
			r.wants("POST", "/v1/counter/add", `{"number":1}`, 200, `{"value":1}`, v.others)
			r.do("POST", "/v1/files/content/f", strings.Repeat("x", 100<<10), v.others).object(t)
			if n := r.g.serving.held(); n != v.most {
				t.Errorf("%d requests are served, want %d", n, v.most)
			}
		})
	}
}

// TestOneSourceTakesNotAllConnections: what one address opens beyond its share is closed, and others are let in.
func TestOneSourceTakesNotAllConnections(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.Connections = 32 })
	for i := range 64 {
		c := r.dialFrom("127.0.0.2")
		if i < 16 {
			r.waitFor("connection", func() bool { return r.g.connections.held() == int64(i+1) })
			continue
		}
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Fatalf("connection %d is kept", i)
		}
	}
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestConnectionsOfUsers: those of one user leave others room, who come from the same address, with TLS too. What is too much is
// closed with the answer.
func TestConnectionsOfUsers(t *testing.T) {
	for name, start := range map[string]func() (*rig, func() net.Conn){
		"http": func() (*rig, func() net.Conn) {
			r := newRig(t, func(cfg *config.Gateway, o *Options) {
				withUsers("ana", "bia")(cfg, o)
				cfg.Limits.Connections = 8
			})
			return r, r.dial
		},
		"https": func() (*rig, func() net.Conn) {
			r, trust := newTLSRig(t, func(cfg *config.Gateway, o *Options) {
				withUsers("ana", "bia")(cfg, o)
				cfg.Limits.Connections = 8
			})
			trust.ServerName = "127.0.0.1"
			return r, func() net.Conn { return tls.Client(r.dial(), trust) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, dial := start()
			for i := range 6 {
				c := dial()
				fmt.Fprintf(c, "GET /v1/counter HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", bearer("ana"))
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := map[bool]int{true: 200, false: 429}[i < 4]; resp.StatusCode != want || resp.Close != (want == 429) {
					t.Errorf("connection %d: %d, closed %v", i, resp.StatusCode, resp.Close)
				}
				r.waitFor("end of what is too much", func() bool { return r.g.connections.held() == int64(min(i+1, 4)) })
			}
			r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, bearer("bia"))
		})
	}
}

// TestRefusedBodiesAreNotWaitedFor: what is left of a body that nobody wants does not keep its connection.
func TestRefusedBodiesAreNotWaitedFor(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana")(cfg, o)
		cfg.Limits.BodyTime = config.Duration(time.Hour)
	})
	c := r.dial()
	fmt.Fprint(c, "POST /v1/counter/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("%v, %v", resp, err)
	}
	r.waitFor("end of the connection", func() bool { return r.g.connections.held() == 0 })
}

// TestRatesOfSources: an address that asks too often is told so, another one is served.
func TestRatesOfSources(t *testing.T) {
	for _, users := range []func(*config.Gateway, *Options){func(*config.Gateway, *Options) {}, besideUsers} {
		r := newRig(t, func(cfg *config.Gateway, o *Options) {
			o.Accounts[0].Rate = 1
			users(cfg, o)
		})
		ask := func(from string) int {
			c := r.dialFrom(from)
			fmt.Fprint(c, "GET /v1/counter HTTP/1.1\r\nHost: localhost\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
		for i := range 20 { // more at once than one address may have
			if status := ask(fmt.Sprint("127.0.1.", 1+i)); status != 200 {
				t.Errorf("address %d: %d", i, status)
			}
		}
		r.waitFor("refusal", func() bool { return ask("127.0.0.2") == 429 })
	}
	s := &rates{of: map[string]*rate.Limiter{}}
	for i := range 2 * maxRates {
		s.limiter(fmt.Sprint(i), 1).Allow()
	}
	if len(s.of) > maxRates {
		t.Errorf("%d addresses are known", len(s.of))
	}
}

// besideUsers lets a user in, and whoever shows no token.
func besideUsers(cfg *config.Gateway, o *Options) {
	anonymous := o.Accounts[0]
	withUsers("ana")(cfg, o)
	o.Accounts = append(o.Accounts, anonymous)
}

// TestAddressesBesideUsers: the addresses that show no token divide the share that all of them have.
func TestAddressesBesideUsers(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		besideUsers(cfg, o)
		cfg.Limits.Requests = 8
	})
	came, release := r.hold()
	defer release()
	ask := func(from string) net.Conn {
		c := r.dialFrom(from)
		fmt.Fprint(c, "GET /v1/counter HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return c
	}
	for range 3 { // of eight those without a token have four, of which one alone has not all
		ask("127.0.0.2")
		<-came
	}
	resp, err := http.ReadResponse(bufio.NewReader(ask("127.0.0.2")), nil)
	if err != nil || resp.StatusCode != 429 {
		t.Fatalf("%+v, %v", resp, err)
	}
	ask("127.0.0.3")
	<-came
}

// TestMetricsAreForOperators: who asks how much is for the operator to know.
func TestMetricsAreForOperators(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana", "bia")(cfg, o)
		o.Accounts[1].Operator = true
	})
	a := r.do("GET", "/metrics", "", bearer("ana"))
	if code, _ := a.failure(t); a.status != 403 || code != "not_operator" {
		t.Errorf("%d %s", a.status, code)
	}
	a = r.do("GET", "/metrics", "", bearer("bia"))
	for _, want := range []string{`account="ana"`, "baluarte_gateway_requests_serving 1", "baluarte_gateway_watches 0", "baluarte_gateway_connections_refused_total 0"} {
		if a.status != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("%d, no %s", a.status, want)
		}
	}
	for _, path := range []string{"/v1/cluster", "/readyz", "/openapi.json", "/healthz"} {
		if a := r.do("GET", path, "", bearer("ana")); strings.Contains(string(a.body), "bia") {
			t.Errorf("%s names another account: %s", path, a.body)
		}
	}
	// Who serves without a token has one account alone, unless users are beside it.
	if a := newRig(t, nil).do("GET", "/metrics", ""); a.status != 200 {
		t.Errorf("without users: %d", a.status)
	}
	r = newRig(t, func(cfg *config.Gateway, o *Options) {
		anonymous := o.Accounts[0]
		withUsers("ana")(cfg, o)
		o.Accounts = append(o.Accounts, anonymous)
	})
	r.fails("GET", "/metrics", "", 403, "not_operator")
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
}

// TestWatchesHaveTheirOwnPlaces: they leave those of requests alone, and one user has a share of them.
func TestWatchesHaveTheirOwnPlaces(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana", "bia")(cfg, o)
		cfg.Limits.Requests, cfg.Limits.Watches = 2, 8
	})
	for range 4 {
		r.watch("", "", bearer("ana")).wants("0.0", "start", `{"from":1}`)
	}
	if n := r.g.serving.held(); n != 0 {
		t.Errorf("%d requests are served", n)
	}
	r.fails("GET", "/v1/watch/kv", "", 429, "share_exceeded", bearer("ana"))
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`, bearer("ana"))
	e := r.watch("", "", bearer("bia"))
	e.wants("0.0", "start", `{"from":1}`)
	r.do("PUT", "/v1/kv/a", `{"value":"1"}`, bearer("ana"))
	e.wants("1.1", "put", `{"change":"put","key":"a","revision":1,"value":"1"}`)
}

// TestWatchThatDoesNotFit: an event for which there is no memory ends the watch with an error that says so, and the reader goes on from
// the last one that it has.
func TestWatchThatDoesNotFit(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.Memory = 16 << 20 })
	e := r.watch("", "")
	e.wants("0.0", "start", `{"from":1}`)
	r.do("PUT", "/v1/kv/a", `{"value":"1"}`)
	e.wants("1.1", "put", `{"change":"put","key":"a","revision":1,"value":"1"}`)
	large := strings.Repeat("x", 100_000)
	others := holder{"others"}
	r.g.memory.add(others, 16<<20-1000)
	if _, err := r.cluster.Invoke(t.Context(), Operation{Service: "kv", Op: kv.Put([]byte("b"), []byte(large))}); err != nil {
		t.Fatal(err)
	}
	if !e.in.Scan() || e.in.Text() != "event: error" || !e.in.Scan() || !strings.Contains(e.in.Text(), `"gateway_busy"`) {
		t.Fatalf("%.100s", e.in.Text())
	}
	r.g.memory.give(others, 16<<20-1000)
	e = r.watch("", "1.1")
	e.wants("0.0", "start", `{"from":1}`)
	e.wants("2.1", "put", `{"change":"put","key":"b","revision":2,"value":"`+large+`"}`)
	// What it took is given back once the reader has it, though the watch goes on.
	r.waitFor("memory that is given back", func() bool { return r.g.memory.held() == 0 })
	r.do("PUT", "/v1/kv/c", `{"value":"1"}`)
	e.wants("3.1", "put", `{"change":"put","key":"c","revision":3,"value":"1"}`)
}

// TestOpeningsAreShared: of what the cluster remembers for a key, one of its users has not more than a share; a
// repetition takes nothing, what was not submitted neither, and with its time each is given back.
func TestOpeningsAreShared(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana", "bia")(cfg, o)
		o.Manifest.Protocol.OpeningsPerClient = 8
	})
	add := func(user, key, body string) int {
		return r.do("POST", "/v1/counter/add", body, bearer(user), "Idempotency-Key: "+key, "Idempotency-Until: "+time.Now().Add(time.Hour).Format(time.RFC3339)).status
	}
	for i := range 4 {
		for range 2 {
			if status := add("ana", fmt.Sprint(i), `{"number":1}`); status != 200 {
				t.Errorf("request %d: %d", i, status)
			}
		}
	}
	if status := add("ana", "5", `{"number":1}`); status != 429 {
		t.Errorf("beyond the share: %d", status)
	}
	if status := add("ana", "0", `{"number":2}`); status != 429 {
		t.Errorf("a known key with another content is another request: %d", status)
	}
	if status := add("ana", "0", `{"number":1}`); status != 200 {
		t.Errorf("a repetition: %d", status)
	}
	r.cluster.set(func(context.Context, string, []byte) error { return &bft.CallError{Kind: client.ErrNotSubmitted} })
	for i := range 8 {
		if status := add("bia", fmt.Sprint("lost", i), `{"number":1}`); status != 503 {
			t.Errorf("not submitted: %d", status)
		}
	}
	r.cluster.set(nil)
	for _, key := range []string{"0", "1"} { // those of another user, though they are named alike
		if status := add("bia", key, `{"number":1}`); status != 200 {
			t.Errorf("another user: %d", status)
		}
	}
	r.wants("GET", "/v1/counter", "", 200, `{"value":6}`, bearer("ana"))
	o := r.g.accounts[config.DigestToken("ana")].openings
	o.forget(time.Now().Add(59 * time.Minute))
	if n := o.remembered.held(); n != 6 {
		t.Errorf("%d are remembered, want 6", n)
	}
	o.forget(time.Now().Add(2 * time.Hour))
	if n := o.remembered.held(); n != 0 || len(o.byID) != 0 || o.under.held() != 0 {
		t.Errorf("%d are remembered after their time", n)
	}
}

// TestOpeningsOfUnknownOutcome: what was cut off may be known to the cluster, so it counts until its time.
func TestOpeningsOfUnknownOutcome(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana", "bia")(cfg, o)
		o.Manifest.Protocol.OpeningsPerClient = 8
	})
	r.cluster.set(func(context.Context, string, []byte) error { return &bft.CallError{Kind: client.ErrOutcomeUnknown} })
	for i := range 4 {
		r.fails("POST", "/v1/counter/add", `{"number":1}`, 504, "outcome_unknown", bearer("ana"), fmt.Sprint("Idempotency-Key: ", i))
	}
	r.fails("POST", "/v1/counter/add", `{"number":1}`, 429, "share_exceeded", bearer("ana"), "Idempotency-Key: 4")
	r.cluster.set(nil)
	r.wants("POST", "/v1/counter/add", `{"number":1}`, 200, `{"value":1}`, bearer("ana"), "Idempotency-Key: 0") // a repetition
}

// TestSameKeyAtOnce: requests with the same key that come together get the same answer, and one is executed.
func TestSameKeyAtOnce(t *testing.T) {
	r := newRig(t, withUsers("ana", "bia"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string][]string{}
	for range 8 {
		for _, user := range []string{"ana", "bia"} {
			wg.Go(func() {
				a := r.do("POST", "/v1/counter/add", `{"number":1}`, bearer(user), "Idempotency-Key: k")
				mu.Lock()
				defer mu.Unlock()
				got[user] = append(got[user], string(a.body))
			})
		}
	}
	wg.Wait()
	for _, user := range []string{"ana", "bia"} {
		if len(slices.Compact(got[user])) != 1 {
			t.Errorf("%s got %q", user, got[user])
		}
	}
	r.wants("GET", "/v1/counter", "", 200, `{"value":2}`, bearer("ana"))
	r.idle()
}
