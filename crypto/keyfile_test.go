package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// cheapKDF keeps the tests fast; the real cost is tested once.
var cheapKDF = kdf{passes: 1, memoryKiB: 64, lanes: 1}

func say(passphrase string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(passphrase), nil }
}

// mustNotAsk is for files that are not encrypted.
func mustNotAsk(t *testing.T) func() ([]byte, error) {
	return func() ([]byte, error) {
		t.Error("asked for a passphrase")
		return nil, nil
	}
}

func mustEncode(t testing.TB, k *PrivateKey, passphrase string) []byte {
	text, err := encodeKey(k, []byte(passphrase), cheapKDF)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// recheck writes the last line anew, as whoever forges a file would.
func recheck(text []byte) []byte {
	end := bytes.LastIndex(text, []byte("\ncheck: ")) + 1
	return fmt.Appendf(bytes.Clone(text[:end]), "check: %s\n", keyFileCheck(text[:end]))
}

func TestKeyFilePlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k := testKey(1)
	if err := WriteKeyFile(path, k, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := ReadKeyFile(path, mustNotAsk(t))
	if err != nil || got.Seed() != k.Seed() {
		t.Fatalf("read back %v, %v", got, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("the directory holds %v", entries)
	}
}

// TestKeyFileEncrypted runs with the real cost.
func TestKeyFileEncrypted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k := testKey(1)
	if err := WriteKeyFile(path, k, []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := k.Seed()
	if bytes.Contains(text, fmt.Appendf(nil, "%x", seed[:8])) || !bytes.Contains(text, []byte(k.Public().String())) {
		t.Errorf("the file shows the seed or hides the public key:\n%s", text)
	}
	asked := []byte("correct horse")
	got, err := ReadKeyFile(path, func() ([]byte, error) { return asked, nil })
	if err != nil || got.Seed() != seed {
		t.Fatalf("read back %v, %v", got, err)
	}
	if !bytes.Equal(asked, make([]byte, len(asked))) {
		t.Error("the passphrase was not cleared")
	}
	if _, err := ReadKeyFile(path, say("correct horsf")); !errors.Is(err, ErrWrongPassphrase) || !strings.Contains(err.Error(), path) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := ReadKeyFile(path, nil); !errors.Is(err, ErrPassphraseNeeded) {
		t.Errorf("no passphrase: %v", err)
	}
	broken := errors.New("no terminal")
	if _, err := ReadKeyFile(path, func() ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a passphrase that cannot be asked for: %v", err)
	}
}

func TestKeyFileText(t *testing.T) {
	const sealed = `^BALUARTE PRIVATE KEY v1
public: [0-9a-f]{64}
protection: argon2id xchacha20poly1305
passes: 1
memory-kib: 64
lanes: 1
salt: [0-9a-f]{32}
nonce: [0-9a-f]{48}
key: [0-9a-f]{96}
check: [0-9a-f]{16}
$`
	const plain = `^BALUARTE PRIVATE KEY v1
public: [0-9a-f]{64}
protection: none
key: [0-9a-f]{64}
check: [0-9a-f]{16}
$`
	k := testKey(1)
	first, second := mustEncode(t, k, "p"), mustEncode(t, k, "p")
	if !regexp.MustCompile(sealed).Match(first) {
		t.Errorf("encrypted:\n%s", first)
	}
	if bytes.Equal(first, second) {
		t.Error("salt and nonce are the same twice")
	}
	if text := mustEncode(t, k, ""); !regexp.MustCompile(plain).Match(text) {
		t.Errorf("plain:\n%s", text)
	}
}

func TestKeyFileIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := WriteKeyFile(path, testKey(1), nil); err != nil {
		t.Fatal(err)
	}
	err := WriteKeyFile(path, testKey(2), nil)
	if !errors.Is(err, ErrKeyFileExists) || !strings.Contains(err.Error(), path) {
		t.Errorf("second write: %v", err)
	}
	if k, err := ReadKeyFile(path, nil); err != nil || k.Public() != testKey(1).Public() {
		t.Errorf("the first key is lost: %v", err)
	}
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	if err := WriteKeyFile(dangling, testKey(2), nil); !errors.Is(err, ErrKeyFileExists) {
		t.Errorf("writing over a link that leads nowhere: %v", err)
	}
	if err := WriteKeyFile(filepath.Join(dir, "no", "key"), testKey(2), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing into no directory: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("something was left behind: %v", entries)
	}
}

func TestKeyFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := WriteKeyFile(path, testKey(1), nil); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]error{
		0o600: nil, 0o400: nil,
		0o640: ErrKeyFileMode, 0o604: ErrKeyFileMode, 0o620: ErrKeyFileMode, 0o644: ErrKeyFileMode, 0o700: ErrKeyFileMode, 0o777: ErrKeyFileMode,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKeyFile(path, nil)
		if !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("mode %o: %v", mode, err)
		}
		if want != nil && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %o: the error does not say what to do: %v", mode, err)
		}
	}
}

func TestKeyFileOfAnotherKind(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), keyFileMaxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe, big} {
		if _, err := ReadKeyFile(path, nil); !errors.Is(err, ErrNotKeyFile) {
			t.Errorf("%s: %v, want ErrNotKeyFile", path, err)
		}
	}
	if _, err := ReadKeyFile(filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestKeyFileErrors: what is wrong with a file is told apart.
func TestKeyFileErrors(t *testing.T) {
	plain, sealed := string(mustEncode(t, testKey(1), "")), string(mustEncode(t, testKey(1), "p"))
	other := testKey(2).Public().String()
	forge := func(text, old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the text", old)
		}
		return string(recheck([]byte(strings.Replace(text, old, new, 1))))
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":               {"", ErrNotKeyFile},
		"another file":        {"-----BEGIN CERTIFICATE-----\n", ErrNotKeyFile},
		"version 2":           {forge(plain, "v1", "v2"), ErrKeyFileVersion},
		"another protection":  {forge(plain, "none", "rot13"), ErrKeyFileVersion},
		"header alone":        {keyFileHeader + "\n", ErrKeyFileDamaged},
		"header, no newline":  {keyFileHeader, ErrKeyFileDamaged},
		"only a check":        {string(recheck([]byte(keyFileHeader + "\ncheck: "))), ErrKeyFileDamaged},
		"cut":                 {plain[:len(plain)-1], ErrKeyFileDamaged},
		"extended":            {plain + "\n", ErrKeyFileDamaged},
		"changed":             {strings.Replace(plain, "key: ", "key:  ", 1), ErrKeyFileDamaged},
		"line too many":       {forge(plain, "check:", "note: x\ncheck:"), ErrKeyFileDamaged},
		"lines exchanged":     {forge(plain, "protection: none\n", ""), ErrKeyFileDamaged},
		"short key":           {forge(plain, "key: ", "key: 00"), ErrKeyFileDamaged},
		"key not hexadecimal": {forge(plain, "key: "+plain[strings.Index(plain, "key: ")+5:][:1], "key: x"), ErrKeyFileDamaged},
		"another public key":  {forge(plain, testKey(1).Public().String(), other), ErrKeyFileDamaged},
		"sealed, public key":  {forge(sealed, testKey(1).Public().String(), other), ErrWrongPassphrase},
		"sealed, changed":     {strings.Replace(sealed, "salt: ", "salt: 0", 1), ErrKeyFileDamaged},
		"negative passes":     {forge(sealed, "passes: 1", "passes: -1"), ErrKeyFileDamaged},
		"padded passes":       {forge(sealed, "passes: 1", "passes: 01"), ErrKeyFileDamaged},
		"256 lanes":           {forge(sealed, "lanes: 1", "lanes: 256"), ErrKeyFileDamaged},
	} {
		if _, err := decodeKey([]byte(c.text), say("p")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestKeyFileBounds: a hostile file is refused before the passphrase is asked for
// and before any memory is spent.
func TestKeyFileBounds(t *testing.T) {
	text := string(mustEncode(t, testKey(1), "p"))
	for _, c := range []struct{ old, new string }{
		{"memory-kib: 64", "memory-kib: 4294967295"},
		{"memory-kib: 64", "memory-kib: 262145"},
		{"memory-kib: 64", "memory-kib: 7"},
		{"memory-kib: 64", "memory-kib: 0"},
		{"passes: 1", "passes: 0"},
		{"passes: 1", "passes: 17"},
		{"passes: 1", "passes: 4294967295"},
		{"lanes: 1", "lanes: 0"},
		{"lanes: 1", "lanes: 17"},
		{"lanes: 1", "lanes: 9"}, // more than 64 KiB allow
	} {
		forged := recheck([]byte(strings.Replace(text, c.old, c.new, 1)))
		if _, err := decodeKey(forged, mustNotAsk(t)); !errors.Is(err, ErrKeyFileParameter) {
			t.Errorf("%s: %v, want ErrKeyFileParameter", c.new, err)
		}
	}
	if !defaultKDF.valid() {
		t.Error("the cost that is written is not accepted")
	}
}

// TestKeyFileBitFlips: no flip of a bit is read as a key, and none is taken for a
// wrong passphrase.
func TestKeyFileBitFlips(t *testing.T) {
	for _, passphrase := range []string{"", "p"} {
		text := mustEncode(t, testKey(1), passphrase)
		for i := range text {
			for bit := range 8 {
				text[i] ^= 1 << bit
				k, err := decodeKey(text, mustNotAsk(t))
				if err == nil || k != nil || errors.Is(err, ErrWrongPassphrase) {
					t.Errorf("byte %d, bit %d: %v, %v", i, bit, k, err)
				}
				text[i] ^= 1 << bit
			}
		}
	}
}

// FuzzKeyFile: any text is read without harm, and what is accepted in plain is
// exactly what would be written.
func FuzzKeyFile(f *testing.F) {
	f.Add(mustEncode(f, testKey(1), ""))
	f.Add(mustEncode(f, testKey(1), "p"))
	f.Add([]byte(keyFileHeader + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, forged := range [][]byte{text, recheck(text)} {
			k, err := decodeKey(forged, nil)
			if err == nil && !bytes.Equal(bytes.ToLower(forged), bytes.ToLower(mustEncode(t, k, ""))) {
				t.Errorf("accepted:\n%s", forged)
			}
		}
	})
}
