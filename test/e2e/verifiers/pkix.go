// Go's crypto/x509 as a TLS server and a TLS client use it. Argument: a file with a case a line, "client|server ROOT CHAIN". Prints "ok" or
// "refused: WHY" for each.

package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

func main() {
	cases, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(cases)), "\n") {
		part := strings.Split(line, "\t")
		if err := judge(part[0], part[1], part[2]); err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("ok")
		}
	}
}

func judge(usage, root, chain string) error {
	roots, err := read(root)
	if err != nil {
		return err
	}
	presented, err := read(chain)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: pool(roots), Intermediates: pool(presented[1:])}
	options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if usage == "client" {
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	_, err = presented[0].Verify(options)
	return err
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	made := x509.NewCertPool()
	for _, each := range certificates {
		made.AddCert(each)
	}
	return made
}

func read(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
}
