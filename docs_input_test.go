package baluarte_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wrongCode is the exit status of a program that was used wrongly, or was given what it cannot use.
const wrongCode = 2

// badInput are command lines that cannot be done, and words of the line that says why and what to do. They run in a
// directory with: text.txt, which is a line of text; object.json, which is {}; adir, which is a directory; huge, which is too large for a file; and cluster, that of a
// cluster of four that hosts echo, which nobody runs. Others, which spoil makes, are such directories with something wrong.
var badInput = []struct{ args, words string }{
	{"bftnode upp", `has no command "upp", did you mean "up"?`},
	{"bftnode help nosuch", `there is no command "nosuch"`},
	{"bftnode kv nosuch", `bftnode kv has no command "nosuch"`},
	{"bftnode kv", "needs one of the commands put, get"},
	{"bftnode up --nodes 3", "at least 4 replicas are needed"},
	{"bftnode up --nodes 100", "at most 64"},
	{"bftnode up --app nosuch", "choose from calc,counter,"},
	{"bftnode up --app kv,kv", "--app kv,kv names a service twice"},
	{"bftnode up --app=", "--app is empty: choose from"},
	{"bftnode up --name A", "lower-case letters"},
	{"bftnode up --timeout -1s", "--timeout is -1s: it must be positive"},
	{"bftnode up --dir text.txt", "text.txt cannot be: a part of it is a file and not a directory: name another directory with --dir"},
	{"bftnode up --dir text.txt --detach", "name another directory with --dir"},
	{"bftnode up --ephemeral --detach", "leave --detach out"},
	{"bftnode up --dir cluster --nodes 7", "has 4 replicas, not 7: leave --nodes out"},
	{"bftnode up --dir cluster --app kv", "hosts echo, not kv: leave --app out"},
	{"bftnode up --dir /proc/nosuch", "/proc/nosuch cannot be made: the system allows none there: name another directory with --dir"},
	{"bftnode up --dir others", "others has text.txt but no manifest.yaml: name another directory with --dir"},
	{"bftnode up --dir junk", "reading junk/r1/key: not a key file: put it back from a copy; no other key can take its place"},
	{"bftnode up --dir typo", `typo/r1/config.yaml: line 2: unknown key "nosuch"`},
	{"bftnode up --dir comments", "comments/manifest.yaml: the file has nothing but comments; correct it, or put it back as it was made or sent"},
	{"bftnode run --home junk/r1", "reading junk/r1/key: not a key file: put it back from a copy"},
	{"bftnode run --home foreign", "lists it for no replica: one of the two is wrong"},
	{"bftnode init --home foreign --manifest manifest.yaml", "lists it for no replica: one of the two is wrong"},
	{"bftnode init --home junk/r1 --manifest manifest.yaml", "reading junk/r1/key: not a key file: put it back from a copy"},
	{"bftnode down --dir comments", "the file has nothing but comments"},
	{"bftnode down --dir nosuch", "there is no cluster in nosuch: start one with up"},
	{"bftnode down --timeout 0s", "--timeout is 0s: it must be positive"},
	{"bftnode logs 9", "there is no replica \"9\" in cluster: ids are 0 to 3"},
	{"bftnode logs --dir nosuch", "there is no cluster in nosuch"},
	{"bftnode status --dir nosuch", "there is no cluster in nosuch"},
	{"bftnode status --dir adir", "there is no cluster in adir"},
	{"bftnode status --timeout 0s", "it must be positive"},
	{"bftnode run", "run needs --home DIR"},
	{"bftnode run --home nosuch", "there is no nosuch: make the home of a replica with keys new --home and init --home"},
	{"bftnode run --home text.txt", "text.txt is not a directory: make the home"},
	{"bftnode run --home adir", "there is no adir/manifest.yaml: make the home"},
	{"bftnode init --home adir", "init --home needs --manifest FILE"},
	{"bftnode init --home adir --manifest nosuch", "there is no nosuch: name the manifest of a cluster"},
	{"bftnode init --home adir --manifest cluster/manifest.yaml", "there is no key adir/key: make one with keys new --home adir"},
	{"bftnode init --dir adir --manifest text.txt", "text.txt: line 1:"},
	{"bftnode init --dir text.txt --manifest cluster/manifest.yaml", "name another directory with --dir"},
	{"bftnode init --http 127.0.0.1:1", "--http is for a replica: give --home too"},
	{"bftnode init --dir adir", "there is no cluster in adir"},
	{"bftnode init --dir cluster", "cluster/client.key is there already: see it with keys show"},
	{"bftnode keys", "needs one of the commands new, show"},
	{"bftnode keys new", "keys new needs either --home DIR or --out FILE"},
	{"bftnode keys new --out nosuch/key", "there is no nosuch: make that directory, or "},
	{"bftnode keys new --out text.txt", "text.txt is there already: a key file is never overwritten, name another one"},
	{"bftnode keys new --out /proc/x", "/proc/x cannot be made: the system allows none there: name another one"},
	{"bftnode keys show --file junk/client.key", "reading junk/client.key: not a key file: name a key with"},
	{"bftnode keys new --home text.txt", "name another directory with --home"},
	{"bftnode keys new --out new.key --encrypt", "without a terminal: give --passphrase-file"},
	{"bftnode keys new --out new.key --passphrase-file nosuch", "there is no nosuch: name a file with the passphrase"},
	{"bftnode keys show --file nosuch", "there is no nosuch: name a key with"},
	{"bftnode keys show --file text.txt", "chmod 600 text.txt"},
	{"bftnode keys show --home nosuch", "there is no nosuch/key: name a key with"},
	{"bftnode keys show --home a --file b", "not both"},
	{"bftnode manifest create --name a", "members: 0, but 4 to 64"},
	{"bftnode manifest create --name a --member a", "is not of the form NAME=KEY@HOST:PORT"},
	{"bftnode manifest create --name a --member a=00@h:1", "--member a: public key has 2 characters, want 64 hex digits; give what keys show prints"},
	{"bftnode manifest create --name a --client 00", "--client 00: public key has 2 characters, want 64 hex digits; give"},
	{"bftnode manifest id nosuch", "there is no nosuch: name the manifest"},
	{"bftnode manifest id adir", "adir is a directory: name the manifest"},
	{"bftnode manifest show text.txt", "text.txt: line 1:"},
	{"bftnode gateway --config nosuch", "there is no nosuch: name the configuration of a gateway with --config"},
	{"bftnode gateway --config text.txt", "text.txt: line 1:"},
	{"bftnode gateway --listen 0.0.0.0:1", "could call the cluster, and values would travel in clear: list users and set tls"},
	{"bftnode gateway --dir junk", "reading junk/client.key: not a key file: put it back from a copy, or move it away and make another with init --dir junk"},
	{"bftnode gateway --listen nowhere", `"nowhere" is not host:port`},
	{"bftnode gateway --dir nosuch", "there is no cluster in nosuch"},
	{"bftnode gateway token", "wrong number of arguments (0)"},
	{"bftnode gateway token A", "the name of a user is"},
	{"bftnode receipt check", "the usage is: bftnode receipt check FILE"},
	{"bftnode receipt check nosuch", "there is no nosuch: name the file of a receipt"},
	{"bftnode receipt check adir", "adir is a directory: name the file of a receipt"},
	{"bftnode receipt check text.txt", "text.txt is no receipt: it is not JSON; give one, or the answer of a gateway"},
	{"bftnode receipt check object.json", "object.json is no receipt: it names neither"},
	{"bftnode receipt check --manifest nosuch object.json", "there is no nosuch: name the manifest"},
	{"bftnode receipt check --dir nosuch object.json", "there is no cluster in nosuch"},
	{"bftnode receipt", "bftnode receipt needs the command check; see bftnode receipt --help"},
	{"bftnode recover", "the usage is: bftnode recover JOURNAL"},
	{"bftnode recover nosuch", "there is no nosuch: name the journal"},
	{"bftnode recover text.txt", "the journal text.txt: it is of another cluster, or no journal"},
	{"bftnode recover --dir nosuch text.txt", "there is no cluster in nosuch"},
	{"bftnode discover --wait -1s", "--wait is -1s: it must be positive"},
	{"bftnode selftest --timeout 0s", "--timeout is 0s: it must be positive"},
	{"bftnode selftest --nodes 3", "unknown flag: --nodes"},
	{"bftnode status --dir junk", "reading junk/client.key: not a key file: put it back from a copy, or move it away"},
	{"bftnode status --dir open", "its mode is 0644: chmod 600 open/client.key"},
	{"bftnode status --dir broken", "broken/manifest.yaml: line 2: this is not YAML; correct it, or put it back"},
	{"bftnode status --dir noise", "noise/manifest.yaml: this is not YAML, or not text; correct it, or put it back"},
	{"bftnode shell --dir nosuch", "there is no cluster in nosuch"},
	{"bftnode version now", `takes no arguments, but got "now"`},
	{"bftnode invoke echo", "the usage is: bftnode invoke SERVICE OPERATION"},
	{"bftnode invoke nosuch x", "hosts no nosuch, only echo: name one of these"},
	{"bftnode invoke --hex echo zz", "the operation is not hexadecimal: write two digits"},
	{"bftnode invoke --semantics x echo x", "is not one of exactly-once, at-most-once"},
	{"bftnode invoke --grace 1s echo x", "--grace needs --instance"},
	{"bftnode invoke --instance A echo x", "choose 1 to 64 of a-z"},
	{"bftnode invoke --expire -1s echo x", "--expire is -1s: it must be positive"},
	{"bftnode invoke --instance a --grace 1000h echo x", "--grace 1000h0m0s: it must be at most 24h0m0s, the session_ahead of the manifest"},
	{"bftnode invoke --journal nosuch/j echo x", "there is no nosuch: make that directory, or "},
	{"bftnode invoke --journal text.txt echo x", "the journal text.txt: it is of another cluster, or no journal"},
	{"bftnode invoke --trace=x echo x", `--trace "x" cannot be: it is table or json`},
	{"bftnode invoke --discover A echo x", "--discover \"A\": a name is made of"},
	{"bftnode invoke --fingerprint x echo x", "--fingerprint is for --discover NAME"},
	{"bftnode invoke --discover a --fingerprint x echo x", `--fingerprint "x" is not a cluster id of 64 hex digits, as manifest id prints it`},
	{"bftnode invoke --discover unused --fingerprint 0000000000000000000000000000000000000000000000000000000000000000 echo x", "is not a cluster id"},
	{"bftnode invoke --discover unused --fingerprint 1111111111111111111111111111111111111111111111111111111111111111 echo x", "is the manifest of cluster"},
	{"bftnode invoke --instance= echo x", "--instance is empty: leave it out, or give a value"},
	{"bftnode echo history --discover=", "--discover is empty: leave it out, or give a value"},
	{"bftnode invoke --dir nosuch echo x", "there is no cluster in nosuch"},
	{"bftnode query kv x", "hosts no kv, only echo: its services were chosen when it was made; up --dir ANOTHER --app kv makes one"},
	{"bftnode query echo x --ordered --stale", "exclude each other"},
	{"bftnode counter-passive get", "the cluster in cluster hosts no counter-passive, only echo"},
	{"bftnode counter-passive add -5", "up --dir ANOTHER --app counter-passive makes one that hosts it"},
	{"bftnode counter add", "the usage is: bftnode counter add NUMBER"},
	{"bftnode counter add x", `"x" is not a whole number from -9223372036854775808`},
	{"bftnode counter add -x", "unknown flag: -x; put -- before an argument that begins with a minus, as in: -- -x"},
	{"bftnode counter add -9223372036854775809", "is not a whole number from"},
	{"bftnode counter mul 1.5", `"1.5" is not a whole number from`},
	{"bftnode counter-passive mul -1", "hosts no counter-passive"},
	{"bftnode counter get 1", `takes no arguments, but got "1"`},
	{"bftnode calc", "the usage is: bftnode calc EXPRESSION"},
	{"bftnode calc --places 2000 1", "--places is 2000: it must be from 0 to 1000"},
	{"bftnode calc EMPTY", "the expression is empty: give one such as 3+5"},
	{"bftnode calc -3+5", "hosts no calc, only echo"},
	{"bftnode echo send", "the usage is: bftnode echo send TEXT"},
	{"bftnode echo send LONG", "more than 1024 bytes: send it in parts"},
	{"bftnode echo send --dir nosuch x", "there is no cluster in nosuch"},
	{"bftnode echo history --limit -1", "--limit is -1: it must be positive, or 0 for all"},
	{"bftnode files get x", "the usage is: bftnode files get NAME LOCAL"},
	{"bftnode files get x nosuch/x", "there is no nosuch: make that directory, or name a file in another one"},
	{"bftnode files get x adir", "adir is a directory: name a file in it"},
	{"bftnode files get x text.txt", "text.txt is there already: give --force"},
	{"bftnode files put nosuch x", "there is no nosuch: name a local file that can be read"},
	{"bftnode files put adir x", "adir is not a regular file: name one"},
	{"bftnode files put huge x", "huge has 300000000 bytes, and a file at most 268435456 (256 MiB): store it in parts"},
	{"bftnode files put text.txt ../x", `the name "../x" has the part ".."`},
	{"bftnode files update nosuch x", "there is no nosuch: name a local file that can be read"},
	{"bftnode files delete ../x", `has the part ".."`},
	{"bftnode files list --limit -1", "--limit is -1: it must be positive"},
	{"bftnode files history --limit -1", "--limit is -1: it must be positive"},
	{"bftnode files usage", "hosts no files, only echo"},
	{"bftnode files menu", "hosts no files, only echo"},
	{"bftnode kv put a", "the usage is: bftnode kv put KEY VALUE"},
	{"bftnode kv put LONG 1", "the key has 1100 bytes: at most 1024 are possible"},
	{"bftnode kv put a 1 --ttl 1ms", "the time to live is 1ms: it must be from 100ms"},
	{"bftnode kv put a 1 --ttl 1m --lease 3", "exclude each other"},
	{"bftnode kv get a --raw --json", "exclude each other"},
	{"bftnode kv get -5", "put -- before an argument that begins with a minus, as in: -- -5"},
	{"bftnode kv get a --dir junk", "reading junk/client.key: not a key file"},
	{"bftnode kv get a", "hosts no kv, only echo"},
	{"bftnode kv get a --timeout 0s", "it must be positive"},
	{"bftnode kv del", "the usage is: bftnode kv del KEY"},
	{"bftnode kv cas a b", "kv cas takes KEY EXPECTED VALUE, or --absent KEY VALUE"},
	{"bftnode kv scan --limit -1", "--limit is -1: it must be positive"},
	{"bftnode kv txn foo", `argument 1, "foo": a statement begins with if, then or else`},
	{"bftnode kv txn", "the usage is: bftnode kv txn STATEMENT..."},
	{"bftnode kv watch --limit -1", "--limit is -1: it must be positive"},
	{"bftnode kv watch", "hosts no kv, only echo"},
	{"bftnode kv lease", "needs one of the commands grant, keep-alive, revoke, list"},
	{"bftnode kv lease grant x", `"x" is no time to live, which is written as 30s or 10m`},
	{"bftnode kv lease grant 1ms", "it must be from 100ms to 24h"},
	{"bftnode kv lease keep-alive x", `"x" is no number of a lease`},
	{"bftnode kv lease revoke 0", `"0" is no number of a lease`},
	{"bftnode kv lease list now", "takes no arguments"},
	{"bftnode kv lock a", "kv lock takes a name and a command"},
	{"bftnode kv lock a -- nosuch", "there is no program nosuch: name a program to run under the lock"},
	{"bftnode kv lock a -- ./nosuch", "there is no ./nosuch: name a program"},
	{"bftnode kv lock a -- ./text.txt", "./text.txt may not be used: the system denies it: name a program"},
	{"bftnode kv lock --ttl 1ms a -- true", "it must be from 100ms"},
	{"bftnode kv lock --wait -1s a -- true", "--wait is -1s: it must be positive"},
	{"bftnode kv lock a -- true", "hosts no kv, only echo"},

	{"bftsim nosuch", `bftsim has no command "nosuch"`},
	{"bftsim help nosuch", `there is no command "nosuch"`},
	{"bftsim list now", "takes no arguments"},
	{"bftsim run", "give --seed N, the name of a scenario (bftsim list) or the file of a script"},
	{"bftsim run nosuch", `"nosuch" is no scenario: there is no nosuch: name a script, or a scenario that bftsim list has`},
	{"bftsim run adir", "adir is a directory: name a script"},
	{"bftsim run text.txt", `text.txt: line 1: "hello" is nothing that a script has`},
	{"bftsim run a b", "wrong number of arguments (2), the usage is: bftsim run NAME"},
	{"bftsim run --seed x", `--seed "x" is not a whole number from 0 on; see bftsim run --help`},
	{"bftsim run --seed 1 text.txt", "give either --seed or a file, not both"},
	{"bftsim run --seed 1 --replicas 3", "--replicas 3: give a number from 4 to"},
	{"bftsim run --seed 1 --behaviour nosuch", `there is no behaviour "nosuch"; bftsim behaviours --list`},
	{"bftsim run --seed 1 --signatures rsa", "neither fast nor ed25519"},
	{"bftsim run --seed 1 --mutant nosuch", `there is no mutant "nosuch"; bftsim mutants --list names them`},
	{"bftsim fuzz", "fuzz needs --seeds A..B"},
	{"bftsim fuzz --seeds x", "give the first and the last seed, as in 1..1000"},
	{"bftsim fuzz --seeds 1..2 --replicas 3", "--replicas 3: give a number from 4 to"},
	{"bftsim fuzz --seeds 1..2 --jobs 0", "at least 1 is needed"},
	{"bftsim fuzz --seeds 1..2 --time -1s", "give how long, such as 10m"},
	{"bftsim matrix --seeds x", "as in 1..1000"},
	{"bftsim behaviours --only nosuch", `there is no behaviour "nosuch"; bftsim behaviours --list names them`},
	{"bftsim twins now", "takes no arguments"},
	{"bftsim accountability --seeds 5..1", "as in 1..1000"},
	{"bftsim dependability --hours 0", "hours: 0 is not within 1 to 10000"},
	{"bftsim dependability --classes x", `class "x" is none of crash, `},
	{"bftsim coverage --seeds x", "as in 1..1000"},
	{"bftsim shrink --seed 1 --replicas 3", "--replicas 3: give a number from 4 to"},
	{"bftsim shrink --seed 1 --oracle X", "there is no such oracle; give one of"},
	{"bftsim shrink nosuch", "name a script"},
	{"bftsim draw nosuch", "name a script"},
	{"bftsim draw --seed 1 --replicas 3", "--replicas 3: give a number from 4 to"},
	{"bftsim draw --seed 1 --from 5s --until 1s", "give a stretch that ends after it begins"},
	{"bftsim mutants --only nosuch", `there is no mutant "nosuch"; bftsim mutants --list names them`},

	{"bftbench nosuch", `bftbench has no command "nosuch"`},
	{"bftbench help nosuch", `there is no command "nosuch"`},
	{"bftbench run now", "takes no arguments"},
	{"bftbench run --clients 0", "0 clients: choose 1 to"},
	{"bftbench run --service nosuch", `service "nosuch": choose counter or kv`},
	{"bftbench run --dir nosuch", "there is no cluster in nosuch: start one with bftnode up --dir nosuch"},
	{"bftbench run --bftnode nosuch", "no program nosuch: name that of bftnode"},
	{"bftbench run --csv nosuch/x", "there is no nosuch: make that directory, or name another file to be written"},
	{"bftbench run --csv adir", "adir is not a file: name one to be written"},
	{"bftbench ycsb --mix X", "choose one of A, B, C"},
	{"bftbench sweep", "say what to vary: --over NAME=VALUE"},
	{"bftbench sweep --over clients=x", `"x" is not a number`},
	{"bftbench faults nosuch", `there is no fault "nosuch": see those that there are with --list`},
	{"bftbench faults --nodes 3 kill-primary", "3 nodes: choose 4 to 64"},
	{"bftbench faults --bftnode nosuch kill-primary", "no program nosuch: name that of bftnode"},
	{"bftbench dependability --classes earthquake", `there is no class of faults "earthquake": choose some of`},
	{"bftbench dependability --time 0s", "a time of 0s: choose 1s to 24h0m0s"},
	{"bftbench dependability --bftnode nosuch", "no program nosuch: name that of bftnode"},
	{"bftbench compare text.txt", "compare takes two files"},
	{"bftbench compare nosuch nosuch", "there is no nosuch: name a file of results"},
	{"bftbench compare text.txt text.txt", "text.txt: these are no results of bftbench run --json or sweep --json: it is not JSON"},
	{"bftbench plot", "plot takes files of results"},
	{"bftbench plot nosuch -o x.svg", "there is no nosuch: name a file of results"},
	{"bftbench plot text.txt -o x.svg", "it is not JSON"},
	{"bftbench plot text.txt -o x.jpg", "let the name end in .svg or .png"},
	{"bftbench replica", "takes the home directory of one replica"},
	{"bftbench replica nosuch", "there is no nosuch: make the home of a replica"},
	{"bftbench server", "name the directory of the server with --dir"},
	{"bftbench server --dir s --like nosuch", "there is no nosuch: name the manifest of a cluster with --like"},
	{"bftbench server --dir s --listen x", "is not of the form host:port"},
	{"bftbench server --dir text.txt", "name another directory with --dir"},
}

// forProgrammers is what Go's libraries say, which tells those who type commands nothing.
var forProgrammers = regexp.MustCompile(`strconv\.|invalid character|no such file|file exists|is a directory$|(^|[: ])(open|stat|lstat|mkdir|read|exec|time|hex|json|yaml|encoding/hex|crypto|client|sim)(: | [^ ]+: )|unmarshal|\bEOF\b|goroutine|panic|%!|arg\(s\)`)

// bench of programs that are run with bad input.
type misuse struct {
	t    *testing.T
	bin  string
	dir  string
	seen map[string]bool // commands that a row was of
}

// run runs a command line, which must end with wrongCode and one line.
func (m *misuse) run(words []string, want string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, words[0]), words[1:]...)
	cmd.Dir, cmd.Env = m.dir, append(os.Environ(), "BFTNODE_DIR=cluster", "PATH="+m.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	line := fmt.Sprintf("%.200s", strings.Join(words, " "))
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("%s: %v", line, err)
	}
	said := stderr.String()
	if code := cmd.ProcessState.ExitCode(); code != wrongCode || stdout.Len() > 0 {
		m.t.Errorf("%s: exit status %d, %q, %q, want %d and nothing printed", line, code, stdout.String(), said, wrongCode)
		return
	}
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, words[0]+": ") || !strings.Contains(said, want) {
		m.t.Errorf("%s: %q, want one line with %q", line, said, want)
	}
	if found := forProgrammers.FindString(said); found != "" {
		m.t.Errorf("%s: %q is for programmers (%q)", line, said, found)
	}
}

// tree visits every command by what --help says, and tries every flag with a value that it cannot have.
func (m *misuse) tree(path []string) {
	out, err := exec.Command(filepath.Join(m.bin, path[0]), append(slices.Clone(path[1:]), "--help")...).Output()
	if err != nil {
		m.t.Fatalf("%v --help: %v", path, err)
	}
	help := string(out)
	m.run(append(slices.Clone(path), "--no-such-flag"), "unknown flag: --no-such-flag; see "+strings.Join(path, " ")+" --help")
	for _, f := range regexp.MustCompile(`(?m)^  (?:-\w,|   ) --(\S+) (u?int|float|duration) `).FindAllStringSubmatch(help, -1) {
		want := map[string]string{"int": "is not a whole number", "uint": "is not a whole number from 0 on", "float": "is not a number", "duration": "is not a time such as"}[f[2]]
		m.run(append(slices.Clone(path), "--"+f[1], "x"), fmt.Sprintf("--%s %q %s", f[1], "x", want))
		m.run(append(slices.Clone(path), "--"+f[1]), fmt.Sprintf("--%s needs a value", f[1]))
	}
	_, commands, has := strings.Cut(help, "Available Commands:\n")
	if !has || path[len(path)-1] == "gateway" {
		if name := strings.Join(path, " "); !m.seen[name] && path[1] != "help" {
			m.t.Errorf("no row of bad input is of %s: add one", name)
		}
	}
	for line := range strings.Lines(commands) {
		name, _, isCommand := strings.Cut(strings.TrimPrefix(line, "  "), " ")
		if !strings.HasPrefix(line, "  ") || !isCommand {
			break
		}
		m.tree(append(slices.Clone(path), name))
	}
}

// TestBadInput: whatever cannot be done because of what was typed ends with exit status 2 and one line that says what
// to do, in every command of every program.
func TestBadInput(t *testing.T) {
	m := &misuse{t, programDir(t), t.TempDir(), map[string]bool{}}
	m.prepare()
	long := strings.Repeat("k", 1100)
	for _, row := range badInput {
		words := strings.Fields(row.args)
		for i := 1; i <= min(4, len(words)); i++ {
			m.seen[strings.Join(words[:i], " ")] = true
		}
		for i := range words {
			words[i] = strings.ReplaceAll(strings.ReplaceAll(words[i], "LONG", long), "EMPTY", "")
		}
		m.run(words, row.words)
	}
	for _, program := range []string{"bftnode", "bftsim", "bftbench"} {
		m.tree([]string{program})
	}
}

// prepare makes what the rows name.
func (m *misuse) prepare() {
	m.t.Helper()
	for name, text := range map[string]string{"text.txt": "hello\n", "object.json": "{}\n"} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(m.dir, "adir"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	node := func(args ...string) string {
		cmd := exec.Command(filepath.Join(m.bin, "bftnode"), args...)
		cmd.Dir = m.dir
		out, err := cmd.Output()
		if err != nil {
			m.t.Fatalf("bftnode %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	create := []string{"manifest", "create", "--name", "unused", "--app", "echo", "--out", "manifest.yaml"}
	for i := range 4 {
		key := node("keys", "new", "--out", fmt.Sprintf("r%d.key", i))
		create = append(create, "--member", fmt.Sprintf("r%d=%s@127.0.0.1:%d", i, key, 1+i))
	}
	node(create...)
	node("init", "--dir", "cluster", "--manifest", "manifest.yaml")
	node("keys", "new", "--home", "foreign")
	m.spoil()
}

// spoil makes directories of clusters with something wrong in each.
func (m *misuse) spoil() {
	m.t.Helper()
	must := func(err error) {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		must(err)
		return string(text)
	}
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(m.dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte(text), mode))
	}
	manifest, key := read("manifest.yaml"), read("cluster/client.key")
	for _, dir := range []string{"junk", "typo", "open", "broken", "noise", "comments"} {
		write(dir+"/manifest.yaml", manifest, 0o644)
		write(dir+"/client.key", key, 0o600)
		for i := range 4 {
			home := fmt.Sprintf("%s/r%d/", dir, i)
			write(home+"manifest.yaml", manifest, 0o644)
			write(home+"config.yaml", "format: 1\nhttp: off\n", 0o644)
			write(home+"key", read(fmt.Sprintf("r%d.key", i)), 0o600)
		}
	}
	write("junk/client.key", "junk\n", 0o600)
	write("junk/r1/key", "junk\n", 0o600)
	write("typo/r1/config.yaml", "format: 1\nnosuch: 2\n", 0o644)
	must(os.Chmod(filepath.Join(m.dir, "open", "client.key"), 0o644))
	write("broken/manifest.yaml", "a: b\n  c: [\n", 0o644)
	write("noise/manifest.yaml", "\x00\x01\x02", 0o644)
	write("comments/manifest.yaml", "# The manifest of a cluster\n# Cluster id\n", 0o644)
	write("others/text.txt", "hello\n", 0o644)
	write("foreign/manifest.yaml", manifest, 0o644)
	write("huge", "", 0o644)
	must(os.Truncate(filepath.Join(m.dir, "huge"), 300_000_000))
}
