package gateway

import (
	_ "embed"
	"fmt"
	"net/http"
)

// bodyKind is what a request of a route carries.
type bodyKind int

const (
	noBody bodyKind = iota
	jsonBody
	fileBody
)

// route is one of the things that can be asked for.
type route struct {
	method, pattern string
	// service must be hosted by the cluster, unless it is empty.
	service string
	// params are the parameters of the query that it knows.
	params []string
	body   bodyKind
	// transfer: it makes many calls, and the time for a call is for each of them.
	transfer bool
	// watch: it lasts, and has its place among the watches instead of the requests that are served.
	watch bool
	// operator: where there are users, it is for operators.
	operator bool
	// open routes need no token and no place among the requests that are served.
	open bool
	// do returns what is answered as JSON, or writes the answer itself.
	do func(c *call) (any, error)
}

// readParams are those of reads, writeParams of operations; more are added.
func readParams(more ...string) []string  { return append([]string{"consistency", "timeout"}, more...) }
func writeParams(more ...string) []string { return append([]string{"receipt", "timeout"}, more...) }

var routes []route

// routeOf has them by method and pattern.
var routeOf = map[string]*route{}

func init() { // routes, whose functions use this table through Gateway
	routes = []route{
		{method: "GET", pattern: "/healthz", open: true, do: health},
		{method: "GET", pattern: "/readyz", open: true, do: ready},
		{method: "GET", pattern: "/openapi.json", open: true, do: openAPI},
		{method: "GET", pattern: "/metrics", operator: true, do: metricsPage},
		{method: "GET", pattern: "/v1/cluster", do: clusterInfo},

		{method: "GET", pattern: "/v1/kv", service: "kv", params: readParams("prefix", "after", "limit"), do: kvScan},
		{method: "GET", pattern: "/v1/kv/{key}", service: "kv", params: readParams(), do: kvGet},
		{method: "PUT", pattern: "/v1/kv/{key}", service: "kv", params: writeParams(), body: jsonBody, do: kvPut},
		{method: "DELETE", pattern: "/v1/kv/{key}", service: "kv", params: writeParams(), do: kvDelete},
		{method: "GET", pattern: "/v1/watch/kv", service: "kv", params: []string{"prefix", "from"}, transfer: true, watch: true, do: kvWatch},

		{method: "GET", pattern: "/v1/changes/kv", service: "kv", params: []string{"prefix", "from", "limit", "timeout"}, do: kvChanges},
		{method: "POST", pattern: "/v1/txn/kv", service: "kv", params: writeParams(), body: jsonBody, do: kvTxn},
		{method: "GET", pattern: "/v1/leases/kv", service: "kv", params: readParams("after", "limit"), do: leaseList},
		{method: "POST", pattern: "/v1/leases/kv", service: "kv", params: writeParams(), body: jsonBody, do: leaseGrant},
		{method: "POST", pattern: "/v1/leases/kv/{lease}/keep-alive", service: "kv", params: writeParams(), do: leaseKeepAlive},
		{method: "DELETE", pattern: "/v1/leases/kv/{lease}", service: "kv", params: writeParams(), do: leaseRevoke},
		{method: "GET", pattern: "/v1/locks/kv/{name}", service: "kv", params: []string{"lease", "timeout"}, do: lockState},
		{method: "POST", pattern: "/v1/locks/kv/{name}", service: "kv", params: writeParams(), body: jsonBody, do: lockEnter},

		{method: "GET", pattern: "/v1/counter", service: "counter", params: readParams(), do: counterGet},
		{method: "POST", pattern: "/v1/counter/add", service: "counter", params: writeParams(), body: jsonBody, do: counterAdd},
		{method: "POST", pattern: "/v1/counter/mul", service: "counter", params: writeParams(), body: jsonBody, do: counterMul},

		{method: "POST", pattern: "/v1/calc", service: "calc", params: writeParams(), body: jsonBody, do: calcEvaluate},

		{method: "POST", pattern: "/v1/echo", service: "echo", params: writeParams(), body: jsonBody, do: echoSend},
		{method: "GET", pattern: "/v1/echo", service: "echo", params: readParams("from", "limit"), do: echoHistory},

		{method: "GET", pattern: "/v1/files", service: "files", params: readParams("after", "limit"), do: filesList},
		{method: "GET", pattern: "/v1/files/content/{name...}", service: "files", params: []string{"version", "timeout"}, transfer: true, do: filesGet},
		{method: "POST", pattern: "/v1/files/content/{name...}", service: "files", params: writeParams(), body: fileBody, transfer: true, do: filesCreate},
		{method: "PUT", pattern: "/v1/files/content/{name...}", service: "files", params: writeParams(), body: fileBody, transfer: true, do: filesUpdate},
		{method: "DELETE", pattern: "/v1/files/content/{name...}", service: "files", params: writeParams(), do: filesDelete},
		{method: "GET", pattern: "/v1/files/versions/{name...}", service: "files", params: readParams(), do: filesVersions},
		{method: "GET", pattern: "/v1/files/history", service: "files", params: readParams("after", "limit", "name"), do: filesHistory},
		{method: "GET", pattern: "/v1/files/usage", service: "files", params: readParams(), do: filesUsage},

		{method: "POST", pattern: "/v1/services/{service}/invoke", params: writeParams(), body: jsonBody, do: invokeAny},
		{method: "POST", pattern: "/v1/services/{service}/query", params: []string{"timeout"}, body: jsonBody, do: queryAny},
	}
	for i := range routes {
		routeOf[routes[i].method+" "+routes[i].pattern] = &routes[i]
	}
}

// health: the process answers. Restarting it would help if it did not.
func health(*call) (any, error) { return map[string]string{"status": "ok"}, nil }

// ready: enough replicas can be reached.
func ready(c *call) (any, error) {
	if e := c.g.unready(); e != nil {
		return nil, e
	}
	return map[string]string{"status": "ready"}, nil
}

//go:embed openapi.json
var openAPIText []byte

func openAPI(c *call) (any, error) {
	c.w.Header().Set("Content-Type", "application/json")
	_, _ = c.w.Write(openAPIText) // the other end may be gone
	return nil, nil
}

func metricsPage(c *call) (any, error) {
	c.g.metrics.handler.ServeHTTP(c.w, c.r)
	return nil, nil
}

// clusterInfo says what the gateway serves.
func clusterInfo(c *call) (any, error) {
	reach := c.account.Cluster.Reachable()
	down := map[int]string{}
	for _, d := range reach.Down {
		down[d.ID] = fmt.Sprint(d.Err)
	}
	replicas := make([]map[string]any, reach.N)
	for i := range replicas {
		_, is := down[i]
		replicas[i] = map[string]any{"id": i, "name": c.g.manifest.Members[i].Name, "reachable": !is}
		if is {
			replicas[i]["reason"] = down[i]
		}
	}
	return map[string]any{"cluster": c.g.manifest.ID(), "name": c.g.manifest.Name, "services": c.g.manifest.Services,
		"replicas": replicas, "needed": reach.Needed, "account": c.account.Name, "key": c.account.Key}, nil
}

// invokeAny has a service that has no routes of its own execute an operation.
func invokeAny(c *call) (any, error) {
	service, err := c.anyService()
	if err != nil {
		return nil, err
	}
	var in struct {
		Operation *string `json:"operation"`
		Base64    *string `json:"operation_base64"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	op, err := text{in.Operation, in.Base64}.bytes("operation")
	if err != nil {
		return nil, err
	}
	result, err := c.invokeOn(service, op)
	if err != nil {
		return nil, err
	}
	return map[string]any{"result_base64": nonNil(result)}, nil
}

// queryAny asks it a question.
func queryAny(c *call) (any, error) {
	service, err := c.anyService()
	if err != nil {
		return nil, err
	}
	var in struct {
		Question    *string `json:"question"`
		Base64      *string `json:"question_base64"`
		Consistency string  `json:"consistency"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	question, err := text{in.Question, in.Base64}.bytes("question")
	if err != nil {
		return nil, err
	}
	mode, err := c.consistency(in.Consistency)
	if err != nil {
		return nil, err
	}
	answer, err := c.askAs(service, question, mode)
	if err != nil {
		return nil, err
	}
	return map[string]any{"answer_base64": nonNil(answer)}, nil
}

func (c *call) anyService() (string, error) {
	service := c.r.PathValue("service")
	if !c.g.hosts(service) {
		return "", fail(http.StatusNotFound, "no_such_service", "this cluster hosts no service of this name")
	}
	return service, nil
}

// nonNil makes no bytes an empty text in JSON, not null.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
