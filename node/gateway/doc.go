// Package gateway serves a cluster to programs that speak HTTP and JSON instead of the cluster's own protocol.
//
//	curl -X PUT http://127.0.0.1:8470/v1/kv/greeting -H 'Content-Type: application/json' -d '{"value": "hello"}'
//
// A [Gateway] is a client of the cluster like any other: it believes a result only once f+1 replicas gave it alike. Its
// own users have to trust it, though, as docs/gateway.md explains. It keeps nothing that a restart would lose: what it
// holds are connections, counters, and the requests that are being served.
//
// Each route is a line of a table (routes.go) and a function that turns a request into a call of a service, and its result
// into a JSON object. What all have in common is in serve.go: who is asking, bounds, times, errors. openapi.json describes
// all routes; a test holds it against the table and against what the routes answer.
package gateway
