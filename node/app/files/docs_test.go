package files_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/files"
)

// TestDocsHaveTheLimits compares the bounds on the pages of the service with DefaultLimits.
func TestDocsHaveTheLimits(t *testing.T) {
	l := files.DefaultLimits()
	mib := func(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }
	for path, words := range map[string]struct{ thousands, client, all, requests string }{
		"files.md":       {",", "of a client", "in all", "requests"},
		"files.pt-BR.md": {".", "de um cliente", "ao todo", "requisições"},
	} {
		data, err := os.ReadFile("../../../docs/services/" + path)
		if err != nil {
			t.Fatal(err)
		}
		number := func(n uint64) string { return fmt.Sprintf("%d%s%03d", n/1000, words.thousands, n%1000) }
		text := string(data)
		for _, want := range []string{
			"| " + mib(l.File) + " |",
			fmt.Sprintf("| %s %s, %s %s |", number(l.ClientFiles), words.client, number(l.Files), words.all),
			fmt.Sprintf("| %s %s, %d GiB %s |", mib(l.ClientBytes), words.client, l.Bytes>>30, words.all),
			fmt.Sprintf("| %d %s, %d %s |", l.ClientUploads, words.client, l.Uploads, words.all),
			fmt.Sprintf("| %d |", l.Versions),
			fmt.Sprintf("| %s %s |", mib(l.OldBytes), words.all),
			fmt.Sprintf("| %s %s |", number(l.Requests), words.requests),
			fmt.Sprintf("%d KiB", l.Chunk>>10),
			fmt.Sprintf("%s %s", number(files.MaxItems), map[string]string{"files.md": "files", "files.pt-BR.md": "arquivos"}[path]),
			fmt.Sprintf("%d bytes", files.MaxName),
			fmt.Sprintf(" %.0f minut", l.UploadTime.Minutes()),
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", path, want)
			}
		}
	}
}
