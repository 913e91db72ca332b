// Command bftnode runs and calls a cluster of replicas that agree by PBFT; see
// `bftnode --help`.
package main

import (
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/cli"
)

func main() {
	node.Main(cli.KV(), cli.Counter(), cli.CounterPassive(), cli.Echo(), cli.Calc(), cli.Files())
}
