package main

import (
	"crypto/tls"
	"encoding/pem"
	"sync"
	"time"
)

// What the server shows to those who connect; tests have it changed.
type papers struct {
	mu    sync.Mutex
	shown *tls.Certificate
}

var identity papers

// renew makes a fresh certificate that is valid until then, and returns it as PEM.
func (p *papers) renew(until time.Time) string {
	cert := certificate(until)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = &cert
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
}

// showFirst shows again what the server began with.
func (p *papers) showFirst() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = nil
}

// config is asked at each connection; nil means what the server began with.
func (p *papers) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown == nil {
		return nil, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{*p.shown}}, nil
}
