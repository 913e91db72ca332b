package cli

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// gatewayTLS reads the certificate and the key that a configuration names, or returns nil if it names none. The error names the
// file that is wrong.
func gatewayTLS(files config.GatewayTLS, base string) (*tls.Config, error) {
	if files.Certificate == "" {
		return nil, nil
	}
	certificate, key := beside(base, files.Certificate), beside(base, files.Key)
	var texts [2][]byte
	for i, path := range []string{certificate, key} {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, wrong.File(path, err, "correct the path, which begins beside the configuration")
		}
		if block, _ := pem.Decode(text); block == nil {
			return nil, fmt.Errorf("%s is no PEM file, which begins with a line -----BEGIN", path)
		}
		texts[i] = text
	}
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("%s with the key %s: %s", certificate, key, singleLine(err.Error()))
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return nil, fmt.Errorf("%s is valid from %s to %s, so no client would accept it: renew it", certificate,
			pair.Leaf.NotBefore.UTC().Format(time.RFC3339), pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
