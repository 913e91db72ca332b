package baluarte_test

import (
	"bytes"
	"errors"
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

// curlCall is what the options of one call of curl say.
type curlCall struct {
	method, url, output, write string
	body                       []byte
	include, failing           bool
	patience                   time.Duration
	header                     http.Header
}

// curlError is what ends curl, with its exit code.
type curlError struct {
	code int
	text string
}

func (e *curlError) Error() string { return fmt.Sprintf("curl: (%d) %s", e.code, e.text) }

func curlFails(code int, format string, a ...any) error {
	return &curlError{code, fmt.Sprintf(format, a...)}
}

// standInCurl does what curl does with the options that the documents use, for machines that have none. It returns the
// exit code.
func standInCurl(args []string, stdout, stderr io.Writer) int {
	call := &curlCall{patience: 30 * time.Second, header: http.Header{"User-Agent": {"curl"}, "Accept": {"*/*"}}}
	err := call.parse(args)
	if err == nil {
		err = call.do(stdout)
	}
	var e *curlError
	if errors.As(err, &e) {
		fmt.Fprintln(stderr, e)
		return e.code
	}
	return 0
}

func (c *curlCall) parse(args []string) error {
	for len(args) > 0 {
		option, value := args[0], ""
		args = args[1:]
		if slices.Contains([]string{"-X", "-H", "-d", "--data-binary", "-T", "-o", "-w", "--max-time"}, option) {
			if len(args) == 0 {
				return curlFails(2, "option %s: requires parameter", option)
			}
			value, args = args[0], args[1:]
		}
		var err error
		switch option {
		case "-s", "-S", "-sS", "-sN":
		case "--max-time":
			c.patience, err = time.ParseDuration(value + "s")
		case "-i":
			c.include = true
		case "-f", "-fsS":
			c.failing = true
		case "-X":
			c.method = value
		case "-o":
			c.output = value
		case "-w":
			c.write = strings.NewReplacer(`\n`, "\n").Replace(value)
		case "-H":
			name, content, _ := strings.Cut(value, ":")
			c.header.Set(name, strings.TrimSpace(content))
		case "-T":
			c.body, err = os.ReadFile(value)
			c.method = orElse(c.method, "PUT")
		case "-d", "--data-binary":
			err = c.data(value)
		default:
			if strings.HasPrefix(option, "-") || c.url != "" {
				return curlFails(2, "the stand-in for curl does not know %s", option)
			}
			c.url = option
		}
		if err != nil {
			return curlFails(26, "%v", err)
		}
	}
	return nil
}

// data is the body of a post, or @ and the file that has it.
func (c *curlCall) data(value string) (err error) {
	c.body = []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok {
		c.body, err = os.ReadFile(file)
	}
	c.method = orElse(c.method, "POST")
	if c.header.Get("Content-Type") == "" {
		c.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return err
}

func (c *curlCall) do(stdout io.Writer) error {
	req, err := http.NewRequest(orElse(c.method, "GET"), c.url, bytes.NewReader(c.body))
	if err != nil {
		return curlFails(3, "%v", err)
	}
	req.Header = c.header
	resp, err := (&http.Client{Timeout: c.patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return curlFails(7, "%v", err)
	}
	defer resp.Body.Close()
	if c.failing && resp.StatusCode >= 400 {
		return curlFails(22, "The requested URL returned error: %d", resp.StatusCode)
	}
	if c.include {
		fmt.Fprintf(stdout, "%s %s\r\n", resp.Proto, resp.Status)
		_ = resp.Header.Write(stdout)
		fmt.Fprint(stdout, "\r\n")
	}
	out := stdout
	if c.output != "" {
		f, err := os.Create(c.output)
		if err != nil {
			return curlFails(23, "%v", err)
		}
		defer f.Close()
		out = f
	}
	if _, err := io.Copy(out, resp.Body); os.IsTimeout(err) {
		return curlFails(28, "%v", err)
	} else if err != nil {
		return curlFails(18, "%v", err)
	}
	fmt.Fprint(stdout, strings.ReplaceAll(c.write, "%{http_code}", fmt.Sprint(resp.StatusCode)))
	return nil
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
