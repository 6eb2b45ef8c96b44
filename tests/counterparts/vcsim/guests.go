package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// How soon a guest follows its VM's power.
	pace = 50 * time.Millisecond
	// What a guest notes lies at the very end of its disk, after this word.
	noteWord = "note: "
	noteSize = 512
	// A disk whose beginning is empty does not boot.
	bootSize = 64 << 10
	// How long requests may go on when a guest ends.
	grace = time.Second
)

var (
	at         = flag.String("at", "127.0.0.1:0", "address and port to listen at; orders are taken at another port")
	outside    = flag.String("outside", "", "numbers of two more sockets to listen at, one for orders: 3,4")
	withGuests = flag.Bool("guests", false, "let stand-ins for guests run on VMs")
	guestPort  = flag.Int("guest-port", 80, "where guests answer HTTP")
	guestsOwn  = flag.String("guests-own", "", "first address of guests whose seeds have none")
)

// What seeds hold, in the forms of NoCloud, ConfigDrive and unattended set-up, in this order.
var (
	addressIn = regexp.MustCompile(`(?s)addresses:\s+- "([0-9.]+)/|"ip_address": "([0-9.]+)"|wcm:keyValue="1">([0-9.]+)/`)
	nameIn    = regexp.MustCompile(`local-hostname: "([^"]+)"|"hostname": "([^"]+)"|<ComputerName>([^<]+)<`)
)

// guests are stand-ins for what would run on VMs: each answers HTTP at the address in its seed while its VM is on.
type guests struct {
	port    int
	mu      sync.Mutex
	nextOwn net.IP
	running map[types.ManagedObjectReference]*guest
}

type guest struct {
	vm            *simulator.VirtualMachine
	name, address string
	// The file with its first disk's content.
	disk   string
	booted time.Time
	server *http.Server
}

func newGuests(port int, firstOwn string) *guests {
	return &guests{port: port, nextOwn: net.ParseIP(firstOwn).To4(), running: map[types.ManagedObjectReference]*guest{}}
}

// follow starts and ends guests as their VMs are switched, whoever switches them and however.
func (g *guests) follow() {
	for {
		g.look()
		time.Sleep(pace)
	}
}

func (g *guests) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := map[types.ManagedObjectReference]bool{}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		isOn, booted := power(vm)
		here := g.running[vm.Self]
		if here != nil && (!isOn || !here.booted.Equal(booted)) {
			g.end(here)
			here = nil
		}
		if here == nil && isOn {
			g.boot(vm, booted)
		}
		seen[vm.Self] = true
	}
	for ref, gone := range g.running {
		if !seen[ref] {
			g.end(gone)
		}
	}
}

func power(vm *simulator.VirtualMachine) (isOn bool, booted time.Time) {
	simulator.Map.WithLock(vm, func() {
		isOn = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn &&
			vm.Runtime.ConnectionState == types.VirtualMachineConnectionStateConnected
		if vm.Summary.Runtime.BootTime != nil {
			booted = *vm.Summary.Runtime.BootTime
		}
	})
	return isOn, booted
}

// boot starts a VM's guest; one that cannot be started yet is tried again at the next look.
func (g *guests) boot(vm *simulator.VirtualMachine, booted time.Time) {
	disk, seed := media(vm)
	if !isBootable(disk) {
		return
	}
	name, address := firstGroup(nameIn, seed), firstGroup(addressIn, seed)
	if address == "" && g.nextOwn != nil {
		address = g.nextOwn.String()
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(g.port)))
	if address == "" || err != nil {
		return
	}
	if g.nextOwn != nil && address == g.nextOwn.String() {
		g.nextOwn[3]++
	}
	started := &guest{vm: vm, name: name, address: address, disk: disk, booted: booted}
	started.server = &http.Server{Handler: started}
	g.running[vm.Self] = started
	go func() { _ = started.server.Serve(listener) }()
	tellTools(vm, address, types.VirtualMachineToolsRunningStatusGuestToolsRunning)
}

func (g *guests) end(here *guest) {
	delete(g.running, here.vm.Self)
	tellTools(here.vm, "", types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = here.server.Shutdown(ctx)
		_ = here.server.Close()
	}()
}

func tellTools(vm *simulator.VirtualMachine, address string, status types.VirtualMachineToolsRunningStatus) {
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "guest.ipAddress", Val: address},
		{Name: "summary.guest.ipAddress", Val: address},
		{Name: "guest.toolsRunningStatus", Val: string(status)},
	})
}

// media returns the file with the content of a VM's first disk, and what is on its CD-ROM.
func media(vm *simulator.VirtualMachine) (disk string, seed []byte) {
	for _, device := range vm.Config.Hardware.Device {
		switch backing := device.GetVirtualDevice().Backing.(type) {
		case *types.VirtualDiskFlatVer2BackingInfo:
			if disk == "" && local(backing.FileName) != "" {
				disk = extent(local(backing.FileName))
			}
		case *types.VirtualCdromIsoBackingInfo:
			seed, _ = os.ReadFile(local(backing.FileName))
		}
	}
	return disk, seed
}

func isBootable(disk string) bool {
	file, err := os.Open(disk)
	if err != nil {
		return false
	}
	defer file.Close()
	start := make([]byte, bootSize)
	count, _ := io.ReadFull(file, start)
	return len(bytes.Trim(start[:count], "\x00")) > 0
}

func firstGroup(pattern *regexp.Regexp, text []byte) string {
	found := pattern.FindSubmatch(text)
	if found == nil {
		return ""
	}
	return string(bytes.Join(found[1:], nil))
}

// ServeHTTP is what the guest's web server says; the same pages as the lab's guest has.
func (g *guest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		_, _ = fmt.Fprintf(w, "<h1>%s</h1><p>%s%s</p>\n",
			html.EscapeString(g.name), g.address, html.EscapeString(prefixed(", note: ", g.note())))
	case "/health":
		_, _ = fmt.Fprintln(w, "ok")
	case "/note":
		_, _ = fmt.Fprintln(w, g.note())
	case "/cgi-bin/note":
		note, _ := url.QueryUnescape(r.URL.RawQuery)
		if err := g.write(note); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, "noted: %s\n", note)
	case "/cgi-bin/shutdown":
		_, _ = fmt.Fprintln(w, "going down")
		switchOff(g.vm, "TRUE")
	default:
		http.NotFound(w, r)
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// note returns what was noted on the disk, by this guest or by the one that its image was captured of.
func (g *guest) note() string {
	file, err := os.Open(g.disk)
	if err != nil {
		return ""
	}
	defer file.Close()
	text := make([]byte, noteSize)
	if _, err = file.Seek(-noteSize, io.SeekEnd); err != nil {
		return ""
	}
	_, _ = io.ReadFull(file, text)
	if !bytes.HasPrefix(text, []byte(noteWord)) {
		return ""
	}
	return strings.TrimRight(string(text[len(noteWord):]), "\x00")
}

func (g *guest) write(note string) error {
	file, err := os.OpenFile(g.disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	text := make([]byte, noteSize)
	copy(text, noteWord+note)
	if _, err = file.Seek(-noteSize, io.SeekEnd); err != nil {
		return err
	}
	_, err = file.Write(text)
	return err
}

func switchOff(vm *simulator.VirtualMachine, byGuest string) {
	markEnd(vm, byGuest)
	setPower(vm, types.VirtualMachinePowerStatePoweredOff, nil)
}

func setPower(vm *simulator.VirtualMachine, state types.VirtualMachinePowerState, booted types.AnyType) {
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "runtime.powerState", Val: state},
		{Name: "summary.runtime.powerState", Val: state},
		{Name: "summary.runtime.bootTime", Val: booted},
	})
}

func vmNamed(name string) *simulator.VirtualMachine {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		if vm, ok := entity.(*simulator.VirtualMachine); ok && vm.Name == name {
			return vm
		}
	}
	return nil
}

// serveConsole does what a person at a VM's console does, or an accident.
func serveConsole(w http.ResponseWriter, r *http.Request) {
	vm := vmNamed(r.URL.Query().Get("vm"))
	if vm == nil {
		http.NotFound(w, r)
		return
	}
	isOn, _ := power(vm)
	switch deed := r.URL.Query().Get("do"); {
	case deed == "shutdown" && isOn:
		switchOff(vm, "TRUE")
	case (deed == "crash" || deed == "poweroff") && isOn:
		switchOff(vm, "FALSE")
	case deed == "poweron" && !isOn:
		setPower(vm, types.VirtualMachinePowerStatePoweredOn, time.Now())
	default:
		http.Error(w, "cannot "+deed+" it now", http.StatusConflict)
	}
}

// patch gives a host another build, as an update of its software does.
func patch(name, build string) {
	for _, entity := range simulator.Map.All("HostSystem") {
		host, ok := entity.(*simulator.HostSystem)
		if !ok || (name != "" && host.Name != name) {
			continue
		}
		product := patched(*host.Summary.Config.Product, build)
		changes := []types.PropertyChange{{Name: "summary.config.product", Val: product}}
		if host.Config != nil {
			changes = append(changes, types.PropertyChange{Name: "config.product", Val: product})
		}
		simulator.Map.Update(host, changes)
	}
	if service := simulator.Map.Get(serviceInstance); service != nil && !simulator.Map.IsVPX() {
		content := &service.(*simulator.ServiceInstance).Content
		content.About = patched(content.About, build)
	}
}

var serviceInstance = types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}

func patched(product types.AboutInfo, build string) types.AboutInfo {
	product.FullName = strings.ReplaceAll(product.FullName, product.Build, build)
	product.Build = build
	return product
}

// withConsoles adds to what tests can order what people and accidents do to guests and hosts.
func withConsoles(orders http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", orders)
	mux.HandleFunc("/guest", serveConsole)
	mux.HandleFunc("/host", func(w http.ResponseWriter, r *http.Request) {
		if build := r.URL.Query().Get("build"); build != "" {
			patch(r.URL.Query().Get("name"), build)
			return
		}
		orders.ServeHTTP(w, r)
	})
	return mux
}

// serveOutside serves the same at sockets that were handed over: a server in a network of its own can be reached
// by tests that are not in it.
func serveOutside(api http.Handler, config *tls.Config, orders http.Handler) {
	if *outside == "" {
		return
	}
	numbers := strings.Split(*outside, ",")
	for place, handler := range []http.Handler{api, orders} {
		number, err := strconv.Atoi(numbers[place])
		must(err)
		listener, err := net.FileListener(os.NewFile(uintptr(number), "outside"))
		must(err)
		if place == 0 {
			listener = tls.NewListener(listener, config)
		}
		go func(handler http.Handler) { must(http.Serve(listener, handler)) }(handler)
	}
}
