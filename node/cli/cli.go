// Package cli is the command line of a program that hosts services: every command
// of bftnode, for any set of services. Programs use it through node.Main; this
// package knows nothing of how a replica is run, it is told by [Program.Run].
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// DirVariable is the environment variable that names the directory of the cluster.
const DirVariable = "BFTNODE_DIR"

// DefaultDir is the directory of the cluster if neither --dir nor DirVariable is given.
const DefaultDir = "cluster"

// DefaultTimeout bounds a call without --timeout.
const DefaultTimeout = 10 * time.Second

// Service is a state machine with the name by which operations address it.
type Service struct {
	// Name is what a manifest lists under services; see [exec.ValidServiceName].
	Name string
	// New makes the state machine of one replica.
	New exec.Factory
	// Short describes the service in the help, in a few words.
	Short string
	// Commands returns the subcommands of the command that is named like the
	// service, whose RunE are made by [Session.Run]; a single one of that name is that
	// command itself. Nil leaves the service to the general commands invoke and query.
	Commands func(*Session) []*cobra.Command
	// SelfTest calls the service for the command selftest, on a cluster of its own, and returns in a few words what it
	// has seen to hold, or what did not. It is called in round 0, when the service is new, in round 1, when the primary
	// is dead, and in round 2, when it is back. Nil: selftest does not call the service.
	SelfTest func(ctx context.Context, s *Session, round int) (held string, err error)
	// Asked: a new cluster hosts the service only if --app asks for it; that of selftest does if there is a SelfTest.
	Asked bool
}

// Program is a set of services with every command.
type Program struct {
	// Name is the name of the program in help and messages.
	Name string
	// Services are those that the program can host, with different names.
	Services []Service
	// Run runs one replica, and returns nil once ctx has ended and everything is
	// closed, or why it failed.
	Run func(ctx context.Context, r Replica) error

	ctx            context.Context // ends with the first signal
	stdin          io.Reader
	stdout, stderr io.Writer
	kept           *keptClient // of a shell; nil: each command connects
}

// Replica is what [Program.Run] runs.
type Replica struct {
	Home *config.Home
	// Services are those that the manifest lists, by name.
	Services map[string]exec.Factory
	// AcceptLoss: the operator has decided that the replica begins anew, without a
	// vote, if its data is damaged or gone.
	AcceptLoss bool
}

// Main runs the command line of the process and ends the process.
func Main(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := p.Execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Execute runs one command line and returns its exit code. Errors are printed to
// stderr, as one line.
func (p *Program) Execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p.ctx, p.stdin, p.stdout, p.stderr = ctx, stdin, stdout, stderr
	if err := p.check(); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return CodeFailure
	}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return CodeOK
	}
	fmt.Fprintf(stderr, "%s: %s\n", p.Name, plain(err))
	return codeOf(err)
}

// plain is the text of an error as one line, without the name of the package that it comes from.
func plain(err error) string {
	text := singleLine(err.Error())
	for _, name := range []string{"node: ", "store: ", "client: ", "gateway: ", "crypto: "} {
		text = strings.TrimPrefix(text, name)
	}
	return text
}

// ownCommands are the names that the command of a service cannot have.
var ownCommands = []string{"up", "launch", "down", "logs", "status", "run", "init", "keys", "manifest", "invoke", "query", "discover", "shell", "recover", "selftest", "gateway", "receipt", "version", "help"}

// check refuses a program that cannot work, whose author made a mistake.
func (p *Program) check() error {
	names := map[string]bool{}
	for _, s := range p.Services {
		switch {
		case !exec.ValidServiceName(s.Name):
			return fmt.Errorf("%q is not a valid name of a service", s.Name)
		case names[s.Name]:
			return fmt.Errorf("two services are named %q", s.Name)
		case s.New == nil:
			return fmt.Errorf("service %q has no factory", s.Name)
		case s.Commands != nil && slices.Contains(ownCommands, s.Name):
			return fmt.Errorf("the name of service %q is that of a command", s.Name)
		}
		names[s.Name] = true
	}
	if len(p.defaultNames()) == 0 {
		return fmt.Errorf("the program hosts no service, or none unasked")
	}
	return nil
}

// serviceNames lists the services of the program.
func (p *Program) serviceNames() []string {
	names := make([]string, len(p.Services))
	for i, s := range p.Services {
		names[i] = s.Name
	}
	slices.Sort(names)
	return names
}

// defaultNames lists the services that a new cluster hosts if nobody chooses.
func (p *Program) defaultNames() []string {
	return slices.DeleteFunc(p.serviceNames(), func(name string) bool {
		return slices.ContainsFunc(p.Services, func(s Service) bool { return s.Name == name && s.Asked })
	})
}

// testedNames lists the services that selftest hosts: also those that a new cluster has only if it is asked for them, if
// they say how they are called.
func (p *Program) testedNames() []string {
	return slices.DeleteFunc(p.serviceNames(), func(name string) bool {
		return slices.ContainsFunc(p.Services, func(s Service) bool { return s.Name == name && s.Asked && s.SelfTest == nil })
	})
}

// pick returns the services with these names, which a manifest lists.
func (p *Program) pick(names []string) ([]Service, error) {
	var picked []Service
	for _, name := range names {
		i := slices.IndexFunc(p.Services, func(s Service) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("this program hosts no service %q, only %s", name, strings.Join(p.serviceNames(), ", "))
		}
		picked = append(picked, p.Services[i])
	}
	return picked, nil
}

const rootLong = `%[1]s runs and calls a cluster of replicas that agree by PBFT: it goes on, and answers
correctly, while at most f of n >= 3f+1 replicas crash or lie.

The cluster is found by --dir, else by the environment variable ` + DirVariable + `, else in ./` + DefaultDir + `.
Results go to the standard output, everything else to the standard error.

Exit codes: 0 success; 1 it went wrong while it was done; 2 wrong usage, or a file or value that cannot be used, and
nothing was done; 3 not found; 4 compare failed; 5 timeout (the outcome of a write is unknown); 6 no quorum.`

func (p *Program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           p.Name,
		Short:         "A replicated service that tolerates Byzantine faults",
		Long:          fmt.Sprintf(rootLong, p.Name),
		Example:       p.example(append([]string{"up", "status"}, p.firstCalls()...)...),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          wrong.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(wrong.Flag)
	root.CompletionOptions.DisableDefaultCmd = true
	wrong.SetHelp(root, "up")
	root.AddCommand(p.upCommand(), p.downCommand(), p.logsCommand(), p.statusCommand(),
		p.runCommand(), p.initCommand(), p.keysCommand(), p.manifestCommand(),
		p.invokeCommand(), p.queryCommand(), p.shellCommand(), p.recoverCommand(), p.discoverCommand(), p.selfTestCommand(), p.gatewayCommand(), p.receiptCommand(), p.versionCommand())
	for _, s := range p.Services {
		if s.Commands != nil {
			root.AddCommand(p.serviceCommand(s))
		}
	}
	return root
}

// example formats command lines for a help text.
func (p *Program) example(lines ...string) string {
	for i, l := range lines {
		lines[i] = "  " + p.Name + " " + l
	}
	return strings.Join(lines, "\n")
}

// group makes a command that has subcommands only, with their first examples as its own.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	names, examples := make([]string, len(subs)), make([]string, len(subs))
	for i, c := range subs {
		names[i] = c.Name()
		examples[i] = firstExample(c.Example)
	}
	c := &cobra.Command{Use: use, Short: short, Args: wrong.NoArgs,
		Long:    describes(short) + ": these are its commands, each with a help of its own.",
		Example: strings.Join(examples, "\n"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("%s needs %s; see %[1]s --help", cmd.CommandPath(), needed(names))
		}}
	c.AddCommand(subs...)
	return c
}

// describes turns the short help of a command, which is an order, into the first sentence of its long one: Print and show into
// Prints and shows. What is no order stays.
func describes(short string) string {
	orders := strings.NewReplacer("Add to", "Adds to", "Ask ", "Asks ", "Begin ", "Begins ", "Check ", "Checks ", "End ", "Ends ", "Make ", "Makes ",
		"Multiply ", "Multiplies ", "Print ", "Prints ", " and print ", " and prints ", " and show ", " and shows ")
	return orders.Replace(short)
}

// needed says which commands of a group can follow.
func needed(names []string) string {
	if len(names) == 1 {
		return "the command " + names[0]
	}
	return "one of the commands " + strings.Join(names, ", ")
}

// firstExample is the first command of examples, which may go on behind a backslash.
func firstExample(examples string) string {
	lines := strings.Split(examples, "\n")
	for i, l := range lines {
		if !strings.HasSuffix(l, "\\") {
			return strings.Join(lines[:i+1], "\n")
		}
	}
	return examples
}

func singleLine(s string) string {
	return strings.Join(strings.FieldsFunc(strings.TrimSpace(s), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
