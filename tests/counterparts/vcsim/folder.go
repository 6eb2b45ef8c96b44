package main

import (
	"io"
	"net/http"
	"time"
)

// serveFolder serves the datastores' files; the simulator itself would serve them to anybody.
func (f *front) serveFolder(w http.ResponseWriter, r *http.Request) {
	o := f.next(r.Method + " /folder")
	if !f.isKnown(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if o == nil {
		f.inner.ServeHTTP(w, r)
		return
	}
	switch o.Kind {
	case "expire":
		f.expireAll()
		w.WriteHeader(http.StatusUnauthorized)
	case "vanish":
		f.switchHost("", true)
		drop(w)
	case "drop-after":
		f.inner.ServeHTTP(&recorder{header: http.Header{}}, r)
		drop(w)
	case "unregister":
		unregister(o.VM)
		f.inner.ServeHTTP(w, r)
	case "drop":
		_, _ = io.CopyN(io.Discard, r.Body, o.Bytes)
		drop(w)
	case "hang":
		_, _ = io.CopyN(io.Discard, r.Body, o.Bytes)
		<-r.Context().Done()
	case "full":
		r.Body = io.NopCloser(io.LimitReader(r.Body, o.Bytes))
		f.inner.ServeHTTP(&recorder{header: http.Header{}}, r)
		http.Error(w, "There is not enough space on the disk", http.StatusInternalServerError)
	case "forbidden":
		http.Error(w, "Forbidden", http.StatusForbidden)
	default: // slow
		time.Sleep(time.Duration(o.Milliseconds) * time.Millisecond)
		f.inner.ServeHTTP(w, r)
	}
}
