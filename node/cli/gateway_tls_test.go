package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/node/config"
)

// TestGatewayTLSFiles: what is wrong with the files of a certificate is said in one line that names the file.
func TestGatewayTLSFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, until := range map[string]time.Time{"good": time.Now().Add(time.Hour), "old": time.Now().Add(-time.Minute)} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
		certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", certificate)
		write(name+".key", "PRIVATE KEY", private)
	}
	write("torn.pem", "CERTIFICATE", []byte("nothing"))
	if err := os.WriteFile(filepath.Join(dir, "text.pem"), []byte("a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct{ certificate, key, want string }{
		{"good.pem", "good.key", ""},
		{"none.pem", "good.key", "none.pem: correct the path"},
		{"good.pem", "none.key", "none.key: correct the path"},
		{"text.pem", "good.key", "text.pem is no PEM file"},
		{"good.pem", "text.pem", "text.pem is no PEM file"},
		{"good.key", "good.pem", "good.key with the key"},
		{"torn.pem", "good.key", "torn.pem with the key"},
		{"good.pem", "old.key", "does not match"},
		{"old.pem", "old.key", "renew it"},
	} {
		c, err := gatewayTLS(config.GatewayTLS{Certificate: v.certificate, Key: v.key}, dir)
		switch {
		case v.want == "" && (err != nil || len(c.Certificates) != 1):
			t.Errorf("%+v: %v", v, err)
		case v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%+v: %v", v, err)
		}
	}
	if c, err := gatewayTLS(config.GatewayTLS{}, dir); c != nil || err != nil {
		t.Errorf("without files: %v, %v", c, err)
	}
}
