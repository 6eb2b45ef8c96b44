package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// maintain sets a host aside, as an administrator does; without a name, all hosts.
func maintain(name string, isOn bool) {
	for _, entity := range simulator.Map.All("HostSystem") {
		host, ok := entity.(*simulator.HostSystem)
		if ok && (name == "" || host.Name == name) {
			simulator.Map.Update(host, []types.PropertyChange{{Name: "runtime.inMaintenanceMode", Val: isOn}})
		}
	}
}

func isMaintained(ref *types.ManagedObjectReference) bool {
	host := hostOf(ref)
	return host != nil && host.Runtime.InMaintenanceMode
}

// unregister takes a VM out of the inventory, as another tool does; its files stay.
func unregister(name string) {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok || vm.Name != name {
			continue
		}
		ctx := &simulator.Context{
			Context: context.Background(),
			Session: &simulator.Session{Registry: simulator.NewRegistry()},
			Map:     simulator.Map,
		}
		simulator.Map.WithLock(vm, func() {
			vm.Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff
			vm.UnregisterVM(ctx, &types.UnregisterVM{This: vm.Self})
		})
	}
}

// rename gives things of the inventory another name; VMware escapes what its paths cannot hold.
func rename(kind, from, to string) {
	escape := strings.NewReplacer("%", "%25", "/", "%2f", "\\", "%5c").Replace
	for _, entity := range simulator.Map.All(kind) {
		if entity.Entity().Name != escape(from) {
			continue
		}
		changes := []types.PropertyChange{{Name: "name", Val: escape(to)}}
		switch item := entity.(type) {
		case *simulator.Datastore:
			item.Info.GetDatastoreInfo().Name = escape(to)
			changes = append(changes, types.PropertyChange{Name: "summary.name", Val: escape(to)})
		case *simulator.VirtualMachine:
			changes = append(changes, types.PropertyChange{Name: "config.name", Val: escape(to)})
		}
		simulator.Map.Update(entity, changes)
		// Some things have their name twice in the simulator.
		entity.Entity().Name = escape(to)
	}
}

// storm switches all VMs on and off again, so many times in all, as fast as it goes.
func storm(changes int) {
	states := []types.VirtualMachinePowerState{
		types.VirtualMachinePowerStatePoweredOn, types.VirtualMachinePowerStatePoweredOff,
	}
	for done := 0; done < changes; {
		for _, entity := range simulator.Map.All("VirtualMachine") {
			vm, ok := entity.(*simulator.VirtualMachine)
			if !ok || done == changes {
				continue
			}
			// Each change is another than the VM's last one.
			state := states[0]
			if vm.Runtime.PowerState == state {
				state = states[1]
			}
			simulator.Map.WithLock(vm, func() {
				simulator.Map.Update(vm, []types.PropertyChange{{Name: "runtime.powerState", Val: state}})
			})
			done++
		}
	}
}

// removeHost takes a host out of the inventory while others still point at it.
func removeHost(name string) {
	for _, entity := range simulator.Map.All("HostSystem") {
		if host, ok := entity.(*simulator.HostSystem); ok && host.Name == name {
			simulator.Map.Remove(host.Self)
		}
	}
}

// What there is to know of a VM without asking the API.
type vmState struct {
	Host  string            `json:"host"`
	Power string            `json:"power"`
	ID    string            `json:"id"`
	Marks map[string]string `json:"marks"`
	Files []string          `json:"files"`
}

// allVMs returns all VMs by name; of two with one name, one.
func allVMs() map[string]vmState {
	states := map[string]vmState{}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		if vm, ok := entity.(*simulator.VirtualMachine); ok {
			simulator.Map.WithLock(vm, func() { states[vm.Name] = stateOf(vm) })
		}
	}
	return states
}

func stateOf(vm *simulator.VirtualMachine) vmState {
	state := vmState{
		Power: string(vm.Runtime.PowerState), ID: vm.Config.InstanceUuid,
		Marks: map[string]string{}, Files: []string{},
	}
	if host := hostOf(vm.Runtime.Host); host != nil {
		state.Host = host.Name
	}
	for _, option := range vm.Config.ExtraConfig {
		value := option.GetOptionValue()
		if text, ok := value.Value.(string); ok && text != "" && strings.HasPrefix(value.Key, "metier.") {
			state.Marks[value.Key] = text
		}
	}
	for _, device := range vm.Config.Hardware.Device {
		if backing, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			state.Files = append(state.Files, backing.GetVirtualDeviceFileBackingInfo().FileName)
		}
	}
	return state
}

// A versionKeeper gives a VM's configuration another version with each change, as real hosts do.
type versionKeeper struct{ last int64 }

func (k *versionKeeper) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VersionKeeper", Value: "version-keeper"}
}

func (k *versionKeeper) PutObject(mo.Reference) {}

func (k *versionKeeper) RemoveObject(types.ManagedObjectReference) {}

func (k *versionKeeper) UpdateObject(object mo.Reference, changes []types.PropertyChange) {
	vm, ok := object.(*mo.VirtualMachine)
	if !ok || vm.Config == nil {
		return
	}
	for _, change := range changes {
		if strings.HasPrefix(change.Name, "config") || change.Name == "name" {
			vm.Config.ChangeVersion = fmt.Sprintf("%s-%d",
				time.Now().UTC().Format(time.RFC3339), atomic.AddInt64(&k.last, 1))
			return
		}
	}
}
