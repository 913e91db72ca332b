package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// Calc is the service calc of node/app with its command.
func Calc() Service {
	return Service{Name: "calc", New: calc.New, SelfTest: selfTestCalc, Short: "Exact arithmetic", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{calcEvaluate(s)}
	}}
}

// Bounds of --places.
const (
	defaultPlaces = 10
	maxPlaces     = 1000
)

func calcEvaluate(s *Session) *cobra.Command {
	var places int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "calc EXPRESSION...", Short: "Evaluate an arithmetic expression exactly",
		Long: fmt.Sprintf(`Has the cluster evaluate an expression of numbers, + - × ÷ (or * and /), minus signs and parentheses, and prints its
exact value: a whole number, or a fraction with its decimal. = stands between them if that is exact, ≈ if it is rounded.
An expression may begin with a minus. Several arguments are joined by spaces.

What is wrong in an expression is found by the replicas, and shown where it is. The exit code is then 2, or 1 after a division
by zero or a number of more than %d bits. An expression has at most %d bytes.`, calc.MaxBits, calc.MaxLength),
		Example: s.program.example("calc '3+5-4/3*4'", "calc '-3+5'", "calc --places 50 1/7"),
		Args:    wrong.Args(1, calc.MaxLength),
		RunE: s.Run(func(ctx context.Context, args []string) error {
			if places < 0 || places > maxPlaces {
				return usage("--places is %d: it must be from 0 to %d", places, maxPlaces)
			}
			expression := strings.TrimSpace(strings.Join(args, " "))
			if expression == "" && !asJSON { // in JSON it is answered like every other one
				return usage("the expression is empty: give one such as 3+5")
			}
			result, err := s.Invoke(ctx, "calc", []byte(expression))
			if err != nil {
				return err
			}
			value, err := calc.Decode(result)
			var wrong *calc.Error
			switch {
			case errors.As(err, &wrong):
				return s.calcFailure(expression, wrong, asJSON)
			case err != nil:
				return err
			}
			return s.printValue(expression, value, places, asJSON)
		}),
	}
	cmd.Flags().IntVar(&places, "places", defaultPlaces, fmt.Sprintf("decimal places of what is rounded, 0 to %d", maxPlaces))
	cmd.Flags().BoolVar(&asJSON, "json", false, `print an object {"expression", "value", "decimal", "exact"}, or {"expression", "error", "position"}`)
	s.AddCallFlags(cmd)
	minusArgs(cmd)
	return cmd
}

// valueJSON is what calc --json prints of an expression that has a value: the whole number or the fraction, the
// same as a decimal, and whether that is exact.
type valueJSON struct {
	Expression string `json:"expression"`
	Value      string `json:"value"`
	Decimal    string `json:"decimal"`
	Exact      bool   `json:"exact"`
}

// failureJSON is what it prints of one that has none. Position counts characters from 1.
type failureJSON struct {
	Expression string `json:"expression"`
	Error      string `json:"error"`
	Position   int    `json:"position"`
}

func (s *Session) printValue(expression string, value *big.Rat, places int, asJSON bool) error {
	decimal, exact := calc.Decimal(value, places)
	if asJSON {
		return json.NewEncoder(s.program.stdout).Encode(valueJSON{expression, value.RatString(), decimal, exact})
	}
	text := value.RatString()
	switch {
	case value.IsInt():
	case exact:
		text += " = " + decimal
	default:
		text += " ≈ " + decimal
	}
	return s.Print([]byte(text), false)
}

// calcFailure shows what is wrong in an expression, and returns the error of the command.
func (s *Session) calcFailure(expression string, wrong *calc.Error, asJSON bool) error {
	code := CodeUsage
	if wrong.Reason == calc.DivisionByZero || wrong.Reason == calc.TooLarge {
		code = CodeFailure
	}
	var err error
	if asJSON {
		err = json.NewEncoder(s.program.stdout).Encode(failureJSON{expression, wrong.Reason, wrong.Position})
	} else {
		_, err = fmt.Fprint(s.program.stderr, pointAt(expression, wrong.Position))
	}
	if err != nil {
		return err
	}
	return Fail(code, "character %d of the expression: %s", wrong.Position, wrong.Reason)
}

// pointAt returns the expression, of a long one the part around the position, and a line with a
// caret below it. Before the position there are only characters of one column each.
func pointAt(expression string, position int) string {
	const around = 30
	text, at := []rune(expression), position-1
	from, to := max(0, at-around), min(len(text), at+around)
	head, tail := "", ""
	if from > 0 {
		head = "…"
	}
	if to < len(text) {
		tail = "…"
	}
	shown := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(text[from:to]))
	return fmt.Sprintf("  %s%s%s\n  %s^\n", head, shown, tail, strings.Repeat(" ", len([]rune(head))+at-from))
}

// minusArgs lets the arguments of a command begin with a minus that no letter follows, such as -3+5,
// which would be taken for a flag.
func minusArgs(cmd *cobra.Command) {
	check, run := cmd.Args, cmd.RunE
	cmd.DisableFlagParsing, cmd.Args = true, nil
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		cmd.DisableFlagParsing = false // from now on it is done here
		if err := cmd.ParseFlags(flagsFirst(cmd.Flags(), words)); err != nil {
			return cmd.FlagErrorFunc()(cmd, err)
		}
		if asked, err := cmd.Flags().GetBool("help"); err == nil && asked {
			return cmd.Help()
		}
		args := cmd.Flags().Args()
		if err := check(cmd, args); err != nil {
			return err
		}
		return run(cmd, args)
	}
}

// flagsFirst puts the flags of a command line and their values before -- and all other words behind it, in their order.
func flagsFirst(flags *pflag.FlagSet, words []string) []string {
	var before, behind []string
	isValue := false
	for i, word := range words {
		name, long := strings.CutPrefix(word, "--")
		switch {
		case isValue:
			before, isValue = append(before, word), false
		case word == "--": // what follows is taken as it is
			return slices.Concat(before, []string{"--"}, behind, words[i+1:])
		case !isFlag(word):
			behind = append(behind, word)
		case long:
			f := flags.Lookup(name) // none if there is a = in it
			before, isValue = append(before, word), f != nil && f.NoOptDefVal == ""
		default:
			before = append(before, word)
		}
	}
	if isValue || len(behind) == 0 { // a value that is missing is not to be --
		return before
	}
	return slices.Concat(before, []string{"--"}, behind)
}

// isFlag tells a flag, which has a letter behind its minus signs, from another word.
func isFlag(word string) bool {
	rest := strings.TrimLeft(word, "-")
	return rest != word && strings.IndexFunc(rest, unicode.IsLetter) == 0
}
