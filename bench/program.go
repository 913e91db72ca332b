package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// errNoProgram says what to do where bftnode can neither be built nor found.
var errNoProgram = wrong.Errorf("bftnode is neither installed here, beside bftbench or in PATH, nor can it be built: run this within a checkout of the project, or name the program with --bftnode")

// installed finds the bftnode that was installed, beside this program or in PATH, where its source is not: within a checkout
// what stands there is measured, and a failure to build it is one.
func installed(ctx context.Context, o *Options) (string, error) {
	if ctx.Err() != nil || exec.CommandContext(ctx, "go", "list", programPackage).Run() == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "", nil
	}
	if o.Profiles != "" {
		return "", wrong.Errorf("profiles are of a bftnode that is built for them: run this within a checkout of the project")
	}
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), "bftnode")
		if path, err := exec.LookPath(beside); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("bftnode")
	if errors.Is(err, exec.ErrDot) {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", errNoProgram
	}
	return path, nil
}
