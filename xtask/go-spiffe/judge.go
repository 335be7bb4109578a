// Judges chains of SVIDs by go-spiffe: one JSON value a line in, one line out.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// head is the first line: whom to trust, by trust domain, and when it is.
type head struct {
	Authorities map[string][][]byte `json:"authorities"`
	Now         int64               `json:"now"`
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	decoder := json.NewDecoder(lines)
	var first head
	if err := decoder.Decode(&first); err != nil {
		stop(err)
	}
	trusted := x509bundle.NewSet()
	for name, authorities := range first.Authorities {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			stop(err)
		}
		certificates, err := parsed(authorities)
		if err != nil {
			stop(err)
		}
		trusted.Add(x509bundle.FromX509Authorities(domain, certificates))
	}
	now := time.Unix(first.Now, 0)
	for decoder.More() {
		var chain [][]byte
		if err := decoder.Decode(&chain); err != nil {
			stop(err)
		}
		fmt.Println(verdict(chain, trusted, now))
	}
}

func verdict(chain [][]byte, trusted x509bundle.Source, now time.Time) string {
	certificates, err := parsed(chain)
	if err == nil {
		_, _, err = x509svid.Verify(certificates, trusted, x509svid.WithTime(now))
	}
	if err != nil {
		return "refused: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return "taken"
}

func parsed(list [][]byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for _, der := range list {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

func stop(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
