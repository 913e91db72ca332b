package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/trace"
)

// The values of --trace, beside none: without a value it is traceAuto.
const (
	traceAuto  = "auto" // JSON with --json, else a table
	traceTable = "table"
	traceJSON  = "json"
	traceOff   = "off"
)

func (s *Session) addTraceFlag(cmd *cobra.Command) {
	f := cmd.Flags().VarPF(&traceFlag{&s.trace}, "trace", "", "print where the time of each call went, to the standard error: =table, or =json, the default with --json")
	f.NoOptDefVal = traceAuto
}

// traceFlag is the value of --trace.
type traceFlag struct{ value *string }

// String is the value.
func (f *traceFlag) String() string {
	if f.value == nil {
		return ""
	}
	return *f.value
}

// Type is shown in the help.
func (f *traceFlag) Type() string { return "format" }

// Set refuses what is no format.
func (f *traceFlag) Set(v string) error {
	switch v {
	case traceAuto, traceTable, traceJSON, traceOff:
		*f.value = v
		return nil
	}
	return fmt.Errorf("it is %s or %s, as in --trace=%[1]s", traceTable, traceJSON)
}

// traced is the context of a command: with --trace each of its calls is printed when it has ended.
func (s *Session) traced(cmd *cobra.Command) context.Context {
	if s.trace == "" || s.trace == traceOff {
		return cmd.Context()
	}
	asJSON := s.trace == traceJSON
	if f := cmd.Flags().Lookup("json"); f != nil && s.trace == traceAuto {
		asJSON = f.Value.String() == "true"
	}
	return client.WithTrace(cmd.Context(), func(t *trace.Trace) {
		if asJSON {
			_ = json.NewEncoder(s.program.stderr).Encode(t) // the result of the call matters more
			return
		}
		_ = t.Print(s.program.stderr)
	})
}
