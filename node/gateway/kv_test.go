package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/client/kvclient"
	"github.com/baluarte-bft/baluarte/node/config"
)

// grant makes a lease and returns its path.
func (r *rig) grant(ttl string, headers ...string) (lease any, path string) {
	r.t.Helper()
	o := r.do("POST", "/v1/leases/kv", fmt.Sprintf(`{"ttl":%q}`, ttl), headers...).object(r.t)
	return o["lease"], fmt.Sprintf("/v1/leases/kv/%v", o["lease"])
}

// behind sets how much the cluster's clock is behind.
func (r *rig) behind(d time.Duration) {
	w := r.cluster.world
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behind = d
}

// TestEndedLeasesAreNotShown: while nothing is ordered agreed time stands still, and a key would be shown whose lease has ended.
func TestEndedLeasesAreNotShown(t *testing.T) {
	for _, path := range []string{"/v1/kv/a", "/v1/kv", "/v1/kv/a?consistency=ordered", "/v1/leases/kv", "/v1/changes/kv", "/v1/locks/kv/x?lease=2"} {
		t.Run(path, func(t *testing.T) {
			r := newRig(t, nil)
			r.behind(time.Hour) // so that the leases live, and by this machine's clock do not
			lease, _ := r.grant("30m")
			r.wants("PUT", "/v1/kv/a", fmt.Sprintf(`{"value":"1","lease":%v}`, lease), 200, `{"key":"a"}`)
			r.do("POST", "/v1/locks/kv/x", `{"ttl":"30m"}`)
			o := r.do("GET", "/v1/kv/a?consistency=stale", "").object(t)
			if o["lease"] != lease || o["value"] != "1" {
				t.Fatalf("%v", o)
			}
			r.behind(0)
			if o := r.do("GET", "/v1/kv/a?consistency=stale", "").object(t); o["value"] != "1" {
				t.Fatalf("time has gone on without an operation: %v", o)
			}
			want := map[string]string{"/v1/kv": `{"items":[],"more":false}`, "/v1/leases/kv": `{"leases":[],"more":false}`,
				"/v1/changes/kv": `{"changes":[{"change":"put","key":"a","revision":1,"value":"1"},{"change":"put","key":"lock/x/0000000000000002","revision":2,"value":""},` +
					`{"change":"expire","key":"a","revision":3},{"change":"expire","key":"lock/x/0000000000000002","revision":4}],"more":false,"next":5}`}[path]
			if want != "" {
				r.wants("GET", path, "", 200, want)
			} else if a := r.do("GET", path, ""); a.status != 404 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestLeases(t *testing.T) {
	r := newRig(t, nil)
	lease, path := r.grant("1m", "Idempotency-Key: 1")
	if again, _ := r.grant("1m", "Idempotency-Key: 1"); again != lease {
		t.Errorf("a repetition made lease %v", again)
	}
	r.wants("PUT", "/v1/kv/a", `{"value":"1","lease":1}`, 200, `{"key":"a"}`)
	before := r.do("GET", "/v1/leases/kv", "").object(t)["leases"].([]any)[0].(object)
	after := r.do("POST", path+"/keep-alive", "").object(t)
	if before["keys"] != 1.0 || before["client"] != r.cluster.key.String() || after["ttl"] != "1m0s" || after["ends"].(string) <= before["ends"].(string) {
		t.Errorf("%v, kept alive %v", before, after)
	}
	r.wants("DELETE", path, "", 200, `{"lease":1}`)
	r.fails("GET", "/v1/kv/a", "", 404, "not_found")
	r.fails("DELETE", path, "", 404, "no_lease")
	r.fails("POST", path+"/keep-alive", "", 404, "no_lease")
	r.fails("PUT", "/v1/kv/a", `{"value":"1","lease":1}`, 404, "no_lease")
	for range 3 {
		r.grant("1m")
	}
	page := r.do("GET", "/v1/leases/kv?after=2&limit=1", "").object(t)
	if list := page["leases"].([]any); len(list) != 1 || list[0].(object)["lease"] != 3.0 || page["more"] != true {
		t.Errorf("%v", page)
	}
	for range kv.MaxClientLeases - 3 {
		if _, err := r.cluster.Invoke(t.Context(), Operation{Service: "kv", Op: kv.Grant(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	r.fails("POST", "/v1/leases/kv", `{"ttl":"1m"}`, 507, "quota")
	for _, ttl := range []string{"", "5", "1ms", "25h", "-1s"} {
		r.fails("POST", "/v1/leases/kv", fmt.Sprintf(`{"ttl":%q}`, ttl), 400, "bad_request")
		r.fails("POST", "/v1/locks/kv/x", fmt.Sprintf(`{"ttl":%q}`, ttl), 400, "bad_request")
	}
	for _, bad := range []string{"0", "x", "-1", "9223372036854775808"} {
		r.fails("DELETE", "/v1/leases/kv/"+bad, "", 400, "bad_request")
	}
	r.fails("PUT", "/v1/kv/a", `{"value":"1","lease":1,"absent":true}`, 400, "bad_request")
	r.fails("PUT", "/v1/kv/a", `{"value":"1","lease":4611686018427387905}`, 400, "bad_request")
}

// TestLeasesOfOthers: a lease is of the key that it was granted to.
func TestLeasesOfOthers(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		withUsers("ana", "bia")(cfg, o)
		o.Accounts[1].Key = testKey("bia").Public()
		o.Accounts[1].Cluster = &fakeCluster{world: o.Accounts[0].Cluster.(*fakeCluster).world, key: o.Accounts[1].Key}
	})
	_, path := r.grant("1m", bearer("ana"))
	r.fails("POST", path+"/keep-alive", "", 403, "not_owner", bearer("bia"))
	r.fails("DELETE", path, "", 403, "not_owner", bearer("bia"))
	r.fails("PUT", "/v1/kv/a", `{"value":"1","lease":1}`, 403, "not_owner", bearer("bia"))
	r.wants("DELETE", path, "", 200, `{"lease":1}`, bearer("ana"))
}

func TestTransactions(t *testing.T) {
	r := newRig(t, nil)
	const txn = "/v1/txn/kv"
	r.wants("POST", txn, `{"then":[{"op":"put","key":"a","value":"1"},{"op":"put","key_base64":"/w==","value_base64":"/g=="}]}`, 200,
		`{"held":true,"results":[{"key":"a","op":"put"},{"key_base64":"/w==","op":"put"}],"revision":1}`)
	r.wants("POST", txn, `{"if":[{"key":"a","value":"2"}],"then":[{"op":"delete","key":"a"}],"else":[{"op":"get","key":"a"},{"op":"get","key":"b"},{"op":"get","key_base64":"/w=="}]}`, 200,
		`{"held":false,"results":[{"found":true,"key":"a","op":"get","revision":1,"value":"1"},{"found":false,"key":"b","op":"get"},{"found":true,"key_base64":"/w==","op":"get","revision":1,"value_base64":"/g=="}],"revision":1}`)
	for compare, held := range map[string]bool{`{"key":"a","value":"1"}`: true, `{"key":"a","relation":"!=","value":"1"}`: false, `{"key":"a","relation":"<","value":"2"}`: true,
		`{"key":"a","relation":">","value_base64":"MQ=="}`: false, `{"key":"a","revision":1}`: true, `{"key":"a","relation":">","revision":1}`: false, `{"key":"b","revision":0}`: true,
		`{"key":"a","exists":true}`: true, `{"key":"a","exists":false}`: false, `{"key_base64":"/w==","exists":true}`: true, `{"key":"b","value":""}`: false} {
		if o := r.do("POST", txn, `{"if":[`+compare+`],"then":[{"op":"get","key":"a"}]}`).object(t); o["held"] != held || o["revision"] != 1.0 {
			t.Errorf("%s: %v", compare, o)
		}
	}
	lease, _ := r.grant("1m")
	r.wants("POST", txn, fmt.Sprintf(`{"then":[{"op":"put","key":"c","value":"3","lease":%v},{"op":"get","key":"c"},{"op":"delete","key":"a"},{"op":"delete","key":"x"},{"op":"delete-range","key":"c","below":"d"},{"op":"delete-prefix","key":"z"},{"op":"delete-range","key":"y"}]}`, lease), 200,
		`{"held":true,"results":[{"key":"c","op":"put"},{"found":true,"key":"c","lease":1,"op":"get","revision":2,"value":"3"},{"deleted":1,"key":"a","op":"delete"},{"deleted":0,"key":"x","op":"delete"},`+
			`{"below":"d","deleted":1,"key":"c","op":"delete-range"},{"below":"{","deleted":0,"key":"z","op":"delete-range"},{"deleted":1,"key":"y","op":"delete-range"}],"revision":2}`)
	// A repetition does nothing more.
	const key = "Idempotency-Key: t"
	for range 2 {
		r.wants("POST", txn, `{"if":[{"key":"n","exists":false}],"then":[{"op":"put","key":"n","value":"1"}]}`, 200, `{"held":true,"results":[{"key":"n","op":"put"}],"revision":3}`, key)
	}
	r.fails("POST", txn, `{"then":[{"op":"put","key":"c","value":"3","lease":99}]}`, 404, "no_lease")
	for range 5 {
		r.do("PUT", "/v1/kv/"+fmt.Sprint("large", r.cluster.world.machine.Executed()), `{"value":"`+strings.Repeat("x", kv.MaxValue)+`"}`)
	}
	r.fails("POST", txn, `{"then":[{"op":"delete-prefix","key":"large"}]}`, 413, "too_large")
}

// TestMalformedTransactions: what is wrong is said with its place, and nothing is changed.
func TestMalformedTransactions(t *testing.T) {
	r := newRig(t, nil)
	many := strings.Repeat(`{"op":"get","key":"a"},`, kv.MaxTxnOps) + `{"op":"get","key":"a"}`
	for body, want := range map[string]string{
		`{}`:                              "no operation",
		`{"if":[{"key":"a","value":""}]}`: "no operation",
		`{"then":[{"op":"get"}]}`:         "then[0]: the body has neither key nor key_base64",
		`{"then":[{"op":"get","key":"a"},{"op":"steal","key":"a"}]}`:                        `then[1]: op is \"steal\"`,
		`{"else":[{"op":"put","key":"a"}]}`:                                                 "else[0]: the body has neither value",
		`{"then":[{"op":"get","key":"a","value":"1"}]}`:                                     "then[0]: value and lease are for put",
		`{"then":[{"op":"put","key":"a","value":"1","below":"b"}]}`:                         "then[0]: value and lease are for put",
		`{"then":[{"op":"put","key":"a","value":"1","lease":4611686018427387905}]}`:         "then[0]",
		`{"if":[{"key":"a"}],"then":[{"op":"get","key":"a"}]}`:                              "if[0]: a comparison has",
		`{"if":[{"key":"a","value":"1","revision":1}],"then":[{"op":"get","key":"a"}]}`:     "if[0]: a comparison has",
		`{"if":[{"key":"a","exists":true,"relation":"="}],"then":[{"op":"get","key":"a"}]}`: "if[0]: a comparison has",
		`{"if":[{"key":"a","relation":"~","value":"1"}],"then":[{"op":"get","key":"a"}]}`:   `if[0]: relation is \"~\"`,
		`{"then":[{"op":"get","key":"` + strings.Repeat("x", kv.MaxKey+1) + `"}]}`:          "too long",
		`{"then":[` + many + `]}`:           "at most 128",
		`{"then":[{"op":"get","kee":"a"}]}`: "unknown field",
		`{"then":{"op":"get"}}`:             "does not fit",
	} {
		a := r.do("POST", "/v1/txn/kv", body)
		if code, _ := a.failure(t); a.status != 400 || code != "bad_request" || !strings.Contains(string(a.body), want) {
			t.Errorf("%.80s: %d %s, want %s", body, a.status, a.body, want)
		}
	}
	r.wants("GET", "/v1/changes/kv", "", 200, `{"changes":[],"more":false,"next":1}`)
}

// TestChanges: pages, one after another, have each change once; what is no longer kept is said.
func TestChanges(t *testing.T) {
	r := newRig(t, nil)
	for i := range 5 {
		r.do("POST", "/v1/txn/kv", fmt.Sprintf(`{"then":[{"op":"put","key":"a/%d","value":"1"},{"op":"put","key":"b/%[1]d","value":"2"}]}`, i))
	}
	r.wants("GET", "/v1/changes/kv?limit=1&prefix=b", "", 200, `{"changes":[{"change":"put","key":"b/0","revision":1,"value":"2"}],"more":true,"next":2}`)
	got := 0
	for from, more := any(1.0), true; more; {
		o := r.do("GET", fmt.Sprintf("/v1/changes/kv?limit=3&from=%v", from), "").object(t)
		for _, c := range o["changes"].([]any) {
			if c.(object)["revision"] != float64(1+got/2) {
				t.Errorf("change %d: %v", got, c)
			}
			got++
		}
		from, more = o["next"], o["more"].(bool)
	}
	if got != 10 {
		t.Errorf("%d changes", got)
	}
	r.wants("GET", "/v1/changes/kv?from=9", "", 200, `{"changes":[],"more":false,"next":9}`)
	for range kv.MaxHistoryBytes/kv.MaxValue + 1 {
		r.do("PUT", "/v1/kv/a", `{"value":"`+strings.Repeat("x", kv.MaxValue)+`"}`)
	}
	a := r.do("GET", "/v1/changes/kv", "")
	if code, _ := a.failure(t); a.status != 410 || code != "compacted" || a.object(t)["error"].(object)["from"].(float64) < 2 {
		t.Errorf("%d %.300s", a.status, a.body)
	}
	for _, query := range []string{"from=0", "from=x", "limit=1001", "limit=0", "consistency=stale", "prefix=" + strings.Repeat("x", kv.MaxKey+1)} {
		r.fails("GET", "/v1/changes/kv?"+query, "", 400, "bad_request")
	}
}

// TestLocks: turns come in order, also with those of the command line; who does not renew loses the lock.
func TestLocks(t *testing.T) {
	r := newRig(t, nil)
	const lock = "/v1/locks/kv/back%2Fup"
	r.wants("GET", lock, "", 200, `{"lock":"back/up","turns":0}`)
	first := r.do("POST", lock, `{"ttl":"1m","note":"the first"}`, "Idempotency-Key: l").object(t)
	if again := r.do("POST", lock, `{"ttl":"1m","note":"the first"}`, "Idempotency-Key: l").object(t); again["lease"] != first["lease"] || again["token"] != first["token"] {
		t.Errorf("a repetition has another turn: %v, %v", first, again)
	}
	second := r.do("POST", lock, `{"ttl":"1m"}`).object(t)
	state := func(turn object) object {
		return r.do("GET", fmt.Sprintf("%s?lease=%v", lock, turn["lease"]), "").object(t)
	}
	if o := state(first); o["held"] != true || o["before"] != 0.0 || o["turns"] != 2.0 {
		t.Errorf("%v", o)
	}
	o := state(second)
	owner := o["owner"].(object)
	if o["held"] != false || o["before"] != 1.0 || owner["note"] != "the first" || owner["token"] != first["token"] || second["token"].(float64) <= first["token"].(float64) {
		t.Errorf("%v", o)
	}
	// Only under the lock.
	guarded := func(turn object) string {
		return fmt.Sprintf(`{"if":[{"key":%q,"revision":%v}],"then":[{"op":"put","key":"done","value":"1"}]}`, turn["key"], turn["token"])
	}
	if o := r.do("POST", "/v1/txn/kv", guarded(first)).object(t); o["held"] != true {
		t.Errorf("%v", o)
	}
	r.do("DELETE", fmt.Sprintf("/v1/leases/kv/%v", first["lease"]), "")
	if o := state(second); o["held"] != true || o["turns"] != 1.0 {
		t.Errorf("%v", o)
	}
	if o := r.do("POST", "/v1/txn/kv", guarded(first)).object(t); o["held"] != false {
		t.Errorf("%v", o)
	}
	r.fails("GET", fmt.Sprintf("%s?lease=%v", lock, first["lease"]), "", 404, "no_lease")
	// One that another client waits for.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	waiting, got := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		held, err := kvclient.Acquire(ctx, kvCluster{r.cluster}, "back/up", time.Minute, kvclient.Waiting(func(int, kv.Entry) { waiting <- struct{}{} }))
		if err == nil {
			err = held.Release(ctx)
		}
		got <- err
	}()
	<-waiting
	r.do("DELETE", fmt.Sprintf("/v1/leases/kv/%v", second["lease"]), "")
	if err := <-got; err != nil {
		t.Error(err)
	}
	r.fails("POST", lock, `{"ttl":"1m","note":"`+strings.Repeat("x", maxNote+1)+`"}`, 413, "too_large")
	r.fails("GET", "/v1/locks/kv/"+strings.Repeat("x", kvclient.MaxLockName+1), "", 414, "too_large")
	r.fails("GET", lock+"?lease=0", "", 400, "bad_request")
}

// TestLockThatFails: a turn that could not be taken leaves no lease, but to a request that will be repeated; and its
// effect is not unknown.
func TestLockThatFails(t *testing.T) {
	r := newRig(t, nil)
	var calls atomic.Int32
	r.cluster.set(func(_ context.Context, _ string, op []byte) error {
		if op[0] == 'T' && calls.Add(1) <= 2 {
			return &bft.CallError{Kind: client.ErrNotSubmitted}
		}
		return nil
	})
	for i, headers := range [][]string{nil, {"Idempotency-Key: k"}} {
		a := r.do("POST", "/v1/locks/kv/x", `{"ttl":"1m"}`, headers...)
		if code, effect := a.failure(t); a.status != 503 || code != "not_submitted" || effect != "none" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if n := len(r.do("GET", "/v1/leases/kv", "").object(t)["leases"].([]any)); n != i {
			t.Errorf("%d leases are left", n)
		}
	}
	if o := r.do("POST", "/v1/locks/kv/x", `{"ttl":"1m"}`, "Idempotency-Key: k").object(t); o["lease"] != 2.0 {
		t.Errorf("repeated: %v", o)
	}
}

// TestLocksWithOneKey: requests with the same Idempotency-Key for two locks, or for a lock and a lease, are two requests.
func TestLocksWithOneKey(t *testing.T) {
	r := newRig(t, nil)
	const key = "Idempotency-Key: k"
	leases := map[any]string{}
	for _, path := range []string{"/v1/locks/kv/a", "/v1/locks/kv/b", "/v1/leases/kv"} {
		o := r.do("POST", path, `{"ttl":"1m"}`, key).object(t)
		if other, ok := leases[o["lease"]]; ok {
			t.Errorf("%s and %s share lease %v", path, other, o["lease"])
		}
		leases[o["lease"]] = path
		if again := r.do("POST", path, `{"ttl":"1m"}`, key).object(t); again["lease"] != o["lease"] {
			t.Errorf("%s: a repetition made lease %v, not %v", path, again["lease"], o["lease"])
		}
	}
}

// TestMemoryOfLocks: what the values of those in line take is counted, and given back.
func TestMemoryOfLocks(t *testing.T) {
	r := newRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.Memory = 16 << 20 })
	for lease, note := range []string{"short", strings.Repeat("x", 1<<20)} { // the answer has the first alone
		r.grant("1m")
		_, op := kvclient.Enter("x", uint64(lease+1), []byte(note))
		if _, err := r.cluster.Invoke(t.Context(), Operation{Service: "kv", Op: op}); err != nil {
			t.Fatal(err)
		}
	}
	r.idle()
	others := holder{"others"}
	r.g.memory.add(others, 16<<20-100_000)
	r.fails("GET", "/v1/locks/kv/x?lease=1", "", 503, "gateway_busy")
	r.wants("GET", "/v1/locks/kv/y", "", 200, `{"lock":"y","turns":0}`)
	r.g.memory.give(others, 16<<20-100_000)
	if o := r.do("GET", "/v1/locks/kv/x?lease=1", "").object(t); o["held"] != true {
		t.Errorf("%v", o)
	}
	r.idle()
}
