package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/node/client"
)

// Add to the counter of a cluster, and tell apart what went wrong.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.Open(ctx, "cluster")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	counter := c.Service("counter")
	reply, err := counter.Invoke(ctx, []byte("add 5"))
	switch {
	case errors.Is(err, client.ErrOutcomeUnknown):
		fmt.Println("perhaps added:", err)
	case err != nil:
		fmt.Println("not added:", err)
	default:
		fmt.Printf("%s\n", reply)
	}
}
