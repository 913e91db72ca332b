package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// passphraseFlag is the flag of commands that read or write an encrypted key file.
type passphraseFlag struct{ file string }

func (f *passphraseFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "passphrase-file", "", "file with the passphrase of the key, instead of asking for it")
}

// reader returns a function that gets the passphrase from the file, or asks for it on
// the terminal. It is called only if the key file is encrypted.
func (f *passphraseFlag) reader(p *Program) func() ([]byte, error) {
	return func() ([]byte, error) {
		if f.file != "" {
			return readPassphrase(f.file)
		}
		return askPassphrase(p, "Passphrase: ")
	}
}

func readPassphrase(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, wrong.File(path, err, "name a file with the passphrase")
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return nil, usage("%s: the passphrase is empty: write it there, on one line", path)
	}
	return text, nil
}

func askPassphrase(p *Program, prompt string) ([]byte, error) {
	in, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, usage("the passphrase cannot be asked for without a terminal: give --passphrase-file")
	}
	fmt.Fprint(p.stderr, prompt)
	text, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(p.stderr)
	return text, err
}

func (p *Program) keysCommand() *cobra.Command {
	return group("keys", "Make and show private keys", p.keysNewCommand(), p.keysShowCommand())
}

func (p *Program) keysNewCommand() *cobra.Command {
	var home, out string
	var encrypt bool
	var pass passphraseFlag
	cmd := &cobra.Command{
		Use:   "new (--home DIR | --out FILE)",
		Short: "Make a private key, and print its public key",
		Long: `Makes a private key in the home directory of a replica, or in a file. It never leaves this
machine: the public key, which is printed, is what a manifest lists. Compare fingerprints when you send it.
With --encrypt, or --passphrase-file, the file is of use only together with a passphrase.`,
		Example: p.example("keys new --home ./r0", "keys new --out me.key --encrypt"),
		Args:    wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if (home == "") == (out == "") {
				return usage("keys new needs either --home DIR or --out FILE")
			}
			var passphrase []byte
			var err error
			if encrypt || pass.file != "" {
				if passphrase, err = p.newPassphrase(&pass); err != nil {
					return err
				}
			}
			path := out
			if home != "" {
				if err := os.MkdirAll(home, 0o700); err != nil {
					return wrong.NewDir(home, err, "name another directory with --home")
				}
				path = filepath.Join(home, config.KeyFile)
			}
			return p.newKey(path, passphrase)
		},
	}
	cmd.Flags().StringVar(&home, "home", "", "home directory of a replica, made if missing")
	cmd.Flags().StringVar(&out, "out", "", "file for the key")
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the file with a passphrase")
	pass.add(cmd)
	return cmd
}

// newPassphrase asks twice, or reads the file.
func (p *Program) newPassphrase(pass *passphraseFlag) ([]byte, error) {
	if pass.file != "" {
		return readPassphrase(pass.file)
	}
	first, err := askPassphrase(p, "New passphrase: ")
	if err != nil {
		return nil, err
	}
	second, err := askPassphrase(p, "Again: ")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 || !bytes.Equal(first, second) {
		return nil, errors.New("the passphrase is empty, or was not repeated alike: try again")
	}
	return first, nil
}

func (p *Program) newKey(path string, passphrase []byte) error {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		return err
	}
	if err := crypto.WriteKeyFile(path, key, passphrase); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return wrong.File(path, err, "a key file is never overwritten, name another one")
		}
		return wrong.NewFile(path, err, "name another one")
	}
	p.showKey(path, key.Public())
	return nil
}

func (p *Program) showKey(path string, pub crypto.PublicKey) {
	fmt.Fprintln(p.stdout, pub)
	fmt.Fprintf(p.stderr, "%s: fingerprint %s\n", path, pub.Fingerprint())
}

func (p *Program) keysShowCommand() *cobra.Command {
	var home, dir, file string
	var pass passphraseFlag
	cmd := &cobra.Command{
		Use:     "show [--dir DIR | --home DIR | --file FILE]",
		Short:   "Print the public key of a private key",
		Long:    `Prints the public key of this directory's client (--dir, the default), of a replica (--home) or of a key file.`,
		Example: p.example("keys show", "keys show --home ./r0", "keys show --file me.key"),
		Args:    wrong.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path := filepath.Join(dir, config.ClientKeyFile)
			switch {
			case home != "" && file != "":
				return usage("keys show takes --home or --file, not both")
			case home != "":
				path = filepath.Join(home, config.KeyFile)
			case file != "":
				path = file
			}
			key, err := crypto.ReadKeyFile(path, pass.reader(p))
			if err != nil {
				return badFile(path, err, "name a key with --dir, --home or --file, or make one with keys new")
			}
			p.showKey(path, key.Public())
			return nil
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&home, "home", "", "home directory of a replica")
	cmd.Flags().StringVar(&file, "file", "", "key file")
	pass.add(cmd)
	return cmd
}
