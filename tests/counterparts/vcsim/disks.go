package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func datastoreFolders() map[string]string {
	folders := map[string]string{}
	for _, entity := range simulator.Map.All("Datastore") {
		if ds, ok := entity.(*simulator.Datastore); ok {
			folders[ds.Name] = ds.Info.GetDatastoreInfo().Url
		}
	}
	return folders
}

// local returns where a file of a datastore lies; empty if there is no such datastore.
func local(name string) string {
	var p object.DatastorePath
	if !p.FromString(name) {
		return ""
	}
	folder, ok := datastoreFolders()[p.Datastore]
	if !ok {
		return ""
	}
	return path.Join(folder, p.Path)
}

func extentOf(descriptor, kind string) string {
	return strings.TrimSuffix(descriptor, ".vmdk") + "-" + kind + ".vmdk"
}

func describe(descriptor, createType, extentType, extent, parent string, size int64) error {
	text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\nparentCID=ffffffff\n"+
		"createType=\"%s\"\n%s\n# Extent description\nRW %d %s \"%s\"\n\n# The Disk Data Base\n"+
		"ddb.adapterType = \"lsilogic\"\n", createType, parent, size/512, extentType, path.Base(extent))
	return os.WriteFile(descriptor, []byte(text), 0o600)
}

// fill gives a disk that the simulator made, which is two empty files, its size and, as a child, its content.
// A real host's child holds but differences, in a form of its own; here its extent holds all.
func fill(disk *types.VirtualDisk) error {
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok || local(backing.FileName) == "" || filepath.Ext(backing.FileName) != ".vmdk" {
		return nil
	}
	descriptor, flat := local(backing.FileName), extentOf(local(backing.FileName), "flat")
	size := disk.CapacityInKB * 1024
	if backing.Parent == nil {
		if err := os.Truncate(flat, size); err != nil {
			return err
		}
		return describe(descriptor, "vmfs", "VMFS", flat, "", size)
	}
	delta := extentOf(descriptor, "delta")
	size, err := copyFile(extent(local(backing.Parent.FileName)), delta)
	if err != nil {
		return err
	}
	// The empty file for a flat extent stays: the simulator wants to see one when a disk is attached.
	hint := fmt.Sprintf("parentFileNameHint=\"%s\"", backing.Parent.FileName)
	return describe(descriptor, "vmfsSparse", "VMFSSPARSE", delta, hint, size)
}

// extent returns the file that holds a disk's content.
func extent(descriptor string) string {
	delta := extentOf(descriptor, "delta")
	if _, err := os.Stat(delta); err == nil {
		return delta
	}
	return extentOf(descriptor, "flat")
}

func copyFile(from, to string) (int64, error) {
	source, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer target.Close()
	return io.Copy(target, source)
}

func deleteDisk(name string) types.BaseMethodFault {
	descriptor := local(name)
	if _, err := os.Stat(descriptor); descriptor == "" || err != nil {
		return &types.FileNotFound{FileFault: types.FileFault{File: name}}
	}
	for _, file := range []string{extentOf(descriptor, "delta"), extentOf(descriptor, "flat"), descriptor} {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			return &types.CannotDeleteFile{FileFault: types.FileFault{File: name}}
		}
	}
	return nil
}

// copyDisk copies what the guest sees: the copy of a child stands on nothing.
func copyDisk(from, to string) types.BaseMethodFault {
	source, target := local(from), local(to)
	if _, err := os.Stat(source); err != nil {
		return &types.FileNotFound{FileFault: types.FileFault{File: from}}
	}
	flat := extentOf(target, "flat")
	size, err := copyFile(extent(source), flat)
	if os.IsExist(err) {
		return &types.FileAlreadyExists{FileFault: types.FileFault{File: to}}
	}
	if err != nil || describe(target, "vmfs", "VMFS", flat, "", size) != nil {
		return &types.CannotCreateFile{FileFault: types.FileFault{File: to}}
	}
	return nil
}
