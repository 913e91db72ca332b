package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/config"
)

// certificate makes one for this machine, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// newTLSRig starts a gateway that serves TLS, to a client that trusts its certificate.
func newTLSRig(t *testing.T, change func(*config.Gateway, *Options)) (*rig, *tls.Config) {
	t.Helper()
	pair, pool := certificate(t)
	r := newRig(t, func(cfg *config.Gateway, o *Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		if change != nil {
			change(cfg, o)
		}
	})
	trust := &tls.Config{RootCAs: pool}
	r.url = "https://" + r.addr
	r.client.Transport = &http.Transport{TLSClientConfig: trust, DisableCompression: true, ForceAttemptHTTP2: true}
	return r, trust
}

// TestTLS: requests and files go through it, a token too; who offers HTTP/2 gets HTTP/1.1, which the bounds are made for.
func TestTLS(t *testing.T) {
	r, _ := newTLSRig(t, withUser)
	const token = "Authorization: Bearer " + right
	r.wants("POST", "/v1/counter/add", `{"number":5}`, 200, `{"value":5}`, token)
	r.fails("GET", "/v1/counter", "", 401, "unauthorized")
	content := string(random(3 << 19))
	r.do("POST", "/v1/files/content/f", content, token).object(t)
	if a := r.do("GET", "/v1/files/content/f", "", token); string(a.body) != content {
		t.Errorf("%d with %d bytes", a.status, len(a.body))
	}
	resp, err := r.client.Get(r.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.TLS.NegotiatedProtocol == "h2" {
		t.Errorf("%s, negotiated %q", resp.Proto, resp.TLS.NegotiatedProtocol)
	}
	e := r.watch("", "", token)
	e.wants("0.0", "start", `{"from":1}`)
	r.do("PUT", "/v1/kv/a", `{"value":"1"}`, token)
	e.wants("1.1", "put", `{"change":"put","key":"a","revision":1,"value":"1"}`)
}

// TestPlainHTTPOnTLS: who speaks HTTP without TLS is told so, and nothing is done.
func TestPlainHTTPOnTLS(t *testing.T) {
	r, _ := newTLSRig(t, nil)
	c := r.dial()
	fmt.Fprint(c, "POST /v1/counter/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"number\":1}")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || !strings.Contains(string(text), "HTTP request to an HTTPS server") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	r.wants("GET", "/v1/counter", "", 200, `{"value":0}`)
}

// TestTLSRefused: a certificate that the client does not trust, a version that is too old, and a handshake that does not go on.
func TestTLSRefused(t *testing.T) {
	r, trust := newTLSRig(t, func(cfg *config.Gateway, _ *Options) { cfg.Limits.HeaderTime = brief })
	var unknown x509.UnknownAuthorityError
	if c, err := tls.Dial("tcp", r.addr, &tls.Config{}); !errors.As(err, &unknown) {
		t.Errorf("a certificate of nobody: %v, %v", c, err)
	}
	old := trust.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := (&tls.Dialer{Config: old}).DialContext(ctx, "tcp", r.addr); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	c := r.dial()
	if _, err := io.Copy(io.Discard, c); isTimeout(err) {
		t.Error("a handshake that does not begin keeps its connection")
	}
}
