"""Every alert there is: its code, what it means and what to do."""

from typing import NamedTuple

from metier.domain.alert import Severity


class Problem(NamedTuple):
    """One kind of alert."""

    code: str
    severity: Severity
    title: str
    meaning: str
    remedy: str


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO

_ROWS = (
    Problem(
        "tier-below-minimum",
        _CRITICAL,
        "A tier has fewer nodes running than its minimum",
        "The service has less than it needs; the message says what stands in the way.",
        "see `metier tier explain NAME`; add or free nodes, or lower the minimum",
    ),
    Problem(
        "tier-short",
        _WARNING,
        "A tier has fewer nodes than its target and no node fits",
        "Every node in the free pool was passed over; the message counts the reasons.",
        "see `metier tier explain NAME`; add nodes, raise the host tier, or loosen the requirements",
    ),
    Problem(
        "node-failed",
        _CRITICAL,
        "A node has failed",
        "Its services stopped answering, it went off unasked, or its VM is gone.",
        "automation does what the tier's switches allow; see `metier node explain NAME`",
    ),
    Problem(
        "action-refused",
        _WARNING,
        "A device refused what was asked of it",
        "The same request would fail again; the message has the device's own words.",
        "mend the cause on the device; it is tried again after a pause",
    ),
    Problem(
        "vmm-unreachable",
        _CRITICAL,
        "A host's VM manager does not answer",
        "Its guests may still run; nothing can be started or stopped there.",
        "look at the host; `metier node explain NAME` tells what is known",
    ),
    Problem(
        "unfenced",
        _CRITICAL,
        "A slot waits for evidence that its last node is down",
        "Starting it elsewhere could run the same identity twice.",
        "switch the node or its host off, or vouch for it with `metier node attest-off NAME`",
    ),
    Problem(
        "storm",
        _CRITICAL,
        "Too many nodes failed at once; automation stopped replacing",
        "The fault is probably not in the nodes.",
        "find the common cause, then `metier tier resume NAME`",
    ),
    Problem(
        "update-paused",
        _CRITICAL,
        "A roll-out is paused: a slot failed on the new image version",
        "No other slot is moved; the one that failed is left as it is, for somebody to look at.",
        "look at the node, then go on: `metier tier resume NAME`, or back: `metier tier rollback NAME`",
    ),
    Problem(
        "vm-changed",
        _WARNING,
        "A VM's configuration was changed by another tool",
        "The virtual node still shows what it was discovered with.",
        "refresh its host: disengage it, power it off, power it on, engage it",
    ),
    Problem(
        "vm-moved-power",
        _INFO,
        "A VM was started or stopped by another tool",
        "An engaged node is put back; a disengaged one is only reported.",
        "use Metier to start and stop nodes, or disengage the node first",
    ),
    Problem(
        "vm-moved",
        _CRITICAL,
        "A VM was moved to another host by another tool",
        "It stays on that host, for Metier moves no VM; where it runs as a slot, the slot is filled again"
        " once it is down.",
        "move it back with the tool that moved it, or shut it down there and delete it",
    ),
    Problem(
        "host-patched",
        _WARNING,
        "A host's VM manager was patched since its image version was taken into use",
        "The host image says what no longer runs there.  Nothing is done about it, and all goes on as it is.",
        "capture the host image anew as a new version, and put the host tier on it while it is inactive",
    ),
    Problem(
        "host-lacks-permission",
        _WARNING,
        "The account that Metier uses on a host may not do all that it has to",
        "What the message names will be refused there once it is needed.",
        "grant it on the host or its manager; that is seen when VMs are next staged there, or by"
        " `metier node inventory NAME` while the host is in no tier",
    ),
    Problem(
        "power-contradicted",
        _WARNING,
        "A power controller says that a node is off whose VM manager answers",
        "What the power controller says is not believed, and is no evidence for anything.",
        "look at the node's BMC: it may be wired to another machine",
    ),
    Problem(
        "guest-too-small",
        _WARNING,
        "No virtual node has the memory that an image needs",
        "Guests of this image cannot be placed.",
        "offer larger VMs in the host tier's image, or lower the image's minimum memory",
    ),
    Problem(
        "maintenance-failed",
        _WARNING,
        "A node in the maintenance pool did not pass its tests",
        "It stays there with the evidence.",
        "mend it, then `metier node move NAME --to free`",
    ),
    Problem(
        "job-failed",
        _WARNING,
        "A job failed",
        "The message has its error; nothing it began is left behind.",
        "see `metier job show ID`",
    ),
    Problem(
        "image-update-stuck",
        _WARNING,
        "An image update waits for a person",
        "It can go no further by itself; what it made and holds stays until it goes on or is given up.",
        "see `metier procedure list`; then `metier image update NAME --retry`, or `--abort`",
    ),
    Problem(
        "image-damaged",
        _CRITICAL,
        "An image version's bytes have gone bad",
        "It was read again and differs from what was imported or captured; the message says where.",
        "put its tiers on another version, import it again as a new one, and look at that machine's disks",
    ),
    Problem(
        "matrix-low-space",
        _WARNING,
        "A folder of the image matrix has little room left",
        "Imports, captures and roll-outs of new versions may fail; those that exist are not in danger.",
        "delete unused versions, the message names the largest; or add a folder: see `metier matrix`",
    ),
    Problem(
        "matrix-folder-missing",
        _CRITICAL,
        "A folder of the image matrix is not mounted",
        "The image versions in it cannot be put on nodes; nothing of it is removed or counted as lost.",
        "mount its file system; it is found again within a minute",
    ),
    Problem(
        "matrix-unknown-space",
        _WARNING,
        "The image matrix cannot be measured",
        "Its file systems do not answer, or refuse to; how much room there is is not known.",
        "look at the file systems that hold it, above all at those on a network",
    ),
    Problem(
        "plan-rejected",
        _CRITICAL,
        "The checker rejected a plan",
        "A fault in Metier itself: the planner proposed something that must never happen; it was not done.",
        "report it with `metier event list`",
    ),
)

PROBLEMS = {row.code: row for row in _ROWS}
