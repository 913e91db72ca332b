package gateway

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// events reads a watch.
type events struct {
	r    *rig
	resp *http.Response
	in   *bufio.Scanner
}

func (r *rig) watch(query, last string, headers ...string) *events {
	r.t.Helper()
	req, err := http.NewRequest("GET", r.url+"/v1/watch/kv"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("watch %s after %q: %d", query, last, resp.StatusCode)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 2*kv.MaxValue)
	return &events{r, resp, in}
}

// wants reads the next event.
func (e *events) wants(id, kind, data string) {
	e.r.t.Helper()
	var got []string
	for e.in.Scan() && e.in.Text() != "" {
		got = append(got, e.in.Text())
	}
	if want := "id: " + id + "|event: " + kind + "|data: " + data; strings.Join(got, "|") != want {
		e.r.t.Errorf("%v, want %s", got, want)
	}
}

// TestWatch: each change comes once and in order, also to a reader that comes back.
func TestWatch(t *testing.T) {
	r := newRig(t, nil)
	r.do("PUT", "/v1/kv/a", `{"value":"1"}`)
	e := r.watch("", "")
	e.wants("1.0", "start", `{"from":2}`)
	r.do("PUT", "/v1/kv/a", `{"value":"2"}`)
	r.do("PUT", "/v1/kv/%FF", `{"value":"3"}`)
	r.do("DELETE", "/v1/kv/a", "")
	e.wants("2.1", "put", `{"change":"put","key":"a","revision":2,"value":"2"}`)
	e.wants("3.1", "put", `{"change":"put","key_base64":"/w==","revision":3,"value":"3"}`)
	e.wants("4.1", "delete", `{"change":"delete","key":"a","revision":4}`)
	e.resp.Body.Close()

	// A transaction makes several changes of one revision.
	if _, err := r.cluster.Invoke(t.Context(), Operation{Service: "kv", Op: kv.Transact(&kv.Txn{Then: []kv.Op{{Kind: kv.OpPut, Key: []byte("b"), Value: []byte("1")}, {Kind: kv.OpPut, Key: []byte("c"), Value: []byte("2")}}})}); err != nil {
		t.Fatal(err)
	}
	for last, first := range map[string]string{"4.1": "5.1", "5.1": "5.2", "4.0": "5.1"} {
		e = r.watch("?prefix=", last)
		if !e.in.Scan() || !strings.HasPrefix(e.in.Text(), "id: ") { // start
			t.Errorf("after %s: %q", last, e.in.Text())
		}
		for e.in.Scan() && e.in.Text() != "" {
		}
		if first == "5.1" {
			e.wants("5.1", "put", `{"change":"put","key":"b","revision":5,"value":"1"}`)
		}
		e.wants("5.2", "put", `{"change":"put","key":"c","revision":5,"value":"2"}`)
		e.resp.Body.Close()
	}
	e = r.watch("?from=1&prefix=c", "")
	e.wants("0.0", "start", `{"from":1}`)
	e.wants("5.1", "put", `{"change":"put","key":"c","revision":5,"value":"2"}`)
	e.resp.Body.Close()
	r.idle()

	r.fails("GET", "/v1/watch/kv", "", 400, "bad_request", "Last-Event-ID: x")
	r.fails("GET", "/v1/watch/kv?from=-1", "", 400, "bad_request")
	r.fails("GET", "/v1/watch/kv?prefix="+strings.Repeat("x", kv.MaxKey+1), "", 400, "bad_request")
}

// TestWatchEnds: with the gateway, and with the history.
func TestWatchEnds(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch("", "")
	e.wants("0.0", "start", `{"from":1}`)
	for range kv.MaxHistoryBytes/kv.MaxValue + 2 {
		r.do("PUT", "/v1/kv/a", `{"value":"`+strings.Repeat("x", kv.MaxValue)+`"}`)
	}
	a := r.do("GET", "/v1/watch/kv?from=1", "")
	if code, _ := a.failure(t); a.status != 410 || code != "compacted" {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.stop()
}
