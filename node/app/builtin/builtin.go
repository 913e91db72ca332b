// Package builtin lists the services that come with Baluarte.
package builtin

import (
	"slices"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/echo"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// entry is a service that a node can host by its name.
type entry struct {
	name, summary string
	factory       app.Factory
}

// services is in the order of the names.
var services = []entry{
	{"calc", "exact arithmetic: evaluate an expression", calc.New},
	{"counter", "a 64-bit number: add, multiply, get", counter.New},
	{"counter-passive", "the same, replicated passively", counter.NewPassive},
	{"echo", "messages that come back: send, history", echo.New},
	{"files", "files with versions: put, update, delete, in parts and whole", files.New},
	{"kv", "keys and values: put, get, compare-and-set, transactions, watch, leases, locks", kv.New},
}

// Lookup returns the factory of the service of that name, and whether there is one.
func Lookup(name string) (app.Factory, bool) {
	i := slices.IndexFunc(services, func(e entry) bool { return e.name == name })
	if i < 0 {
		return nil, false
	}
	return services[i].factory, true
}

// Names returns the names of the services, in alphabetical order.
func Names() []string {
	names := make([]string, len(services))
	for i, e := range services {
		names[i] = e.name
	}
	return names
}

// Summary returns one line on the service of that name, or nothing.
func Summary(name string) string {
	for _, e := range services {
		if e.name == name {
			return e.summary
		}
	}
	return ""
}
