"""What the steps of one call work with: the server, the host, the store, and Metier's VMs there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from metier.domain.errors import Refused, Unavailable
from metier.drivers.hypervisor.vsphere import vms
from metier.drivers.hypervisor.vsphere.aside import Aside, Kept, Memory
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.host import Host, State
from metier.drivers.hypervisor.vsphere.mark import mark_options
from metier.drivers.hypervisor.vsphere.properties import finish
from metier.drivers.hypervisor.vsphere.store import Store
from metier.drivers.hypervisor.vsphere.vmware import vim


class Session:
    """What the steps of one call work with."""

    def __init__(
        self, endpoint: Endpoint, host: Host, state: State, place: Place, attempt: Attempt, memory: Memory
    ) -> None:
        self.endpoint, self.host, self.state = endpoint, host, state
        self.place, self.attempt = place, attempt
        self.store = Store(endpoint, host, place, attempt)
        self.aside = Aside(host, self.store, memory)

    def require_working(self) -> None:
        """Go on only if the host takes new work; raises Unavailable in maintenance mode, until it is out."""
        if self.state.is_maintained:
            raise Unavailable(
                f"cannot {self.attempt.what}: its host is in maintenance mode",
                remedy=f"take {self.place.host or self.place.node} out of maintenance mode",
            )

    def listed(self) -> vms.Listed:
        """Return what VMs the host has now."""
        return vms.list_vms(self.endpoint, self.host, self.place)

    def look_up(self, number: int) -> vms.Vm | None:
        """Return Metier's VM `number` if it is registered; raises Refused if another has its name."""
        return vms.look_up(self.endpoint, self.host, self.place, number)

    def vm(self, number: int) -> vms.Vm:
        """Return it; raises Refused if it is aside, or not there at all."""
        vm = self.look_up(number)
        if vm is None:
            self.require_aside(number)
            raise Refused(
                f"cannot {self.attempt.what}: VM{number} has no configuration file in place: it was shut down"
                " by Metier, which moves it aside",
                remedy="let Metier start it; then shut its guest OS down from inside",
            )
        return vm

    def woken(self, number: int, vm: vms.Vm | None) -> vms.Vm:
        """Return VM `number` ready for work: `vm`, or where that is None, brought back.

        Raises:
            Refused: It is not aside either.
            Unavailable: The host is in maintenance mode.
        """
        kept = self.require_aside(number) if vm is None else None
        self.require_working()
        if kept is not None:
            vm = self.bring_back(number, kept)
        assert vm is not None
        return vm

    def require_aside(self, number: int) -> Kept:
        """Return VM `number`, which is not registered, as it is aside; raises Refused if it is not."""
        kept = self.aside.find(number)
        if kept is None:
            raise Refused(
                f"{self.place.node} has no VM{number} of Metier's",
                remedy="look on the host whether somebody unregistered it, and register it again;"
                " else it is made anew with the host's other VMs",
            )
        return kept

    def bring_back(self, number: int, kept: Kept) -> vms.Vm:
        """Register a VM that is aside again, as it was."""
        ref = self.aside.bring_back(kept)
        vm = vms.read_vm(self.endpoint, ref)
        wanted = self.place.vm_id(self.place.node, number)
        if vm.mark is None or (vm.mark.site, vm.mark.node, vm.number) != (
            self.place.site,
            self.place.node,
            number,
        ):
            raise Refused(
                f"cannot {self.attempt.what}: what lay aside as VM{number} does not carry its mark any more",
                remedy=f"look at the VM {vm.name} on the host, and take it out of the inventory",
            )
        if vm.identity != wanted:
            # A vCenter gives another to a VM whose own it believes to be taken.
            self.reconfigure(vm, instanceUuid=wanted)
            vm = vms.read_vm(self.endpoint, ref)
        self.aside.forget(number)
        return vm

    def begin(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Begin a task that changes something, and return its result when it has ended."""
        self.attempt.begin()
        return finish(self.endpoint, self.attempt, method(*arguments))

    def reconfigure(self, vm: vms.Vm, **changes: Any) -> None:
        """Change a VM's configuration."""
        self.begin(vm.ref.ReconfigVM_Task, vim.vm.ConfigSpec(**changes))

    def switch(self, method: Callable[..., Any], *arguments: Any) -> None:
        """Change a VM's power; that somebody else has done so meanwhile does not count as an error."""
        try:
            self.begin(method, *arguments)
        except vim.fault.InvalidPowerState as fault:
            if fault.existingState != fault.requestedState:
                raise

    def mark(self, vm: vms.Vm, **changes: Any) -> list[Any]:
        """Return the mark of a VM with nothing on it but `changes`."""
        assert vm.mark is not None
        return mark_options(replace(vm.mark, **{"instance": None, "image": "", "facts": {}, **changes}))
