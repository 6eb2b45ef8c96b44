package main

import (
	"fmt"
	"net/http"
	"sort"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func hostNames() []string {
	names := []string{}
	for _, entity := range simulator.Map.All("HostSystem") {
		names = append(names, entity.Entity().Name)
	}
	sort.Strings(names)
	return names
}

func failing(fault string) func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
	return func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, faultNamed(fault) }
}

func vmOf(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}

func hostOf(ref *types.ManagedObjectReference) *simulator.HostSystem {
	if ref == nil {
		return nil
	}
	host, _ := simulator.Map.Get(*ref).(*simulator.HostSystem)
	return host
}

// extend carries out what the simulator does not have, or has in a form that would hide mistakes.
func (f *front) extend(w http.ResponseWriter, r *http.Request, method *simulator.Method) bool {
	if !f.isKnown(r) {
		return false
	}
	if vm := vmOf(method.This); vm != nil && f.isLost(vm) {
		answerFault(w, "HostNotConnected", "", "the host is not connected")
		return true
	}
	if fault := maintenanceFault(method); fault != nil {
		answerTask(w, method, func() types.BaseMethodFault { return fault })
		return true
	}
	if f.converse(w, method) {
		return true
	}
	switch request := method.Body.(type) {
	case *types.RegisterVM_Task:
		provide(request)
		return false
	case *types.DeleteVirtualDisk_Task:
		answerTask(w, method, func() types.BaseMethodFault { return deleteDisk(request.Name) })
	case *types.CopyVirtualDisk_Task:
		answerTask(w, method, func() types.BaseMethodFault { return copyDisk(request.SourceName, request.DestName) })
	case *types.MigrateVM_Task:
		answerTask(w, method, func() types.BaseMethodFault { return migrate(vmOf(method.This), request.Host) })
	case *types.ShutdownHost_Task, *types.RebootHost_Task, *types.DisconnectHost_Task:
		host := hostOf(&method.This)
		answerTask(w, method, func() types.BaseMethodFault { f.lose(host); return nil })
	case *types.ReconnectHost_Task:
		host := hostOf(&method.This)
		answerTask(w, method, func() types.BaseMethodFault { f.find(host); return nil })
	case *types.AcquireTicket:
		answer(w, http.StatusOK, fmt.Sprintf(`<AcquireTicketResponse xmlns="urn:vim25"><returnval><ticket>%s</ticket>`+
			`<cfgFile>none</cfgFile></returnval></AcquireTicketResponse>`, "ticket-of-"+method.This.Value))
	default:
		return false
	}
	return true
}

// maintenanceFault tells what a host in maintenance mode answers to whoever would run something on it.
func maintenanceFault(method *simulator.Method) types.BaseMethodFault {
	switch request := method.Body.(type) {
	case *types.PowerOnVM_Task:
		if vm := vmOf(method.This); vm != nil && isMaintained(vm.Runtime.Host) {
			return &types.InvalidState{}
		}
	case *types.CreateVM_Task:
		if isMaintained(request.Host) {
			return &types.InvalidHostState{Host: request.Host}
		}
	}
	return nil
}

// afterwards adds to what the simulator has done.
func (f *front) afterwards(method *simulator.Method) {
	switch request := method.Body.(type) {
	case *types.CreateVM_Task:
		fillAll(&request.Config)
	case *types.ReconfigVM_Task:
		fillAll(&request.Spec)
		settleOptions(vmOf(method.This))
	case *types.PowerOffVM_Task:
		markEnd(vmOf(method.This), "FALSE")
	case *types.ShutdownGuest:
		markEnd(vmOf(method.This), "TRUE")
	}
}

func fillAll(spec *types.VirtualMachineConfigSpec) {
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		disk, ok := device.Device.(*types.VirtualDisk)
		if ok && device.FileOperation == types.VirtualDeviceConfigSpecFileOperationCreate {
			_ = fill(disk)
		}
	}
}

// settleOptions keeps the last value of each option of a VM, and none that is empty, as a real host does.
func settleOptions(vm *simulator.VirtualMachine) {
	if vm == nil {
		return
	}
	simulator.Map.WithLock(vm, func() {
		places, settled := map[string]int{}, []types.BaseOptionValue{}
		for _, option := range vm.Config.ExtraConfig {
			key := option.GetOptionValue().Key
			if at, ok := places[key]; ok {
				settled[at] = option
				continue
			}
			places[key] = len(settled)
			settled = append(settled, option)
		}
		kept := []types.BaseOptionValue{}
		for _, option := range settled {
			if option.GetOptionValue().Value != "" {
				kept = append(kept, option)
			}
		}
		simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.extraConfig", Val: kept}})
	})
}

// markEnd notes in a VM's configuration how it ended, as a real host's VMX process does.
func markEnd(vm *simulator.VirtualMachine, byGuest string) {
	if vm == nil {
		return
	}
	simulator.Map.WithLock(vm, func() {
		vm.Config.ExtraConfig = append(vm.Config.ExtraConfig,
			&types.OptionValue{Key: "softPowerOff", Value: byGuest})
	})
}

func migrate(vm *simulator.VirtualMachine, to *types.ManagedObjectReference) types.BaseMethodFault {
	from, target := hostOf(vm.Runtime.Host), hostOf(to)
	if target == nil {
		return &types.InvalidArgument{InvalidProperty: "host"}
	}
	simulator.Map.RemoveReference(from, &from.Vm, vm.Self)
	simulator.Map.AppendReference(target, &target.Vm, vm.Self)
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "runtime.host", Val: *to},
		{Name: "summary.runtime.host", Val: *to},
	})
	return nil
}

func (f *front) isLost(vm *simulator.VirtualMachine) bool {
	host := hostOf(vm.Runtime.Host)
	f.mu.Lock()
	defer f.mu.Unlock()
	return host != nil && f.goneHosts[host.Name]
}

// switchHost takes a host away or brings it back; without a name it is all that answers here.
func (f *front) switchHost(name string, gone bool) {
	for _, entity := range simulator.Map.All("HostSystem") {
		host, ok := entity.(*simulator.HostSystem)
		if !ok || (name != "" && host.Name != name) {
			continue
		}
		if gone {
			f.lose(host)
		} else {
			f.find(host)
		}
	}
	if name == "" {
		f.mu.Lock()
		f.gone = gone
		f.mu.Unlock()
		if gone {
			f.hangUp()
		}
	}
}

func (f *front) lose(host *simulator.HostSystem) {
	f.setHost(host, true, types.HostSystemConnectionStateNotResponding, types.VirtualMachineConnectionStateDisconnected)
}

// find brings a host back; it starts without its VMs running.
func (f *front) find(host *simulator.HostSystem) {
	f.setHost(host, false, types.HostSystemConnectionStateConnected, types.VirtualMachineConnectionStateConnected)
}

func (f *front) setHost(
	host *simulator.HostSystem, gone bool,
	state types.HostSystemConnectionState, ofVMs types.VirtualMachineConnectionState,
) {
	f.mu.Lock()
	f.goneHosts[host.Name] = gone
	f.mu.Unlock()
	power := types.HostSystemPowerStatePoweredOn
	if gone {
		power = types.HostSystemPowerStateUnknown
	}
	simulator.Map.Update(host, []types.PropertyChange{
		{Name: "runtime.connectionState", Val: state},
		{Name: "runtime.powerState", Val: power},
	})
	for _, ref := range host.Vm {
		if vm := vmOf(ref); vm != nil {
			changes := []types.PropertyChange{{Name: "runtime.connectionState", Val: ofVMs}}
			if !gone {
				changes = append(changes, types.PropertyChange{
					Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff})
			}
			simulator.Map.Update(vm, changes)
		}
	}
}
