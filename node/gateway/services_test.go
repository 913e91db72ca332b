package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

func TestKV(t *testing.T) {
	r := newRig(t, nil)
	r.fails("GET", "/v1/kv/a", "", 404, "not_found")
	r.wants("PUT", "/v1/kv/a", `{"value":"1"}`, 200, `{"key":"a"}`)
	r.wants("GET", "/v1/kv/a", "", 200, `{"key":"a","revision":1,"value":"1"}`)
	r.wants("GET", "/v1/kv/a?consistency=ordered&timeout=5s", "", 200, `{"key":"a","revision":1,"value":"1"}`)
	r.wants("GET", "/v1/kv/a?consistency=stale", "", 200, `{"key":"a","revision":1,"value":"1"}`)

	// Compared.
	r.wants("PUT", "/v1/kv/a", `{"value":"2","expected":"1"}`, 200, `{"key":"a"}`)
	r.wants("PUT", "/v1/kv/a", `{"value":"3","expected":"1"}`, 409,
		`{"error":{"code":"compare_failed","current":"2","effect":"none","message":"the value of the key is another one; nothing was changed"}}`)
	r.fails("PUT", "/v1/kv/a", `{"value":"3","absent":true}`, 409, "compare_failed")
	r.wants("PUT", "/v1/kv/b", `{"value":"3","absent":true}`, 200, `{"key":"b"}`)
	r.fails("PUT", "/v1/kv/c", `{"value":"3","expected":""}`, 404, "not_found")
	r.fails("PUT", "/v1/kv/c", `{"value":"3","expected":"","absent":true}`, 400, "bad_request")

	// Keys and values of any bytes.
	for i, key := range []string{"a/b", "a//b", "..", "a b?#%", "é", "\xff\x00"} {
		path := "/v1/kv/" + escape(key)
		r.wants("PUT", path, fmt.Sprintf(`{"value_base64":%q}`, base64.StdEncoding.EncodeToString([]byte(key))), 200,
			pairText(key, "", 0)+"}")
		entry := pairText(key, key, 4+2*i) + "}"
		r.wants("GET", path, "", 200, entry)
		r.wants("GET", "/v1/kv?prefix="+escape(key)+"&limit=1", "", 200, `{"items":[`+entry+`],"more":false}`)
		r.do("DELETE", path, "")
		r.fails("GET", path, "", 404, "not_found")
	}

	r.wants("GET", "/v1/kv?limit=1", "", 200, `{"items":[{"key":"a","revision":2,"value":"2"}],"more":true}`)
	r.wants("GET", "/v1/kv?after=a", "", 200, `{"items":[{"key":"b","revision":3,"value":"3"}],"more":false}`)
	r.wants("DELETE", "/v1/kv/b", "", 200, `{"key":"b"}`)
	r.fails("DELETE", "/v1/kv/b", "", 404, "not_found")

	r.fails("PUT", "/v1/kv/a", `{"value":"`+strings.Repeat("x", kv.MaxValue+1)+`"}`, 413, "too_large")
	r.fails("GET", "/v1/kv/"+strings.Repeat("x", kv.MaxKey+1), "", 414, "too_large")
	r.fails("GET", "/v1/kv?after="+strings.Repeat("x", kv.MaxKey+1), "", 400, "bad_request")
}

// escape writes every byte so that it stays one.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// pairText is the text of a pair without its last brace; without a value only the key.
func pairText(key, value string, revision int) string {
	member := func(name, s string) string {
		if !strings.Contains(s, "\xff") {
			return fmt.Sprintf("%q:%q", name, s)
		}
		return fmt.Sprintf("%q:%q", name+"_base64", base64.StdEncoding.EncodeToString([]byte(s)))
	}
	if value == "" {
		return "{" + member("key", key)
	}
	return fmt.Sprintf(`{%s,"revision":%d,%s`, member("key", key), revision, member("value", value))
}

func TestCounter(t *testing.T) {
	r := newRig(t, nil)
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":5}`)
	r.wants("POST", "/v1/counter/mul", `{"number":-3}`, 200, `{"value":-15}`)
	r.fails("POST", "/v1/counter/mul", `{"number":9223372036854775807}`, 422, "overflow")
	r.wants("GET", "/v1/counter?consistency=ordered", "", 200, `{"value":-15}`)
	r.fails("POST", "/v1/counter/add", `{"number":9223372036854775808}`, 400, "bad_request")
	r.fails("POST", "/v1/counter/add", `{}`, 400, "bad_request")
}

func TestCalc(t *testing.T) {
	r := newRig(t, nil)
	r.wants("POST", "/v1/calc", `{"expression":"3+5-4/3*4"}`, 200, `{"decimal":"2.6666666667","exact":false,"expression":"3+5-4/3*4","value":"8/3"}`)
	r.wants("POST", "/v1/calc", `{"expression":"-1/4","places":3}`, 200, `{"decimal":"-0.25","exact":true,"expression":"-1/4","value":"-1/4"}`)
	r.wants("POST", "/v1/calc", `{"expression":"1/(2-2)"}`, 422,
		`{"error":{"code":"division_by_zero","effect":"none","message":"character 2 of the expression: division by zero","position":2,"reason":"division by zero"}}`)
	r.fails("POST", "/v1/calc", `{"expression":"3+*4"}`, 422, "bad_expression")
	r.fails("POST", "/v1/calc", `{"expression":"`+strings.Repeat("9", 999)+`"}`, 422, "number_too_large")
	r.fails("POST", "/v1/calc", `{"expression":"1","places":1001}`, 400, "bad_request")
}

func TestEcho(t *testing.T) {
	r := newRig(t, nil)
	r.wants("POST", "/v1/echo", `{"text":"olá <b>"}`, 200, `{"number":1,"text":"olá <b>"}`)
	r.wants("POST", "/v1/echo", `{"text_base64":"/w=="}`, 200, `{"number":2,"text_base64":"/w=="}`)
	r.wants("GET", "/v1/echo", "", 200, `{"messages":[{"number":1,"text":"olá <b>"},{"number":2,"text_base64":"/w=="}],"more":false}`)
	r.wants("GET", "/v1/echo?from=1&limit=1", "", 200, `{"messages":[{"number":1,"text":"olá <b>"}],"more":true}`)
	r.fails("POST", "/v1/echo", `{"text":"a","text_base64":""}`, 400, "bad_request")
	r.fails("POST", "/v1/echo", `{}`, 400, "bad_request")
	r.fails("POST", "/v1/echo", `{"text_base64":"/w"}`, 400, "bad_request")
	r.fails("POST", "/v1/echo", `{"text":"`+strings.Repeat("x", 1025)+`"}`, 413, "too_large")
	r.fails("GET", "/v1/echo?limit=101", "", 400, "bad_request")
	r.fails("GET", "/v1/echo?from=0", "", 400, "bad_request")
}

func TestAnyService(t *testing.T) {
	r := newRig(t, nil)
	r.wants("POST", "/v1/services/counter/invoke", `{"operation":"add 7"}`, 200, `{"result_base64":"Nw=="}`)
	r.wants("POST", "/v1/services/counter/invoke", `{"operation_base64":""}`, 200, `{"result_base64":""}`)
	r.wants("POST", "/v1/services/counter/query", `{"question":"get","consistency":"ordered"}`, 200, `{"answer_base64":"OA=="}`)
	r.fails("POST", "/v1/services/counter/query", `{"question":"how are you?"}`, 422, "read_failed")
	r.fails("POST", "/v1/services/counter/invoke", `{"operation":"how are you?"}`, 422, "rejected")
	r.fails("POST", "/v1/services/nobody/invoke", `{"operation":"add 7"}`, 404, "no_such_service")
	r.fails("POST", "/v1/services/counter/query", `{"question":"get","consistency":"strong"}`, 400, "bad_request")
}

func TestServicesThatAreNotHosted(t *testing.T) {
	r := newRig(t, func(_ *config.Gateway, o *Options) { o.Manifest.Services = []string{"kv"} })
	r.fails("GET", "/v1/counter", "", 404, "no_such_service")
	r.fails("GET", "/v1/files", "", 404, "no_such_service")
	r.fails("GET", "/v1/kv/a", "", 404, "not_found")
}

func TestClusterInfo(t *testing.T) {
	r := newRig(t, nil)
	r.cluster.down = 1
	o := r.do("GET", "/v1/cluster", "").object(t)
	if o["cluster"] != r.g.manifest.ID().String() || o["account"] != "anonymous" || o["key"] != r.cluster.key.String() {
		t.Errorf("%v", o)
	}
	replicas := o["replicas"].([]any)
	if replicas[0].(object)["reachable"] != false || replicas[3].(object)["reachable"] != true {
		t.Errorf("%v", replicas)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func TestFiles(t *testing.T) {
	r := newRig(t, nil)
	for name, content := range map[string][]byte{"empty": {}, "small": []byte("hello"), "reports/2026 é.bin": random(files.ChunkSize*9/2 + 1), "whole chunks": random(2 * files.ChunkSize)} {
		path := "/v1/files/content/" + strings.ReplaceAll(escape(name), "%2F", "/")
		r.fails("GET", path, "", 404, "not_found")
		r.fails("PUT", path, string(content), 404, "not_found")
		o := r.do("POST", path, string(content)).object(t)
		if o["kind"] != "put" || o["name"] != name || o["version"] != 1.0 || o["size"] != float64(len(content)) || o["client"] != r.cluster.key.String() {
			t.Errorf("%s: %v", name, o)
		}
		r.fails("POST", path, string(content), 409, "exists")
		a := r.do("GET", path, "")
		if a.status != 200 || !bytes.Equal(a.body, content) || a.header.Get("Baluarte-Version") != "1" || a.header.Get("Content-Disposition") != "attachment" {
			t.Errorf("%s came back as %d bytes, %d %v", name, len(a.body), a.status, a.header)
		}
		if a := r.do("GET", path, "", "If-None-Match: "+a.header.Get("ETag")); a.status != 304 || len(a.body) > 0 {
			t.Errorf("%s is not what it is: %d", name, a.status)
		}
		if h := r.do("HEAD", path, ""); h.status != 200 || len(h.body) > 0 || h.header.Get("Content-Length") != fmt.Sprint(len(content)) {
			t.Errorf("HEAD of %s: %d %v", name, h.status, h.header)
		}
		if o := r.do("PUT", path, "next").object(t); o["kind"] != "update" || o["version"] != 2.0 {
			t.Errorf("%s: %v", name, o)
		}
		if a := r.do("GET", path+"?version=1", ""); !bytes.Equal(a.body, content) {
			t.Errorf("version 1 of %s came back as %d bytes", name, len(a.body))
		}
		r.fails("GET", path+"?version=3", "", 404, "not_found")
		if v := r.do("GET", strings.Replace(path, "content", "versions", 1), "").object(t)["versions"].([]any); len(v) != 2 {
			t.Errorf("versions of %s: %v", name, v)
		}
	}
	page := r.do("GET", "/v1/files?limit=2", "").object(t)
	if list := page["files"].([]any); len(list) != 2 || page["more"] != true || list[0].(object)["name"] != "empty" {
		t.Errorf("%v", page)
	}
	if list := r.do("GET", "/v1/files?after=small", "").object(t)["files"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if o := r.do("DELETE", "/v1/files/content/small", "").object(t); o["kind"] != "delete" {
		t.Errorf("%v", o)
	}
	r.fails("DELETE", "/v1/files/content/small", "", 404, "not_found")
	r.fails("GET", "/v1/files/versions/small", "", 404, "not_found")
	if h := r.do("GET", "/v1/files/history?name=small", "").object(t); len(h["requests"].([]any)) != 3 || h["more"] != false {
		t.Errorf("%v", h)
	}
	if h := r.do("GET", "/v1/files/history?after=2&limit=1", "").object(t); h["next"] != 3.0 || h["more"] != true {
		t.Errorf("%v", h)
	}
	if u := r.do("GET", "/v1/files/usage", "").object(t); u["client"].(object)["files"] != 3.0 || u["all"].(object)["uploads"] != 0.0 {
		t.Errorf("%v", u)
	}
	r.idle()
}

func TestFilesRefused(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range []string{"%2E%2E/x", "a%2F%2Fb", "a%5Cb", "%FF", "%00", strings.Repeat("x", 256)} {
		r.fails("POST", "/v1/files/content/"+name, "x", 400, "bad_request")
		r.fails("GET", "/v1/files/versions/"+name, "", 400, "bad_request")
	}
	r.fails("POST", "/v1/files/content/x", "x", 415, "not_plain", "Content-Encoding: gzip")
	// A file beyond the service's limit is refused before it is sent.
	req, _ := http.NewRequest("POST", r.url+"/v1/files/content/x", io.LimitReader(zeros{}, 1<<40))
	req.ContentLength = 1 << 40
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 507 {
		t.Errorf("a file of a TiB: %d", resp.StatusCode)
	}
	// Without a length it is not known whether there is room.
	req, _ = http.NewRequest("POST", r.url+"/v1/files/content/x", io.NopCloser(strings.NewReader("x")))
	resp, err = r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 411 {
		t.Errorf("a file without a length: %d", resp.StatusCode)
	}
	r.idle()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// uploads is the number of uploads under way.
func (r *rig) uploads() any {
	return r.do("GET", "/v1/files/usage", "").object(r.t)["all"].(object)["uploads"]
}

// TestUploadThatFails: whatever part of an upload fails, the file stays as it was and nothing is left behind.
func TestUploadThatFails(t *testing.T) {
	r := newRig(t, nil)
	content := string(random(files.ChunkSize * 3))
	r.do("POST", "/v1/files/content/f", "first")
	for kind, status := range map[string]int{"S": 503, "C": 504} {
		r.cluster.set(func(_ context.Context, _ string, op []byte) error {
			switch {
			case string(op[:1]) != kind:
				return nil
			case kind == "S":
				return &bft.CallError{Kind: client.ErrNotSubmitted}
			}
			return &bft.CallError{Kind: client.ErrOutcomeUnknown}
		})
		a := r.do("PUT", "/v1/files/content/f", content)
		code, effect := a.failure(t)
		if a.status != status || (effect == "unknown") != (kind == "C") {
			t.Errorf("%s: %d %s, effect %s", kind, a.status, code, effect)
		}
		r.cluster.set(nil)
		if a := r.do("GET", "/v1/files/content/f", ""); string(a.body) != "first" {
			t.Errorf("after %s: %d bytes", kind, len(a.body))
		}
		if n := r.uploads(); n != 0.0 {
			t.Errorf("after %s: %v uploads", kind, n)
		}
	}
	r.idle()
}

// TestDownloadThatFails: an answer that cannot be completed is cut off, so that it is not taken for whole.
func TestDownloadThatFails(t *testing.T) {
	r := newRig(t, nil)
	r.do("POST", "/v1/files/content/f", string(random(files.ChunkSize*4)))
	var chunks atomic.Int32
	r.cluster.set(func(_ context.Context, _ string, op []byte) error {
		if string(op[:1]) == "c" {
			if chunks.Add(1) > 1 {
				return &bft.CallError{Kind: client.ErrNotSubmitted}
			}
		}
		return nil
	})
	resp, err := r.client.Get(r.url + "/v1/files/content/f")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half a file was taken for whole")
	}
	r.idle()
}

// TestVersionDropsWhileRead: the download begins anew with the version that there is then.
func TestVersionDropsWhileRead(t *testing.T) {
	r := newRig(t, nil)
	r.do("POST", "/v1/files/content/f", "old")
	first := true
	r.cluster.set(func(_ context.Context, _ string, op []byte) error {
		if string(op[:1]) != "c" || !first {
			return nil
		}
		first = false
		for _, op := range [][]byte{files.Delete("f"), files.Put(files.Create, "f", []byte("new"))} {
			if _, err := (&fakeCluster{world: r.cluster.world, key: r.cluster.key}).Invoke(context.Background(), Operation{Service: "files", Op: op}); err != nil {
				return err
			}
		}
		return nil
	})
	if a := r.do("GET", "/v1/files/content/f", ""); string(a.body) != "new" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// TestConcurrentTransfers: many files at once, each as it was.
func TestConcurrentTransfers(t *testing.T) {
	r := newRig(t, nil)
	done := make(chan error)
	const n = 8
	for i := range n {
		go func() {
			content := random(files.ChunkSize + i)
			req, _ := http.NewRequest("POST", fmt.Sprintf("%s/v1/files/content/%d", r.url, i), bytes.NewReader(content))
			resp, err := r.client.Do(req)
			if err == nil {
				resp.Body.Close()
				resp, err = r.client.Get(req.URL.String())
			}
			if err == nil {
				var got []byte
				got, err = io.ReadAll(resp.Body)
				if resp.Body.Close(); err == nil && !slices.Equal(got, content) {
					err = fmt.Errorf("file %d came back as %d bytes", i, len(got))
				}
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	r.idle()
}

// TestRepeatedRequests: a repetition with the same key gets the answer of the first.
func TestRepeatedRequests(t *testing.T) {
	r := newRig(t, nil)
	const key = "Idempotency-Key: 6f1"
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":5}`, key)
	if o := r.cluster.last; o.Once != "anonymous/6f1\nPOST /v1/counter/add" || o.Until.Before(time.Now()) || o.Until.After(time.Now().Add(time.Duration(r.g.limits.RepeatTime))) {
		t.Errorf("%+v", o)
	}
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":5}`, key)
	r.wants("POST", "/v1/counter/add", `{ "number": 5 }`, 200, `{"value":5}`, key, "Idempotency-Until: 2099-01-02T03:04:05Z")
	if u := r.cluster.last.Until; !u.Equal(time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Error(u)
	}
	r.wants("POST", "/v1/counter/add", `{"number":6}`, 200, `{"value":11}`, key)
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":16}`, "Idempotency-Key: 6f2")
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":21}`)
	r.wants("GET", "/v1/counter", "", 200, `{"value":21}`, key)
	r.fails("POST", "/v1/counter/add", `{"number":5}`, 400, "bad_request", key, "Idempotency-Until: tomorrow")
	r.fails("POST", "/v1/counter/add", `{"number":5}`, 400, "bad_request", "Idempotency-Until: 2099-01-02T03:04:05Z")
	r.fails("POST", "/v1/counter/add", `{"number":5}`, 400, "bad_request", "Idempotency-Key: "+strings.Repeat("x", 256))
	r.fails("POST", "/v1/files/content/x", "x", 400, "bad_request", key)
}

// TestReceipts: an answer has the receipt that was asked for, or says why not.
func TestReceipts(t *testing.T) {
	r := newRig(t, nil)
	o := r.do("POST", "/v1/counter/add?receipt=true", `{"number":5}`).object(t)
	if o["value"] != 5.0 || o["receipt"] != nil || o["receipt_error"] == nil {
		t.Errorf("%v", o)
	}
	r.cluster.receipt = &receipt.Receipt{Format: receipt.Format, Operation: []byte("op"), Result: []byte{}, Path: []bft.Digest{{1}},
		Signatures: []receipt.Signature{{Member: "r0"}}}
	for path, body := range map[string]string{"POST /v1/counter/add": `{"number":5}`, "PUT /v1/kv/a": `{"value":"1"}`, "DELETE /v1/kv/a": "", "POST /v1/echo": `{"text":"a"}`,
		"POST /v1/calc": `{"expression":"1"}`, "POST /v1/files/content/f": "x", "POST /v1/services/counter/invoke": `{"operation":""}`} {
		if path == "DELETE /v1/kv/a" {
			r.do("PUT", "/v1/kv/a", `{"value":"1"}`)
		}
		method, path, _ := strings.Cut(path, " ")
		a := r.do(method, path+"?receipt=true", body)
		o := a.object(t)
		if got, _ := o["receipt"].(object); a.status != 200 || got["operation_base64"] != "b3A=" || len(o) < 2 {
			t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
		}
		if o := r.do(method, path+"?receipt=false", body).object(t); o["receipt"] != nil {
			t.Errorf("%s %s: a receipt that nobody wants", method, path)
		}
	}
	r.fails("POST", "/v1/counter/add?receipt=yes", `{"number":5}`, 400, "bad_request")
	r.fails("GET", "/v1/counter?receipt=true", "", 400, "bad_request")
	r.fails("POST", "/v1/counter/mul?receipt=true", `{"number":9223372036854775807}`, 422, "overflow")
}
