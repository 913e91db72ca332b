package crypto

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What [ReadKeyFile] and [WriteKeyFile] fail with, beside errors of the file
// system. All are wrapped with the path and, where there is more to say, a
// remedy.
var (
	ErrKeyFileExists    = fmt.Errorf("%w, a key file is never overwritten", fs.ErrExist)
	ErrKeyFileMode      = errors.New("others can read or write the key file")
	ErrNotKeyFile       = errors.New("not a key file")
	ErrKeyFileVersion   = errors.New("key file of an unknown version")
	ErrKeyFileDamaged   = errors.New("key file is damaged")
	ErrKeyFileParameter = errors.New("key file asks for key derivation beyond the bounds")
	ErrPassphraseNeeded = errors.New("key file is encrypted and no passphrase was given")
	ErrWrongPassphrase  = errors.New("wrong passphrase")
)

// WriteKeyFile writes the key to a new file of mode 0600. With an empty
// passphrase the seed stands in it in plain; otherwise it is encrypted with
// XChaCha20-Poly1305 under a key that Argon2id derives from the passphrase with
// 64 MiB of memory.
//
// A file at path is never overwritten, the error is then ErrKeyFileExists. The
// file appears whole or not at all, and when WriteKeyFile returns nil it is
// durable, its directory entry included.
func WriteKeyFile(path string, k *PrivateKey, passphrase []byte) error {
	text, err := encodeKey(k, passphrase, defaultKDF)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer clear(text)
	if err := writeNewFile(path, text); err != nil {
		return &fs.PathError{Op: "writing", Path: path, Err: err}
	}
	return nil
}

// ReadKeyFile reads the key in a file. It calls passphrase, which may be nil, only
// if the file is encrypted, and clears what that returns. A file that anyone but
// its owner can read or write is refused (ErrKeyFileMode), and so is one whose
// parameters would take more than 256 MiB or several seconds to derive the key.
// A wrong passphrase (ErrWrongPassphrase) and a damaged file (ErrKeyFileDamaged)
// are told apart.
func ReadKeyFile(path string, passphrase func() ([]byte, error)) (*PrivateKey, error) {
	text, err := readPrivateFile(path)
	if err != nil {
		return nil, &fs.PathError{Op: "reading", Path: path, Err: err}
	}
	defer clear(text)
	k, err := decodeKey(text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return k, nil
}

// readPrivateFile returns the content of a small regular file that nobody but
// its owner may use.
func readPrivateFile(path string) ([]byte, error) {
	// Without O_NONBLOCK opening a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bareError(err)
	}
	defer f.Close()
	// The opened file is asked, not the path: it cannot be swapped in between.
	info, err := f.Stat()
	if err != nil {
		return nil, bareError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrNotKeyFile)
	}
	if perm := info.Mode().Perm(); perm&^0o600 != 0 {
		return nil, fmt.Errorf("%w, its mode is %04o: chmod 600 %s", ErrKeyFileMode, perm, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, keyFileMaxBytes+1))
	if err != nil {
		return nil, bareError(err)
	}
	if len(text) > keyFileMaxBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrNotKeyFile, keyFileMaxBytes)
	}
	return text, nil
}

// writeNewFile makes a durable file of mode 0600 at path, where none may be.
func writeNewFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	// Random, for a fixed name would be refused after a crash left one behind.
	var random [8]byte
	drawRandom(random[:])
	temp := filepath.Join(dir, "."+filepath.Base(path)+"."+hex.EncodeToString(random[:])+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return bareError(err)
	}
	defer os.Remove(temp)
	_, err = f.Write(data)
	if err == nil {
		// The umask may have taken bits away, and a file that its owner cannot
		// read is of no use.
		err = f.Chmod(0o600)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = moveNew(temp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return bareError(err)
}

// moveNew gives the file at temp the name path unless something has that name.
func moveNew(temp, path string) error {
	// A hard link, unlike a rename, never replaces what is there.
	err := os.Link(temp, path)
	switch {
	case err == nil:
		return os.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return ErrKeyFileExists
	}
	// Some file systems have no hard links. What appears at path between these
	// two calls would be replaced, which is the best there is.
	if _, err := os.Lstat(path); err == nil {
		return ErrKeyFileExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// bareError takes the operation and the path off an error of the file system,
// since the callers name the path that the operator knows.
func bareError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	var linkErr *os.LinkError
	if errors.As(err, &linkErr) {
		return linkErr.Err
	}
	return err
}
