package cli

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

func kvLease(s *Session) *cobra.Command {
	subs := []*cobra.Command{leaseGrant(s), leaseUse(s, "keep-alive", "Begin the time of a lease anew", kv.KeepAlive), leaseUse(s, "revoke", "End a lease, and with it its keys", kv.Revoke), leaseList(s)}
	for _, c := range subs {
		s.addFlags(c)
	}
	c := group("lease", "Keys that go after a time", subs...)
	c.Long = fmt.Sprintf(`A lease is a time to live, from %v to %v, that keys can be put on with kv put --lease. When it is over without
keep-alive the keys are deleted. The time is the one that the replicas agree on with every operation: a lease has ended when
an operation comes after its end, be it one of a reader that sees by its own clock that it is time.
A lease can be used by the client key alone that it was granted to. kv put --ttl makes a lease for one key; kv lock makes one and
keeps it alive by itself.`, kv.MinTTL, kv.MaxTTL)
	return c
}

// leaseLine is a lease as --json prints it.
type leaseLine struct {
	Lease  uint64    `json:"lease"`
	TTL    string    `json:"ttl"`
	Ends   time.Time `json:"ends"`
	Keys   int       `json:"keys"`
	Client string    `json:"client"`
}

func lineOfLease(l *kv.Lease) leaseLine {
	return leaseLine{l.ID, l.TTL.String(), l.Ends, l.Keys, l.Owner.String()}
}

// useLease invokes an operation that returns a lease, and prints it.
func (s *Session) useLease(ctx context.Context, op []byte, asJSON bool) error {
	result, err := s.Invoke(ctx, "kv", op)
	if err != nil {
		return err
	}
	l, err := kv.DecodeLease(result)
	if err != nil {
		return leaseError(err)
	}
	return s.printLease(&l, asJSON)
}

func (s *Session) printLease(l *kv.Lease, asJSON bool) error {
	if asJSON {
		return s.encode(lineOfLease(l))
	}
	_, err := fmt.Fprintf(s.program.stdout, "lease %d: %v, until %s\n", l.ID, l.TTL, when(l.Ends))
	return err
}

// putFor puts a key on a lease of its own, and prints that. If the key cannot be put, the lease ends by itself.
func (s *Session) putFor(ctx context.Context, ttl time.Duration, key string, value []byte) error {
	result, err := s.Invoke(ctx, "kv", kv.Grant(ttl))
	if err != nil {
		return err
	}
	l, err := kv.DecodeLease(result)
	if err != nil {
		return leaseError(err)
	}
	if err := s.change(ctx, key, kv.PutOn(l.ID, []byte(key), value)); err != nil {
		return err
	}
	return s.printLease(&l, false)
}

func leaseGrant(s *Session) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "grant TTL", Short: "Make a lease",
		Long:    fmt.Sprintf("Makes a lease with a time to live such as 30s or 10m, from %v to %v, and prints its number and when it ends.", kv.MinTTL, kv.MaxTTL),
		Example: s.program.example("kv lease grant 1m"),
		Args:    wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			ttl, err := time.ParseDuration(args[0])
			if err != nil {
				return usage("%q is no time to live, which is written as 30s or 10m", args[0])
			}
			if err := checkTTL(ttl); err != nil {
				return err
			}
			return s.useLease(ctx, kv.Grant(ttl), asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"lease", "ttl", "ends", "keys", "client"}`)
	return cmd
}

// checkTTL refuses a time to live that the service would refuse.
func checkTTL(ttl time.Duration) error {
	if ttl < kv.MinTTL || ttl > kv.MaxTTL {
		return usage("the time to live is %v: it must be from %v to %v", ttl, kv.MinTTL, kv.MaxTTL)
	}
	return nil
}

// leaseUse is a command with the number of a lease.
func leaseUse(s *Session, verb, short string, op func(uint64) []byte) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: verb + " LEASE", Short: short,
		Long:    describes(short) + ". If there is no lease of this number, or its time is over, the exit code is 3.",
		Example: s.program.example("kv lease " + verb + " 7"),
		Args:    wrong.Args(1, 1),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 62)
			if err != nil || id == 0 {
				return usage("%q is no number of a lease", args[0])
			}
			if verb == "keep-alive" {
				return s.useLease(ctx, op(id), asJSON)
			}
			result, err := s.Invoke(ctx, "kv", op(id))
			if err != nil {
				return err
			}
			_, err = kv.DecodeDone(result)
			return leaseError(err)
		}),
	}
	if verb == "keep-alive" {
		cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"lease", "ttl", "ends", "keys", "client"}`)
	}
	return cmd
}

func leaseList(s *Session) *cobra.Command {
	var mode modeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the leases",
		Long:    "Prints the leases of all clients in the order of their numbers: when they end, how many keys are on them, and the client.",
		Example: s.program.example("kv lease list", "kv lease list --json"),
		Args:    wrong.NoArgs,
		RunE: s.Run(func(ctx context.Context, _ []string) error {
			w := tabwriter.NewWriter(s.program.stdout, 0, 0, 2, ' ', 0)
			if !asJSON {
				fmt.Fprintln(w, "LEASE\tTTL\tENDS\tKEYS\tCLIENT")
			}
			for above := uint64(0); ; {
				list, more, err := s.leasePage(ctx, above, &mode)
				if err != nil {
					return err
				}
				for i := range list {
					l := &list[i]
					above = l.ID
					if !asJSON {
						fmt.Fprintf(w, "%d\t%v\t%s\t%d\t%s\n", l.ID, l.TTL, when(l.Ends), l.Keys, shortClient(l.Owner))
					} else if err := s.encode(lineOfLease(l)); err != nil {
						return err
					}
				}
				if !more {
					return w.Flush()
				}
			}
		}),
	}
	mode.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, `print objects {"lease", "ttl", "ends", "keys", "client"}`)
	return cmd
}

func (s *Session) leasePage(ctx context.Context, above uint64, mode *modeFlags) ([]kv.Lease, bool, error) {
	result, err := s.readKV(ctx, kv.Leases(above, 0), mode, func(result []byte) (first time.Time) {
		list, _, _ := kv.DecodeLeases(result) // an error is seen below
		for _, l := range list {
			if first.IsZero() || l.Ends.Before(first) {
				first = l.Ends
			}
		}
		return first
	})
	if err != nil {
		return nil, false, err
	}
	return kv.DecodeLeases(result)
}
