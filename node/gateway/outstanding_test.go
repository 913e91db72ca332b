package gateway

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/config"
)

// TestOneUserTakesNotAllOfAKey: of what the client of a key may have outstanding, one of its users has not more than a share.
func TestOneUserTakesNotAllOfAKey(t *testing.T) {
	r := newRig(t, withUsers("ana", "bia"))
	came, release := r.hold()
	body := `{"value":"` + strings.Repeat("x", 1_000_000) + `"}`
	most := int(clientBytes/2/1_000_000) + 1
	answers := make(chan int, most)
	var wg sync.WaitGroup
	sent := 0
	for full := false; !full; sent++ {
		if sent == most {
			t.Fatalf("one user has %d MB outstanding", sent)
		}
		wg.Go(func() { answers <- r.do("PUT", "/v1/kv/a", body, bearer("ana")).status })
		select {
		case <-came:
		case status := <-answers:
			if full = true; status != 429 {
				t.Errorf("beyond the share: %d", status)
			}
		}
	}
	if n := r.g.accounts[config.DigestToken("bia")].outstanding.held(); n > clientBytes/2 || n < clientBytes/3 {
		t.Errorf("%d bytes are outstanding", n)
	}
	wg.Go(func() { answers <- r.do("PUT", "/v1/kv/b", body, bearer("bia")).status })
	<-came
	release()
	wg.Wait()
	close(answers)
	for status := range answers {
		if status != 200 {
			t.Errorf("%d", status)
		}
	}
	if n := r.g.accounts[config.DigestToken("ana")].outstanding.held(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestTransfersKeepTheirShare: a transfer for which there is no share does not begin, and one that has begun is not cut off because
// others come.
func TestTransfersKeepTheirShare(t *testing.T) {
	r := newRig(t, withUsers("ana", "bia"))
	s := r.g.accounts[config.DigestToken("ana")].outstanding
	others := holder{"others"}
	s.add(others, clientBytes-uploadBytes/2)
	content := strings.Repeat("x", 2*files.ChunkSize)
	r.fails("POST", "/v1/files/content/f", content, 503, "gateway_busy", bearer("ana"))
	s.give(others, clientBytes-uploadBytes/2)

	c := r.dial()
	fmt.Fprintf(c, "POST /v1/files/content/f HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: %d\r\n\r\nx", bearer("ana"), len(content))
	r.waitFor("share of the upload", func() bool { return s.held() == uploadBytes })
	s.add(others, clientBytes-uploadBytes)
	fmt.Fprint(c, content[1:])
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%+v, %v", resp, err)
	}
	r.waitFor("end of the upload", func() bool { return s.held() == clientBytes-uploadBytes })
	s.give(others, clientBytes-uploadBytes)
	if a := r.do("GET", "/v1/files/content/f", "", bearer("ana")); string(a.body) != content {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
	r.waitFor("share that is given back", func() bool { return s.held() == 0 })
}
