package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/store"
)

const bornText = `The data of this replica was begun, for cluster %s (written on %s).
It is begun once: while this file is here, a missing database means that records were lost.
`

// noteBirth leaves a note beside the key, outside the data: a replica whose whole data
// directory is gone has lost records, and must not pass for one that never ran (rule 19).
func noteBirth(dir string, m *config.Manifest) error {
	text := fmt.Sprintf(bornText, m.ID(), time.Now().UTC().Format(time.RFC3339))
	err := config.WriteFile(filepath.Join(dir, config.BornFile), []byte(text), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// isBorn tells whether the home has the note. What is in it is for people.
func isBorn(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, config.BornFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// renewNote writes the note before the replica runs, if its data was begun, or is about to be
// after a loss, and nothing says so: an init that was cut short just there leaves none.
func renewNote(h *config.Home, acceptLoss bool) error {
	begun, err := store.Begun(nil, h.DataDir())
	if err != nil || !begun && !acceptLoss {
		return err
	}
	return noteBirth(h.Dir, h.Manifest)
}

// explainLoss says what to do about data that is damaged or gone.
func explainLoss(h *config.Home, err error) error {
	if errors.Is(err, store.ErrForeign) {
		return &wrong.Error{Err: err}
	}
	var damage *store.DamageError
	if errors.As(err, &damage) {
		return fmt.Errorf("%w; to accept it: run --home %s --accept-loss", err, h.Dir)
	}
	if !errors.Is(err, store.ErrNotInitialised) {
		return err
	}
	if born, noteErr := isBorn(h.Dir); noteErr != nil || !born {
		return errors.Join(err, noteErr)
	}
	return fmt.Errorf("the data of this replica is lost: %s says that it was begun, and %s has none; put the disk back as it was last, not an older copy, or begin anew without a vote: run --home %s --accept-loss",
		h.Path(config.BornFile), h.DataDir(), h.Dir)
}
