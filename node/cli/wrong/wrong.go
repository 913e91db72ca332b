// Package wrong words what is wrong with a command line, or with a file that it names, alike in all programs: one line
// that says what to do. What pflag and the standard library say of it is for programmers.
package wrong

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Code is the exit status of a program that was used wrongly, or was given what it cannot use. Then it has done nothing.
const Code = 2

// Error is a mistake in what was typed, or in a file that it names. Its text is one line.
type Error struct{ Err error }

// Error returns the text of the line.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether a program that failed with err was used wrongly.
func Is(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Errorf makes an Error.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// Flag words what pflag has found in the flags of a command; it is a function for [cobra.Command.SetFlagErrorFunc].
func Flag(cmd *cobra.Command, err error) error {
	return Errorf("%s; see %s --help", flagText(err), cmd.CommandPath())
}

func flagText(err error) string {
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &invalid):
		return fmt.Sprintf("--%s %q %s", invalid.GetFlag().Name, invalid.GetValue(), value(invalid))
	case errors.As(err, &missing):
		return fmt.Sprintf("--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &syntax):
		return "unknown flag: " + syntax.GetSpecifiedFlag()
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		word := "-" + unknown.GetSpecifiedShortnames()
		return fmt.Sprintf("unknown flag: %s; put -- before an argument that begins with a minus, as in: -- %[1]s", word)
	}
	return err.Error() // unknown flag: --name
}

// value says what the value of a flag should be.
func value(e *pflag.InvalidValueError) string {
	cause := e.Unwrap()
	if errors.Is(cause, strconv.ErrRange) {
		return "is out of range"
	}
	switch kind := e.GetFlag().Value.Type(); {
	case strings.HasPrefix(kind, "uint"):
		return "is not a whole number from 0 on"
	case strings.HasPrefix(kind, "int"):
		return "is not a whole number"
	case strings.HasPrefix(kind, "float"):
		return "is not a number"
	case kind == "duration":
		return "is not a time such as 500ms, 10s or 1h30m"
	case kind == "bool":
		return "is neither true nor false"
	case kind == "stringSlice":
		return "is not a list with commas between"
	}
	return "cannot be: " + cause.Error()
}

// NoArgs refuses arguments; of a command with subcommands it says that there is no such one.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		hint := ""
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			hint = fmt.Sprintf(", did you mean %q?", s[0])
		}
		return Errorf("%s has no command %q%s; see %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
	}
	return Errorf("%s takes no arguments, but got %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// Args wants from least to most arguments.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return Errorf("wrong number of arguments (%d), the usage is: %s", len(args), cmd.UseLine())
	}
}

// helpCommand is cobra's help command, but an unknown topic is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Show the help of a command", RunE: help,
		Long: "Shows the help of a command, as --help behind it does, or that of the whole program."}
}

// SetHelp gives a program its help command, with an example of the command topic.
func SetHelp(root *cobra.Command, topic string) {
	c := helpCommand()
	c.Example = fmt.Sprintf("  %s help\n  %[1]s help %s", root.Name(), topic)
	root.SetHelpCommand(c)
}

func help(cmd *cobra.Command, args []string) error {
	topic, rest, err := cmd.Root().Find(args)
	if err != nil || topic == nil || (len(rest) > 0 && topic == cmd.Root()) {
		return Errorf("there is no command %q; see %s --help", strings.Join(args, " "), cmd.Root().Name())
	}
	topic.InitDefaultHelpFlag()
	return topic.Help()
}

// File words the failure of opening, reading or making a file that the command line names, with the path as it was
// given: the operating system's error may name another one, or none. do says what to do. What is wrong inside of the file keeps its text.
func File(path string, err error, do string) error {
	if err == nil {
		return nil
	}
	if text := fileText(path, err); text != "" {
		return &Error{&described{text + ": " + do, err}}
	}
	return &Error{err}
}

// NewFile is File for one that was to be made: what is missing then is its directory.
func NewFile(path string, err error, do string) error {
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(path)
		if _, missing := os.Stat(dir); missing == nil {
			return &Error{&described{path + " cannot be made: the system allows none there: " + do, err}}
		}
		return File(dir, err, "make that directory, or "+do)
	}
	return File(path, err, do)
}

// NewDir is File for a directory that was to be made, with those above it.
func NewDir(path string, err error, do string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{&described{path + " cannot be made: the system allows none there: " + do, err}}
	}
	return File(path, err, do)
}

func fileText(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no " + path
	case errors.Is(err, fs.ErrExist):
		return path + " is there already"
	case errors.Is(err, fs.ErrPermission):
		return path + " may not be used: the system denies it"
	case errors.Is(err, syscall.EISDIR):
		return path + " is a directory"
	case errors.Is(err, syscall.ENOTDIR):
		return path + " cannot be: a part of it is a file and not a directory"
	case errors.Is(err, exec.ErrNotFound):
		return "there is no program " + path
	}
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return path + " cannot be used: " + p.Err.Error()
	case errors.As(err, &l):
		return path + " cannot be used: " + l.Err.Error()
	}
	return ""
}

// described is an error with another text.
type described struct {
	text  string
	cause error
}

func (d *described) Error() string { return d.text }

func (d *described) Unwrap() error { return d.cause }
