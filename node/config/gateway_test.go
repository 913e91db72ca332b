package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readGateway(t *testing.T, text string) (*Gateway, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadGateway(path)
}

func TestGateway(t *testing.T) {
	digest := DigestToken("secret").String()
	g, err := readGateway(t, "format: 1\nlisten: :8443\ntls: {certificate: a.pem, key: b.pem}\nusers:\n  - {name: ana, token_sha256: "+digest+", key: ana.key, rate: 5, operator: true}\nlimits: {body: 1MiB, call_time: 3s}\n")
	if err != nil {
		t.Fatal(err)
	}
	if g.Loopback() || g.Anonymous() || g.Users[0].Token != DigestToken("secret") || !g.Users[0].Operator || g.Limits.Body != 1<<20 || g.Limits.Requests != DefaultGateway().Limits.Requests {
		t.Errorf("%+v", g)
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:80", "[::1]:8470"} {
		if g, err = readGateway(t, "format: 1\nlisten: '"+listen+"'\n"); err != nil || !g.Loopback() || !g.Anonymous() {
			t.Errorf("%s: %+v, %v", listen, g, err)
		}
	}
}

func TestGatewayRefused(t *testing.T) {
	digest := DigestToken("secret").String()
	user := func(members string) string {
		return "format: 1\nusers:\n  - {name: ana, token_sha256: " + digest + members + "}\n"
	}
	for text, want := range map[string]string{
		"":                                       "the file is empty",
		"listen: 127.0.0.1:1\n":                  "format: 0",
		"format: 1\nlistem: x\n":                 `unknown key "listem"`,
		"format: 1\nlisten: x\n":                 `listen: "x" is not host:port`,
		"format: 1\nlisten: '127.0.0.1:70000'\n": "the port is not within",
		"format: 1\nlisten: '0.0.0.0:80'\nallow_plain_http: true\n":             "list users, or set allow_anonymous",
		"format: 1\nlisten: ':80'\nallow_anonymous: true\n":                     "without TLS",
		"format: 1\ntls: {key: k}\n":                                            "go together",
		"format: 1\nusers: [{name: Ana, token_sha256: " + digest + "}]\n":       `users[0].name: "Ana"`,
		"format: 1\nusers: [{name: anonymous, token_sha256: " + digest + "}]\n": "anonymous are those without a token",
		"format: 1\nlimits: {watches: 0}\n":                                     "limits.watches: 0 is not within 1",
		"format: 1\nusers: [{name: ana}]\n":                                     "the digest of a token is needed",
		"format: 1\nusers: [{name: ana, token_sha256: secret}]\n":               "the digest of a token is 64 hex digits",
		user(", rate: -1"):           "users[0].rate",
		user(", passphrase_file: p"): "there is no key that it is for",
		user("") + "  - {name: bia, token_sha256: " + digest + "}\n":                        "the same token",
		user("") + "  - {name: ana, token_sha256: " + DigestToken("other").String() + "}\n": "stands twice",
		"format: 1\nlog: {level: loud}\n":                                                   "log.level",
		"format: 1\nlimits: {requests: 0}\n":                                                "limits.requests: 0 is not within 1",
		"format: 1\nlimits: {memory: 1MiB}\n":                                               "limits.memory: 1MiB is not within 16MiB",
		"format: 1\nlimits: {idle_time: 0s}\n":                                              "limits.idle_time",
		"format: 1\nlimits: {call_time: 2m}\n":                                              "limits.call_time: 2m is more than max_call_time, 1m",
	} {
		if _, err := readGateway(t, text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
