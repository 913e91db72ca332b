package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// served is a `bftnode gateway` in a process of its own.
type served struct {
	t      testing.TB
	cmd    *exec.Cmd
	err    *strings.Builder
	url    string
	client *http.Client
}

var readyLine = regexp.MustCompile(`^ready: (http://\S+) serves cluster`)

// serve starts a gateway of a cluster on a free port.
func serve(r *running, args ...string) *served {
	r.t.Helper()
	g := &served{t: r.t, err: &strings.Builder{}, client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}}
	g.cmd = exec.Command("bftnode", append([]string{"gateway", "--dir", r.dir, "--listen", "127.0.0.1:0"}, args...)...)
	g.cmd.Stderr = g.err
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.end(syscall.SIGTERM) })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || readyLine.FindStringSubmatch(lines.Text()) == nil {
		r.t.Fatalf("the gateway printed %q; %s", lines.Text(), g.err)
	}
	g.url = readyLine.FindStringSubmatch(lines.Text())[1]
	r.await("a gateway that is ready", func() (bool, string) {
		status, body := g.do("GET", "/readyz", "")
		return status == 200, body
	})
	return g
}

// end ends the process by a signal and waits for it.
func (g *served) end(s syscall.Signal) {
	if g.cmd == nil {
		return
	}
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Errorf("gateway: %v", err)
	}
	err := g.cmd.Wait()
	if s == syscall.SIGTERM && err != nil {
		g.t.Errorf("gateway: %v; %s", err, g.err)
	}
	g.cmd = nil
	g.client.CloseIdleConnections()
}

// do sends a request, with headers as "Name: value".
func (g *served) do(method, path, body string, headers ...string) (int, string) {
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// wants sends a request that must be answered so.
func (g *served) wants(method, path, body, want string, headers ...string) {
	g.t.Helper()
	if status, got := g.do(method, path, body, headers...); status != 200 || got != want {
		g.t.Errorf("%s %s %s: %d %s, want %s", method, path, body, status, got, want)
	}
}

// TestGateway: every service over HTTP, with the primary killed in between, a receipt that is checked offline, a request
// that is repeated after the gateway was killed, and a thousand connections at once.
func TestGateway(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv,echo,calc,counter,files")
	g := serve(r)
	content := bytes.Repeat([]byte("a report "), 200_000)
	use := func(round int) {
		t.Helper()
		g.wants("PUT", "/v1/kv/a%2Fb", fmt.Sprintf(`{"value":"%d"}`, round), `{"key":"a/b"}`)
		g.wants("GET", "/v1/kv/a%2Fb", "", fmt.Sprintf(`{"key":"a/b","revision":%d,"value":"%[1]d"}`, round))
		g.wants("POST", "/v1/counter/add", `{"number":10}`, fmt.Sprintf(`{"value":%d}`, 10*round))
		g.wants("GET", "/v1/counter", "", fmt.Sprintf(`{"value":%d}`, 10*round))
		g.wants("POST", "/v1/calc", `{"expression":"3+5-4/3*4"}`, `{"decimal":"2.6666666667","exact":false,"expression":"3+5-4/3*4","value":"8/3"}`)
		g.wants("POST", "/v1/echo", `{"text":"olá"}`, fmt.Sprintf(`{"number":%d,"text":"olá"}`, round))
		name := fmt.Sprintf("/v1/files/content/reports/%d", round)
		if status, got := g.do("POST", name, string(content), "Content-Type: application/octet-stream"); status != 200 {
			t.Errorf("POST %s: %d %s", name, status, got)
		}
		g.wants("GET", name, "", strings.TrimSpace(string(content)))
	}
	use(1)
	_, primary := r.primary()
	r.kill(primary, syscall.SIGKILL)
	use(2)

	// A receipt, which somebody checks who has the manifest alone.
	status, answer := g.do("POST", "/v1/counter/add?receipt=true", `{"number":5}`)
	path := filepath.Join(t.TempDir(), "answer.json")
	if err := os.WriteFile(path, []byte(answer), 0o600); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(r.dir, "manifest.yaml")
	out, stderr, code := run(t, "receipt", "check", "--manifest", manifest, path)
	if status != 200 || code != 0 || !strings.Contains(out, `operation   "add 5"`) || !strings.Contains(out, `result      "25"`) {
		t.Errorf("receipt check: %d %s%s of %d %s", code, out, stderr, status, answer)
	}
	if !strings.Contains(out, "\nunchecked   what stands beside the receipt in the answer\n") {
		t.Errorf("nothing is said of what stands beside the receipt: %s", out)
	}
	forged := strings.Replace(answer, `"result_base64":"MjU="`, `"result_base64":"MjY="`, 1)
	if err := os.WriteFile(path, []byte(forged), 0o600); err != nil || forged == answer {
		t.Fatal(err, forged)
	}
	if _, stderr, code := run(t, "receipt", "check", "--manifest", manifest, path); code != 1 || !strings.Contains(stderr, "not those that were signed") {
		t.Errorf("a forged receipt: %d %s", code, stderr)
	}

	// A gateway is killed; another one goes on, and repeats nothing that was done.
	const key = "Idempotency-Key: 5c0d8f"
	until := "Idempotency-Until: " + time.Now().Add(time.Hour).Format(time.RFC3339)
	g.wants("POST", "/v1/counter/add", `{"number":5}`, `{"value":30}`, key, until)
	g.end(syscall.SIGKILL)
	g = serve(r)
	g.wants("POST", "/v1/counter/add", `{"number":5}`, `{"value":30}`, key, until)
	g.wants("GET", "/v1/counter", "", `{"value":30}`)
	g.wants("GET", "/v1/echo?limit=1", "", `{"messages":[{"number":1,"text":"olá"}],"more":true}`)

	// A key that comes at once through two gateways is of one request; with another content it is of another.
	other := serve(r)
	var together sync.WaitGroup
	for range 8 {
		for _, through := range []*served{g, other} {
			together.Go(func() {
				through.wants("POST", "/v1/counter/add", `{"number":7}`, `{"value":37}`, "Idempotency-Key: 77")
			})
		}
	}
	together.Wait()
	other.wants("POST", "/v1/counter/add", `{"number":-7}`, `{"value":30}`, "Idempotency-Key: 77")
	g.wants("POST", "/v1/counter/add", `{"number":7}`, `{"value":37}`, "Idempotency-Key: 77")
	other.wants("GET", "/v1/counter", "", `{"value":30}`)

	// A thousand at once.
	const many = 1000
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			<-start
			if status, got := g.do("POST", "/v1/counter/add", `{"number":1}`); status != 200 {
				t.Errorf("%d %s", status, got)
			}
		})
	}
	close(start)
	wg.Wait()
	g.wants("GET", "/v1/counter", "", fmt.Sprintf(`{"value":%d}`, 30+many))
}

// TestGatewayWithoutItsPort: one line says that the address is taken, before anything is connected.
func TestGatewayWithoutItsPort(t *testing.T) {
	r := up(t, "--app", "kv")
	taken := listen(t, "127.0.0.1:0")
	defer taken.Close()
	_, stderr, code := run(t, "gateway", "--dir", r.dir, "--listen", taken.Addr().String())
	if code == 0 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "address already in use: end what listens there") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
