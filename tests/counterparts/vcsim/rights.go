package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// What each call needs, of the privileges that tests take away: more than a real host asks for some
// reconfigurations, and never less.
var needed = map[string][]string{
	"CreateVM_Task": {"VirtualMachine.Inventory.Create", "VirtualMachine.Config.AdvancedConfig",
		"VirtualMachine.Config.CPUCount", "VirtualMachine.Config.Memory", "Resource.AssignVMToPool",
		"Network.Assign"},
	"ReconfigVM_Task": {"VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.AddExistingDisk",
		"VirtualMachine.Config.RemoveDisk", "VirtualMachine.Config.AddRemoveDevice",
		"VirtualMachine.Config.EditDevice", "VirtualMachine.Config.Settings",
		"VirtualMachine.Config.AdvancedConfig", "Datastore.AllocateSpace"},
	"Destroy_Task":                   {"VirtualMachine.Inventory.Delete"},
	"RegisterVM_Task":                {"VirtualMachine.Inventory.Register"},
	"UnregisterVM":                   {"VirtualMachine.Inventory.Unregister"},
	"AnswerVM":                       {"VirtualMachine.Interact.AnswerQuestion"},
	"PowerOnVM_Task":                 {"VirtualMachine.Interact.PowerOn"},
	"PowerOffVM_Task":                {"VirtualMachine.Interact.PowerOff"},
	"ShutdownGuest":                  {"VirtualMachine.Interact.PowerOff"},
	"SearchDatastore_Task":           {"Datastore.Browse"},
	"SearchDatastoreSubFolders_Task": {"Datastore.Browse"},
	"MakeDirectory":                  {"Datastore.FileManagement"},
	"MoveDatastoreFile_Task":         {"Datastore.FileManagement"},
	"DeleteDatastoreFile_Task":       {"Datastore.FileManagement"},
	"DeleteVirtualDisk_Task":         {"Datastore.FileManagement"},
	"CopyVirtualDisk_Task":           {"Datastore.FileManagement"},
	"CreateDirectory":                {"Datastore.Config"},
}

// rights stands before the front and knows what the account may not do; the simulator grants everything.
type rights struct {
	front   *front
	mu      sync.Mutex
	missing map[string]bool
	// Answers no question about privileges, as an account that may not ask.
	mute bool
}

func withRights(f *front) *rights {
	return &rights{front: f, missing: map[string]bool{}}
}

// control serves `/rights?missing=PRIVILEGE,PRIVILEGE&mute=yes`; without names everything is granted again.
// And `/datastores?type=TYPE`: all become of that type, `vsan` for one.
func (g *rights) control(others http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", others)
	mux.HandleFunc("/rights", g.change)
	mux.HandleFunc("/datastores", func(_ http.ResponseWriter, r *http.Request) {
		for _, entity := range simulator.Map.All("Datastore") {
			simulator.Map.Update(entity, []types.PropertyChange{
				{Name: "summary.type", Val: r.URL.Query().Get("type")}})
		}
	})
	return mux
}

func (g *rights) change(_ http.ResponseWriter, r *http.Request) {
	missing := map[string]bool{}
	for _, name := range strings.Split(r.URL.Query().Get("missing"), ",") {
		if name != "" {
			missing[name] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.missing, g.mute = missing, r.URL.Query().Get("mute") != ""
}

func (g *rights) lacks(privilege string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.missing[privilege]
}

func (g *rights) isMute() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mute
}

func (g *rights) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.front.isGone() || !g.front.isKnown(r) {
		g.front.ServeHTTP(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/folder") {
		if g.lacks("Datastore.FileManagement") {
			g.front.next(r.Method + " /folder")
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		g.front.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !g.mayConcern(body) {
		g.front.ServeHTTP(w, r)
		return
	}
	method, err := parse(body)
	if err != nil || !g.answer(w, method) {
		g.front.ServeHTTP(w, r)
	}
}

// mayConcern tells whether a call is worth being parsed here: nearly none is.
func (g *rights) mayConcern(body []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.missing) > 0 || g.mute || bytes.Contains(body, []byte("Directory"))
}

// answer answers what is not granted, and what is asked about it.
func (g *rights) answer(w http.ResponseWriter, method *simulator.Method) bool {
	for _, privilege := range needed[method.Name] {
		if g.lacks(privilege) {
			g.front.next(method.Name)
			answerFault(w, "NoPermission", fmt.Sprintf("<object type=\"%s\">%s</object><privilegeId>%s</privilegeId>",
				method.This.Type, escaped(method.This.Value), privilege), "Permission to perform this operation was denied.")
			return true
		}
	}
	switch request := method.Body.(type) {
	case *types.HasPrivilegeOnEntities:
		g.front.next(method.Name)
		g.answerPrivileges(w, request)
	case *types.MakeDirectory:
		// A topmost folder of a datastore of objects is an object, and not made like this.
		if !isOfObjects(request.Name) || isThere(topmost(request.Name)) {
			return false
		}
		g.front.next(method.Name)
		answerFault(w, "CannotCreateFile", "<file>"+escaped(request.Name)+"</file>", "Cannot create the folder.")
	case *types.CreateDirectory:
		g.front.next(method.Name)
		makeNamespace(w, request)
	default:
		return false
	}
	return true
}

func (g *rights) answerPrivileges(w http.ResponseWriter, request *types.HasPrivilegeOnEntities) {
	if g.isMute() {
		answerFault(w, "NotSupported", "", "The operation is not supported on the object.")
		return
	}
	var told strings.Builder
	for _, entity := range request.Entity {
		fmt.Fprintf(&told, `<returnval><entity type="%s">%s</entity>`, entity.Type, escaped(entity.Value))
		for _, privilege := range request.PrivId {
			fmt.Fprintf(&told, `<privAvailability><privId>%s</privId><isGranted>%t</isGranted></privAvailability>`,
				escaped(privilege), !g.lacks(privilege))
		}
		told.WriteString("</returnval>")
	}
	answer(w, http.StatusOK, `<HasPrivilegeOnEntitiesResponse xmlns="urn:vim25">`+told.String()+
		`</HasPrivilegeOnEntitiesResponse>`)
}

// makeNamespace makes a topmost folder, as datastores of objects want it.
func makeNamespace(w http.ResponseWriter, request *types.CreateDirectory) {
	datastore, ok := simulator.Map.Get(request.Datastore).(*simulator.Datastore)
	if !ok {
		answerFault(w, "InvalidDatastore", "", "there is no such datastore")
		return
	}
	folder := path.Join(datastore.Info.GetDatastoreInfo().Url, request.DisplayName)
	if err := os.Mkdir(folder, 0o700); err != nil {
		answerFault(w, "FileAlreadyExists", "<file>"+escaped(request.DisplayName)+"</file>", "it exists")
		return
	}
	answer(w, http.StatusOK, `<CreateDirectoryResponse xmlns="urn:vim25"><returnval>`+escaped(folder)+
		`</returnval></CreateDirectoryResponse>`)
}

func isOfObjects(name string) bool {
	var p object.DatastorePath
	if !p.FromString(name) {
		return false
	}
	for _, entity := range simulator.Map.All("Datastore") {
		if datastore, ok := entity.(*simulator.Datastore); ok && datastore.Name == p.Datastore {
			return datastore.Summary.Type == "vsan" || datastore.Summary.Type == "VVOL"
		}
	}
	return false
}

// topmost returns the topmost folder of a path on a datastore.
func topmost(name string) string {
	var p object.DatastorePath
	if p.FromString(name) {
		p.Path = strings.SplitN(p.Path, "/", 2)[0]
	}
	return p.String()
}

func isThere(name string) bool {
	_, err := os.Stat(local(name))
	return err == nil
}
