package node

import (
	"context"
	"os"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/node/cli"
)

// Service is a state machine under the name by which operations address it, with
// what its commands need, if it has any of its own.
type Service = cli.Service

// Main is the main function of a program that hosts the services: it has every
// command of bftnode. It does not return.
//
//	func main() { node.Main(node.Service{Name: "adder", New: newAdder}) }
//
// The commands are in package cli, which does not import this one but is handed
// the function that runs a replica.
func Main(services ...Service) {
	cli.Main(cli.Program{Name: filepath.Base(os.Args[0]), Services: services, Run: runReplica})
}

func runReplica(ctx context.Context, r cli.Replica) error {
	tuneGC()
	o := HomeOptions(r.Home, r.Services)
	o.AcceptLoss = r.AcceptLoss
	n, err := Start(ctx, o)
	if err != nil {
		return err
	}
	return n.Wait()
}
