package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/files"
)

// fileLine is a version of a file, as --json prints it.
type fileLine struct {
	Name    string    `json:"name"`
	Version uint64    `json:"version"`
	Size    uint64    `json:"size"`
	Digest  string    `json:"digest"`
	Time    time.Time `json:"time"`
	Client  string    `json:"client"`
	Request uint64    `json:"request"`
}

func lineOf(i *files.Info) fileLine {
	return fileLine{i.Name, i.Version, i.Size, i.Digest.String(), i.Time, i.Client.String(), i.Request}
}

// requestLine is a request, as --json prints it.
type requestLine struct {
	Request uint64    `json:"request"`
	Time    time.Time `json:"time"`
	Client  string    `json:"client"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	Version uint64    `json:"version"`
	Size    uint64    `json:"size"`
}

func (s *Session) encode(v any) error { return json.NewEncoder(s.program.stdout).Encode(v) }

// when is agreed time for people. The fractions of a second say nothing to them.
func when(t time.Time) string { return t.Format("2006-01-02 15:04:05Z") }

// shortClient is as much of a client's key as tells it from others in a table.
func shortClient(c crypto.PublicKey) string { return fmt.Sprintf("%x", c[:4]) }

// printDone tells what a request did.
func (s *Session) printDone(r *files.Request, asJSON bool) error {
	if asJSON {
		return s.encode(requestLine{r.Number, r.Time, r.Client.String(), r.Kind.String(), r.Name, r.Version, r.Size})
	}
	what := fmt.Sprintf("version %d, %d bytes", r.Version, r.Size)
	if r.Kind == files.Deleted {
		what = "deleted"
	}
	_, err := fmt.Fprintf(s.program.stdout, "%s: %s\n", r.Name, what)
	return err
}

// printGot tells what a download wrote.
func (s *Session) printGot(i *files.Info, path string, asJSON bool) error {
	if asJSON {
		return s.encode(lineOf(i))
	}
	_, err := fmt.Fprintf(s.program.stdout, "%s: version %d, %d bytes, in %s\n", i.Name, i.Version, i.Size, path)
	return err
}

// fileTable returns a function that prints a line for a file, and before the first a head, with the indent.
func (s *Session) fileTable(asJSON bool, indent string) func(*files.Info) error {
	first := true
	return func(i *files.Info) error {
		if asJSON {
			return s.encode(lineOf(i))
		}
		// Widths are fixed, since the pages are not known before they are printed.
		const form = "%s%7s  %10s  %-20s  %-8s  %s\n"
		if first {
			first = false
			if _, err := fmt.Fprintf(s.program.stdout, form, indent, "VERSION", "BYTES", "TIME", "CLIENT", "NAME"); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(s.program.stdout, form, indent, fmt.Sprint(i.Version), fmt.Sprint(i.Size), when(i.Time), shortClient(i.Client), i.Name)
		return err
	}
}

// printHistory prints requests, and the versions if a name is given.
func (c *cabinet) printHistory(name string, limit int, asJSON bool) error {
	requests, err := c.history(name, limit)
	if err != nil {
		return err
	}
	var versions []files.Info
	if name != "" {
		if versions, err = c.versions(name); err != nil {
			return err
		}
		if len(requests) == 0 && len(versions) == 0 {
			return Fail(CodeNotFound, "no request for file %q is in the history", name)
		}
	}
	if asJSON {
		return c.s.historyJSON(requests, versions)
	}
	w := tabwriter.NewWriter(c.s.program.stdout, 0, 0, 2, ' ', 0)
	if len(requests) > 0 {
		fmt.Fprintln(w, "REQUEST\tTIME\tCLIENT\tKIND\tVERSION\tBYTES\tNAME")
	}
	for i := range requests {
		r := &requests[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\t%s\n", r.Number, when(r.Time), shortClient(r.Client), r.Kind, r.Version, r.Size, r.Name)
	}
	if len(versions) > 0 {
		w.Flush() // the two tables have widths of their own
		fmt.Fprintln(w, "\nVERSION\tBYTES\tREQUEST\tDIGEST")
	}
	for i := range versions {
		v := &versions[i]
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\n", v.Version, v.Size, v.Request, v.Digest)
	}
	return w.Flush()
}

func (s *Session) historyJSON(requests []files.Request, versions []files.Info) error {
	for i := range requests {
		if err := s.printDone(&requests[i], true); err != nil {
			return err
		}
	}
	for i := range versions {
		if err := s.encode(struct {
			Kind string `json:"kind"`
			fileLine
		}{"version", lineOf(&versions[i])}); err != nil {
			return err
		}
	}
	return nil
}

// printUsage prints what is used of the limits.
func (c *cabinet) printUsage(asJSON bool) error {
	q, err := c.quota()
	if err != nil {
		return err
	}
	l := &q.Limits
	rows := []struct {
		What  string `json:"what"`
		Used  uint64 `json:"used"`
		Limit uint64 `json:"limit"`
	}{
		{"files of this client", q.Client.Files, l.ClientFiles},
		{"files of all", q.All.Files, l.Files},
		{"bytes of this client", q.Client.Bytes, l.ClientBytes},
		{"bytes of all", q.All.Bytes, l.Bytes},
		{"uploads of this client", q.Client.Uploads, l.ClientUploads},
		{"uploads of all", q.All.Uploads, l.Uploads},
		{"bytes of old versions", q.OldBytes, l.OldBytes},
	}
	if asJSON {
		for _, r := range rows {
			if err := c.s.encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%12s  %12s  %s\n", "USED", "LIMIT", "WHAT")
	for _, r := range rows {
		fmt.Fprintf(&b, "%12d  %12d  %s\n", r.Used, r.Limit, r.What)
	}
	_, err = c.s.program.stdout.Write([]byte(b.String()))
	return err
}
