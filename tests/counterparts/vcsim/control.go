package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// control serves the tests.
func (f *front) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/fault", f.takeOrder)
	mux.HandleFunc("/peace", func(http.ResponseWriter, *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.orders = nil
	})
	mux.HandleFunc("/expire", func(http.ResponseWriter, *http.Request) { f.expireAll() })
	mux.HandleFunc("/restart", func(http.ResponseWriter, *http.Request) { f.restart() })
	mux.HandleFunc("/calls", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(f.calls)
	})
	mux.HandleFunc("/log", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(f.log)
		f.log = []string{}
	})
	mux.HandleFunc("/host", f.changeHost)
	mux.HandleFunc("/vms", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(allVMs()) })
	mux.HandleFunc("/certificate", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("state") {
		case "expired":
			_, _ = fmt.Fprint(w, identity.renew(time.Now().Add(-time.Hour)))
		case "renewed":
			_, _ = fmt.Fprint(w, identity.renew(time.Now().Add(24*time.Hour)))
		default:
			identity.showFirst()
		}
		f.restart()
	})
	mux.HandleFunc("/rename", func(_ http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		rename(q.Get("kind"), q.Get("from"), q.Get("to"))
	})
	mux.HandleFunc("/storm", func(_ http.ResponseWriter, r *http.Request) {
		changes, _ := strconv.Atoi(r.URL.Query().Get("changes"))
		storm(changes)
	})
	return mux
}

func (f *front) takeOrder(w http.ResponseWriter, r *http.Request) {
	o := &order{Times: 1}
	if err := json.NewDecoder(r.Body).Decode(o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, o)
}

// restart does what a server's start does to those who were connected: sessions and connections are gone.
func (f *front) restart() {
	f.expireAll()
	f.hangUp()
}

func (f *front) changeHost(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	switch state := r.URL.Query().Get("state"); state {
	case "gone", "back":
		f.switchHost(name, state == "gone")
	case "maintained", "working":
		maintain(name, state == "maintained")
	case "removed":
		removeHost(name)
	default:
		http.Error(w, "no such state", http.StatusBadRequest)
	}
}
