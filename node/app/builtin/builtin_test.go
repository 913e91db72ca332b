package builtin_test

import (
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/builtin"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

func TestServicesCanBeMadeByTheirNames(t *testing.T) {
	names := builtin.Names()
	if !slices.IsSorted(names) {
		t.Errorf("names %v are not in order", names)
	}
	for _, name := range names {
		factory, ok := builtin.Lookup(name)
		if !ok || !exec.ValidServiceName(name) || builtin.Summary(name) == "" {
			t.Fatalf("service %q: %v", name, ok)
		}
		if _, err := factory(memstore.New()); err != nil {
			t.Errorf("service %q: %v", name, err)
		}
	}
	if _, ok := builtin.Lookup("none"); ok || builtin.Summary("none") != "" {
		t.Error("a service called none")
	}
}
