package main

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// A fault that tests order: what happens to the next calls of one method.
type order struct {
	// Name of a method of the API, or `GET /folder`, `PUT /folder`; `*` is any call.
	Method string `json:"method"`
	// What happens; see README.md.
	Kind string `json:"kind"`
	// How many calls it happens to.
	Times int `json:"times"`
	// Calls of the method that go well first.
	Skip int `json:"skip"`
	// Of the kinds that carry a fault of the API: its name.
	Fault string `json:"fault"`
	// What is in that fault, as XML.
	Fields string `json:"fields"`
	// For `slow`.
	Milliseconds int `json:"milliseconds"`
	// For `full`: bytes that are taken before.
	Bytes int64 `json:"bytes"`
	// For `unregister`: the VM.
	VM string `json:"vm"`
}

type front struct {
	inner     http.Handler
	hangUp    func()
	mu        sync.Mutex
	orders    []*order
	calls     map[string]int
	log       []string
	expired   map[string]bool
	sessions  map[string]bool
	gone      bool
	goneHosts map[string]bool
	rest      []byte
}

func newFront(inner http.Handler, hangUp func()) *front {
	simulator.Map.AddHandler(&versionKeeper{})
	simulator.Map.AddHandler(registrar{})
	return &front{
		inner: inner, hangUp: hangUp, calls: map[string]int{}, expired: map[string]bool{},
		sessions: map[string]bool{}, goneHosts: map[string]bool{},
	}
}

// next counts a call and returns the order that is to happen to it, if there is one.
func (f *front) next(method string) *order {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	f.log = append(f.log, method)
	for _, o := range f.orders {
		if (o.Method != method && o.Method != "*") || o.Times == 0 {
			continue
		}
		if o.Skip > 0 {
			o.Skip--
			return nil
		}
		o.Times--
		return o
	}
	return nil
}

func (f *front) isGone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func drop(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if connection, _, err := hijacker.Hijack(); err == nil {
			_ = connection.Close()
		}
	}
}

const cookieName = "vmware_soap_session"

// isKnown tells whether a request comes with a session that still lives.
func (f *front) isKnown(r *http.Request) bool {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[cookie.Value] && !f.expired[cookie.Value]
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.isGone() {
		drop(w)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/folder") {
		f.serveFolder(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	method, err := parse(body)
	if r.Method != http.MethodPost || err != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.inner.ServeHTTP(w, r)
		return
	}
	if !f.isKnown(r) {
		r.Header.Del("Cookie")
		if method.Name != "RetrieveServiceContent" && method.Name != "Login" {
			// The simulator would let nobody in particular read properties.
			answerStranger(w)
			return
		}
	}
	f.serveMethod(w, r, method, body)
}

func answerStranger(w http.ResponseWriter) {
	answerFault(w, "NotAuthenticated", "<object type=\"Folder\">group-d1</object>"+
		"<privilegeId>System.View</privilegeId>", "The session is not authenticated.")
}

func (f *front) expireAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for session := range f.sessions {
		f.expired[session] = true
	}
}

// serveMethod does what was ordered for a call, and else what is asked.
func (f *front) serveMethod(w http.ResponseWriter, r *http.Request, method *simulator.Method, body []byte) {
	o := f.next(method.Name)
	kind := ""
	if o != nil {
		kind = o.Kind
	}
	switch kind {
	case "drop":
		drop(w)
	case "drop-after":
		f.pass(&recorder{header: http.Header{}}, r, method, body)
		drop(w)
	case "hang":
		<-r.Context().Done()
	case "fault":
		answerFault(w, o.Fault, o.Fields, "the simulated "+o.Fault)
	case "endless-task":
		task := simulator.CreateTask(method.This, method.Name, nil)
		answerReference(w, method.Name, task.Self)
	case "late-task":
		f.passLate(w, r, method, body, o)
	case "failing-task":
		task := simulator.CreateTask(method.This, method.Name, failing(o.Fault))
		answerReference(w, method.Name, task.Run())
	case "garbage":
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("<html>this is no answer</html>"))
	case "truncate":
		f.passTruncated(w, r, method, body)
	case "expire":
		f.expireAll()
		answerStranger(w)
	case "vanish":
		f.switchHost("", true)
		drop(w)
	case "slow":
		time.Sleep(time.Duration(o.Milliseconds) * time.Millisecond)
		f.pass(w, r, method, body)
	case "unregister":
		unregister(o.VM)
		f.pass(w, r, method, body)
	default:
		f.pass(w, r, method, body)
	}
}

// pass does what is asked: here what the simulator lacks, there all else.
func (f *front) pass(w http.ResponseWriter, r *http.Request, method *simulator.Method, body []byte) {
	if f.passRest(w, method) || f.extend(w, r, method) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorded := &recorder{header: http.Header{}}
	f.inner.ServeHTTP(recorded, r)
	if method.Name == "Login" {
		f.remember(recorded.header)
	}
	if recorded.status < http.StatusInternalServerError {
		f.afterwards(method)
	}
	recorded.send(w)
}

// passLate answers with a task that ends some time after all its work was done.
func (f *front) passLate(w http.ResponseWriter, r *http.Request, method *simulator.Method, body []byte, o *order) {
	f.pass(&recorder{header: http.Header{}}, r, method, body)
	task := simulator.CreateTask(method.This, method.Name,
		func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, nil })
	go func() {
		time.Sleep(time.Duration(o.Milliseconds) * time.Millisecond)
		task.Run()
	}()
	answerReference(w, method.Name, task.Self)
}

func (f *front) remember(header http.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		if cookie.Name == cookieName {
			f.sessions[cookie.Value] = true
		}
	}
}

var (
	objectSets = regexp.MustCompile(`(?s)<objectSet>.*?</objectSet>`)
	versions   = regexp.MustCompile(`<version>[^<]*</version>`)
)

// passTruncated gives the first half of an answer's objects, and keeps all of it for the next call.
func (f *front) passTruncated(w http.ResponseWriter, r *http.Request, method *simulator.Method, body []byte) {
	recorded := &recorder{header: http.Header{}}
	f.pass(recorded, r, method, body)
	whole := recorded.body.Bytes()
	count := len(objectSets.FindAll(whole, -1))
	half := func(keep func(int) bool) []byte {
		index := -1
		return objectSets.ReplaceAllFunc(whole, func(object []byte) []byte {
			index++
			if keep(index) {
				return object
			}
			return nil
		})
	}
	first := versions.ReplaceAll(half(func(i int) bool { return i < count/2 }),
		[]byte("<version>half</version>"))
	first = bytes.Replace(first, []byte("</returnval>"), []byte("<truncated>true</truncated></returnval>"), 1)
	f.mu.Lock()
	f.rest = half(func(i int) bool { return i >= count/2 })
	f.mu.Unlock()
	w.WriteHeader(recorded.status)
	_, _ = w.Write(first)
}

func (f *front) passRest(w http.ResponseWriter, method *simulator.Method) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if method.Name != "WaitForUpdatesEx" || f.rest == nil {
		return false
	}
	_, _ = w.Write(f.rest)
	f.rest = nil
	return true
}

// A recorder keeps an answer until it is known whether it is to be sent.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *recorder) send(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	_, _ = w.Write(r.body.Bytes())
}
