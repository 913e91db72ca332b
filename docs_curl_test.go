package baluarte_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// standInCurl does what curl does with the options that the documents use, for machines that have none. It returns the
// exit code.
func standInCurl(args []string, stdout, stderr io.Writer) int {
	fail := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "curl: (%d) %s\n", code, fmt.Sprintf(format, a...))
		return code
	}
	method, url, output, write := "", "", "", ""
	var body []byte
	include, failing, patience := false, false, 30*time.Second
	header := http.Header{"User-Agent": {"curl"}, "Accept": {"*/*"}}
	for len(args) > 0 {
		option := args[0]
		args = args[1:]
		value := ""
		if slices.Contains([]string{"-X", "-H", "-d", "--data-binary", "-T", "-o", "-w", "--max-time"}, option) {
			if len(args) == 0 {
				return fail(2, "option %s: requires parameter", option)
			}
			value, args = args[0], args[1:]
		}
		var err error
		switch option {
		case "-s", "-S", "-sS", "-sN":
		case "--max-time":
			patience, err = time.ParseDuration(value + "s")
		case "-i":
			include = true
		case "-f", "-fsS":
			failing = true
		case "-X":
			method = value
		case "-o":
			output = value
		case "-w":
			write = strings.NewReplacer(`\n`, "\n").Replace(value)
		case "-H":
			name, content, _ := strings.Cut(value, ":")
			header.Set(name, strings.TrimSpace(content))
		case "-T":
			body, err = os.ReadFile(value)
			method = orElse(method, "PUT")
		case "-d", "--data-binary":
			body = []byte(value)
			if file, ok := strings.CutPrefix(value, "@"); ok {
				body, err = os.ReadFile(file)
			}
			method = orElse(method, "POST")
			if header.Get("Content-Type") == "" {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		default:
			if strings.HasPrefix(option, "-") || url != "" {
				return fail(2, "the stand-in for curl does not know %s", option)
			}
			url = option
		}
		if err != nil {
			return fail(26, "%v", err)
		}
	}
	req, err := http.NewRequest(orElse(method, "GET"), url, bytes.NewReader(body))
	if err != nil {
		return fail(3, "%v", err)
	}
	req.Header = header
	resp, err := (&http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return fail(7, "%v", err)
	}
	defer resp.Body.Close()
	if failing && resp.StatusCode >= 400 {
		return fail(22, "The requested URL returned error: %d", resp.StatusCode)
	}
	if include {
		fmt.Fprintf(stdout, "%s %s\r\n", resp.Proto, resp.Status)
		_ = resp.Header.Write(stdout)
		fmt.Fprint(stdout, "\r\n")
	}
	out := stdout
	if output != "" {
		f, err := os.Create(output)
		if err != nil {
			return fail(23, "%v", err)
		}
		defer f.Close()
		out = f
	}
	if _, err := io.Copy(out, resp.Body); os.IsTimeout(err) {
		return fail(28, "%v", err)
	} else if err != nil {
		return fail(18, "%v", err)
	}
	fmt.Fprint(stdout, strings.ReplaceAll(write, "%{http_code}", fmt.Sprint(resp.StatusCode)))
	return 0
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// TestStandInCurl: what the documents do with curl comes out the same without it: as is written here, and as curl has it
// where there is one.
func TestStandInCurl(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Date", "now")
		if r.URL.Path == "/404" {
			w.WriteHeader(404)
		}
		fmt.Fprintf(w, "%s %s %q %q\n", r.Method, r.URL, r.Header.Get("Content-Type"), body)
		if r.URL.Path == "/endless" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("a\nb"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		args string
		code int
		want string
	}{
		{"-s URL/x", 0, "GET /x \"\" \"\"\n"},
		{"-sS URL/x?a=b -H Content-Type:application/json -d {}", 0, "POST /x?a=b \"application/json\" \"{}\"\n"},
		{"-sS -X PUT URL/x --data-binary @FILE", 0, "PUT /x \"application/x-www-form-urlencoded\" \"a\\nb\"\n"},
		{"-sS -T FILE URL/x", 0, "PUT /x \"\" \"a\\nb\"\n"},
		{"-sS -X POST -T FILE URL/x", 0, "POST /x \"\" \"a\\nb\"\n"},
		{"-sS -o FILE.out -w %{http_code}\\n URL/404", 0, "404\n"},
		{"-fsS URL/404", 22, ""},
		{"-i -s URL/404", 0, "HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\nContent-Type: text/plain; charset=utf-8\r\nDate: now\r\n\r\nGET /404 \"\" \"\"\n"},
		{"-sN --max-time 1 URL/endless", 28, "GET /endless \"\" \"\"\n"},
		{"-sS URL:1/x", 7, ""},
		{"-sS -T FILE.none URL/x", 26, ""},
	} {
		url := server.URL
		if v.code == 7 {
			url = "http://127.0.0.1"
		}
		args := strings.Fields(strings.NewReplacer("URL", url, "FILE", file).Replace(v.args))
		var out bytes.Buffer
		if code := standInCurl(args, &out, io.Discard); code != v.code || out.String() != v.want {
			t.Errorf("%s: %d %q, want %d %q", v.args, code, out.String(), v.code, v.want)
		}
		if path, err := exec.LookPath("curl"); err == nil {
			got, _ := exec.Command(path, args...).Output() // its exit code is looked at below
			code := 0
			if cmd := exec.Command(path, args...); cmd.Run() != nil {
				code = cmd.ProcessState.ExitCode()
			}
			if code != v.code || len(v.args) > 2 && !strings.HasPrefix(v.args, "-i") && string(got) != v.want {
				t.Errorf("curl %s: %d %q, want %d %q", v.args, code, got, v.code, v.want)
			}
		}
	}
}
