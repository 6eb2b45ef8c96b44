// A VMware counterpart for tests: the govmomi simulator, and before it a front that adds what the simulator
// lacks and what goes wrong in real data centres.  See README.md.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/vmware/govmomi/simulator"
)

// What the tests learn at the start, as one line of JSON.
type started struct {
	URL         string            `json:"url"`
	Control     string            `json:"control"`
	Certificate string            `json:"certificate"`
	Datastores  map[string]string `json:"datastores"`
	Hosts       []string          `json:"hosts"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// certificate makes a fresh one for 127.0.0.1, so that each run has a thumbprint of its own.
func certificate(until time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "simulated VMware host"},
		NotBefore:             time.Now().Add(-48 * time.Hour),
		NotAfter:              until,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func model() *simulator.Model {
	isESX := flag.Bool("esx", false, "be one ESX host instead of a vCenter")
	vms := flag.Int("vm", 0, "VMs for each pool and standalone host")
	hosts := flag.Int("host", 3, "hosts of the cluster (vCenter)")
	datastores := flag.Int("ds", 1, "datastores, which all hosts share")
	flag.Parse()
	m := simulator.VPX()
	if *isESX {
		m = simulator.ESX()
	}
	m.Machine, m.Datastore = *vms, *datastores
	if !*isESX {
		m.ClusterHost = *hosts
	}
	return m
}

func main() {
	m := model()
	log.SetOutput(io.Discard)
	must(m.Create())
	defer m.Remove()
	cert := certificate(time.Now().Add(24 * time.Hour))
	m.Service.Listen = &url.URL{Host: *at, User: url.UserPassword("root", "secret word")}
	m.Service.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: identity.config}
	server := m.Service.NewServer()
	front := newFront(server.Config.Handler, server.CloseClientConnections)
	rights := withRights(front)
	server.Config.Handler = rights
	host, _, err := net.SplitHostPort(*at)
	must(err)
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	must(err)
	control := rights.control(withConsoles(front.control()))
	go func() { must(http.Serve(listener, control)) }()
	serveOutside(server.Config.Handler, server.TLS, control)
	if *withGuests {
		go newGuests(*guestPort, *guestsOwn).follow()
	}
	address := *server.URL // the simulator keeps user and password in its own
	address.User = nil
	told := started{
		URL:         address.String(),
		Control:     "http://" + listener.Addr().String(),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
		Datastores:  datastoreFolders(),
		Hosts:       hostNames(),
	}
	must(json.NewEncoder(os.Stdout).Encode(told))
	// The test holds the other end: whatever ends it, this ends too.
	_, _ = io.Copy(io.Discard, os.Stdin)
}
