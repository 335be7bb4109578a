// Judges SVIDs by go-spiffe, chains of X.509-SVIDs and JWT-SVIDs: one JSON value a line in, one line out.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// head is the first line: whom to trust, by trust domain, and when it is. The library judges a token by its own clock.
type head struct {
	Authorities map[string][][]byte        `json:"authorities"`
	Documents   map[string]json.RawMessage `json:"documents"`
	Audiences   []string                   `json:"audiences"`
	Now         int64                      `json:"now"`
}

// ground is what cases are judged by.
type ground struct {
	certificates *x509bundle.Set
	documents    *spiffebundle.Set
	audiences    []string
	now          time.Time
}

func main() {
	decoder := json.NewDecoder(bufio.NewReader(os.Stdin))
	var first head
	if err := decoder.Decode(&first); err != nil {
		stop(err)
	}
	by, err := prepared(first)
	if err != nil {
		stop(err)
	}
	for decoder.More() {
		var line json.RawMessage
		if err := decoder.Decode(&line); err != nil {
			stop(err)
		}
		if err := by.judge(line); err != nil {
			fmt.Println("refused: " + strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Println("taken")
		}
	}
}

func prepared(first head) (*ground, error) {
	by := &ground{
		certificates: x509bundle.NewSet(),
		documents:    spiffebundle.NewSet(),
		audiences:    first.Audiences,
		now:          time.Unix(first.Now, 0),
	}
	for name, authorities := range first.Authorities {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		certificates, err := parsed(authorities)
		if err != nil {
			return nil, err
		}
		by.certificates.Add(x509bundle.FromX509Authorities(domain, certificates))
	}
	for name, document := range first.Documents {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle, err := spiffebundle.Parse(domain, document)
		if err != nil {
			return nil, err
		}
		by.documents.Add(bundle)
	}
	return by, nil
}

// judge judges a token, which is a string, or a chain, which is a list.
func (by *ground) judge(line json.RawMessage) error {
	var token string
	if json.Unmarshal(line, &token) == nil {
		_, err := jwtsvid.ParseAndValidate(token, by.documents, by.audiences)
		return err
	}
	var chain [][]byte
	if err := json.Unmarshal(line, &chain); err != nil {
		stop(err)
	}
	certificates, err := parsed(chain)
	if err == nil {
		_, _, err = x509svid.Verify(certificates, by.certificates, x509svid.WithTime(by.now))
	}
	return err
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
