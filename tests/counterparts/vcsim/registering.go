package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// Begins the line of a .vmx file in which a whole configuration is kept.
const keptAs = "counterpart.config = "

// A registrar writes a VM's configuration into its .vmx file when the VM is unregistered, and reads it when it is
// registered again, wherever the file was meanwhile: the simulator itself would give a VM that knows nothing.
type registrar struct{}

func (registrar) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Registrar", Value: "registrar"}
}

func (registrar) PutObject(mo.Reference) {}

// RemoveObject writes; only a file that is empty, for that of a VM which could not be registered holds another's.
func (registrar) RemoveObject(ref types.ManagedObjectReference) {
	vm := vmOf(ref)
	if vm == nil || vm.Config == nil {
		return
	}
	file := local(vm.Config.Files.VmPathName)
	if state, err := os.Stat(file); err != nil || state.Size() != 0 {
		return
	}
	text := bytes.Buffer{}
	if xml.NewEncoder(&text).Encode(vm.Config) != nil {
		return
	}
	// In plain words too, for whoever looks into the file.
	plain := fmt.Sprintf("displayName = %q\nmemsize = \"%d\"\nnumvcpus = \"%d\"\nvc.uuid = %q\n",
		vm.Name, vm.Config.Hardware.MemoryMB, vm.Config.Hardware.NumCPU, vm.Config.InstanceUuid)
	kept := keptAs + base64.StdEncoding.EncodeToString(text.Bytes()) + "\n"
	_ = os.WriteFile(file, []byte(plain+kept), 0o600)
}

// UpdateObject reads: the last thing that the simulator does to a VM that it registers is to name it.
func (registrar) UpdateObject(object mo.Reference, changes []types.PropertyChange) {
	if vm := vmOf(object.Reference()); vm != nil && vm.Config != nil && changes[0].Name == "name" {
		recall(vm)
	}
}

// provide makes the files that the simulator wants to see beside a .vmx, named as the VM is: a real host goes by
// what the .vmx says.
func provide(request *types.RegisterVM_Task) {
	file := local(request.Path)
	if _, err := os.Stat(file); err != nil {
		return
	}
	for _, name := range []string{request.Name + ".nvram", "vmware.log"} {
		if other, err := os.OpenFile(filepath.Join(filepath.Dir(file), name), os.O_CREATE, 0o600); err == nil {
			_ = other.Close()
		}
	}
}

func recall(vm *simulator.VirtualMachine) {
	file := local(vm.Config.Files.VmPathName)
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	_, kept, found := strings.Cut(string(text), keptAs)
	if !found {
		return
	}
	content, err := base64.StdEncoding.DecodeString(strings.TrimSpace(kept))
	if err != nil {
		return
	}
	config := types.VirtualMachineConfigInfo{}
	decoder := xml.NewDecoder(bytes.NewReader(content))
	decoder.TypeFunc = types.TypeFunc()
	if decoder.Decode(&config) != nil {
		return
	}
	config.Files, config.Name = vm.Config.Files, vm.Name
	*vm.Config = config
	vm.Summary.Config.InstanceUuid = config.InstanceUuid
	_ = os.Truncate(file, 0)
}
