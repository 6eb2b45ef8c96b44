"""The demonstration: Metier's main job on this machine, with real virtual machines, step by step."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from click import echo

from metier.domain.errors import MetierError
from metier.lab.archive import pack_archive
from metier.lab.commands import run
from metier.lab.console import Answer, Console
from metier.lab.controller import LabController
from metier.lab.errors import LabError
from metier.lab.guest import build_guest
from metier.lab.running import DataCentre, LabHere, keep_controller
from metier.lab.state import LabHost
from metier.lab.vmx import VmwareMachine
from metier.lab.waiting import wait_until

VM_MEMORY_MIB = 128
VMS_PER_HOST = 4
GUESTS = 3


@dataclass(slots=True)
class Step:
    """One step of the demonstration, as it went.

    Attributes:
        commands: What an operator would type.
        said: What came of it, in sentences.
        waiting_for: What Metier said it waited for meanwhile.
    """

    title: str
    seconds: float = 0.0
    commands: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    waiting_for: list[str] = field(default_factory=list)


def run_demo(*, keep: bool = False, output: str = "text") -> int:
    """Run the demonstration and return the exit status; with `keep` everything is left running."""
    folder = Path(tempfile.mkdtemp(prefix="metier-demo-"))
    lab = LabHere(folder / "lab", [LabHost("host-1"), LabHost("host-2")])
    controller = LabController(lab, folder / "state")
    demo = Demo(folder, lab, controller, quiet=output == "json")
    try:
        demo.run()
        status = 0
    except MetierError as error:
        echo(f"demo: {error.message}" + (f"; {error.remedy}" if error.remedy else ""), err=True)
        keep, status = False, 1
    except KeyboardInterrupt:
        keep, status = False, 130
    finally:
        if not keep:
            demo.clean_up()
    if output == "json":
        echo(json.dumps({"steps": [asdict(step) for step in demo.steps]}, indent=2))
    else:
        demo.say_goodbye(keep)
    return status


def is_replaced(victim: dict[str, Any], members: list[dict[str, Any]], now: dict[str, Any]) -> bool:
    """Say whether the tier is whole again without the guest that was killed.

    Its VM may be taken once more for the slot: then it runs since another moment.  `victim`
    and `now` are what `node show` said of that VM before and says now.
    """
    normal = [node for node in members if node["status"] == "normal"]
    is_member = victim["name"] in [node["name"] for node in members]
    return len(normal) == GUESTS and (not is_member or now["since"] != victim["since"])


class Demo:
    """The demonstration at work, in a data centre that is not up yet."""

    def __init__(self, folder: Path, centre: DataCentre, controller: LabController, *, quiet: bool) -> None:
        self._folder, self._centre, self._controller, self._quiet = folder, centre, controller, quiet
        self._console = Console(controller.state)
        self._began = time.monotonic()
        self.steps: list[Step] = []

    def run(self) -> None:
        """Do all steps, printing each; raises MetierError at the first that goes wrong."""
        for title, act in (
            ("Two hosts, each with its own VM manager, network and power switch", self._bring_up),
            ("A controller that manages them", self._start_controller),
            ("A VMware archive goes in", self._import_archive),
            ("A host tier: the hosts offer virtual nodes", self._activate_hosts),
            ("A guest tier of three that answers HTTP", self._activate_guests),
            ("The image is changed on a running guest: one command", self._update_image),
            ("The new version goes round the tier while it answers", self._roll_out),
            ("A guest is killed behind the controller's back", self._kill_guest),
            ("The host tier is told to shrink: it waits for its guests", self._shrink),
            ("The forced way: one warning per guest, then replacement", self._force),
        ):
            self._step(title, act)

    def clean_up(self) -> None:
        """Stop and remove everything that the demonstration made."""
        if not self._quiet:
            echo("\nCleaning up …")
        self._controller.stop()
        self._centre.down()
        shutil.rmtree(self._folder)

    def say_goodbye(self, keep: bool) -> None:
        """Print what is left, and how to go on."""
        echo(f"\n{time.monotonic() - self._began:.0f} s in all.")
        if not keep:
            echo("Everything it started is gone again.  `make demo ARGS=--keep` leaves it running.")
            return
        token = json.loads(self._console.type("token", "create", "demo", "-o", "json").output)
        keep_controller(self._folder, self._controller)
        echo(
            f"Left running.  Use it:\n"
            f"  export METIER_STATE={self._controller.state}\n"
            f"  .venv/bin/metier status\n"
            f"  .venv/bin/metier tier list\n"
            f"The API: {self._controller.url}/api/v1/status (token {token['token']})\n"
            f"Take it down: .venv/bin/metier lab down {self._folder}"
        )

    def _step(self, title: str, act: Callable[[Step], None]) -> None:
        step = Step(title)
        self.steps.append(step)
        if not self._quiet:
            echo(f"\n{len(self.steps)}. {title}")
        began = time.monotonic()
        act(step)
        step.seconds = round(time.monotonic() - began, 2)
        if not self._quiet:
            echo(f"   [{step.seconds:.1f} s]")

    def _type(
        self, step: Step, *words: str, program: str = "metier", expect: tuple[int, ...] = (0,)
    ) -> Answer:
        answer = self._console.type(*words, program=program, expect=expect)
        step.commands.append(answer.command)
        if not self._quiet:
            echo(f"   $ {answer.command}")
            for line in answer.output.rstrip().splitlines():
                echo(f"     {line}")
        return answer

    def _say(self, step: Step, sentence: str) -> None:
        step.said.append(sentence)
        if not self._quiet:
            echo(f"   {sentence}")

    # --- the steps

    def _bring_up(self, step: Step) -> None:
        self._centre.up()
        for host in self._centre.hosts:
            self._say(step, f"{host.name} at {host.address}: {host.url}")

    def _start_controller(self, step: Step) -> None:
        self._controller.start()
        self._say(
            step, f"its API listens on {self._controller.url} and on {self._controller.state}/metier.sock"
        )
        for host in self._centre.hosts:
            self._type(step, "node", "add", host.name, *self._centre.node_settings(host.name))
        self._wait(
            lambda: all(node["placement"] == "free" for node in self._nodes()),
            60,
            "the hosts to be inventoried",
        )

    def _import_archive(self, step: Step) -> None:
        disk = self._folder / "guest.raw"
        guest = build_guest(disk)
        self._say(
            step,
            f"built a guest from Linux {guest.kernel_release} and BusyBox: {disk.stat().st_size >> 20} MiB",
        )
        machine = VmwareMachine("web", memory_mib=96)
        archive = pack_archive(disk, self._folder, machine, subformat="twoGbMaxExtentSparse")
        self._say(
            step, f"packed as a VMware archive, tar -zcvf web.tgz *.vm*: {archive.stat().st_size >> 10} KiB"
        )
        self._type(step, "-r", "-i", "web", "-n", "1", "-f", str(archive), "-v", program="ccimport")
        self._type(
            step, "image", "edit", "web@1", "--collector", "http:80/health", "--startup-seconds", "180"
        )
        self._type(step, "image", "list")

    def _activate_hosts(self, step: Step) -> None:
        offer = ["--vms", str(VMS_PER_HOST), "--vm-memory", str(VM_MEMORY_MIB), "--vm-disk", "1"]
        self._type(step, "image", "create", "vmm", "--version", "1", "--type", "vmm-host", *offer)
        self._type(step, "tier", "create", "hosts", "--image", "vmm@1", "--minimum", "1", "--target", "2")
        self._type(step, "tier", "activate", "hosts", "--plan")
        self._type(step, "tier", "activate", "hosts", "--wait", "--timeout", "120")
        self._wait(lambda: len(self._nodes("virtual")) == 2 * VMS_PER_HOST, 60, "the virtual nodes")
        self._type(step, "node", "list")

    def _activate_guests(self, step: Step) -> None:
        addresses = [str(address) for address in self._centre.static_addresses[: GUESTS + 1]]
        self._type(
            step,
            *("tier", "create", "web", "--image", "web@1", "--minimum", "1", "--target", str(GUESTS)),
            *("--maximum", str(GUESTS + 1), "--depends-on", "hosts", "--reboot-on-failure", "off"),
            *("--addresses", f"{addresses[0]}-{addresses[-1]}/{self._centre.prefix_length}"),
        )
        self._type(step, "tier", "activate", "web", "--wait", "--timeout", "240")
        self._type(step, "node", "list", "--tier", "web")
        self._fetch_all(step)

    def _update_image(self, step: Step) -> None:
        address = str(self._centre.static_addresses[-1])
        self._type(step, "image", "update", "web", "--address", f"{address}/{self._centre.prefix_length}")
        self._wait(lambda: self._stage() == "waiting for you", 120, "the guest that is to be changed")
        self._type(step, "procedure", "list")
        for deed in ("cgi-bin/note?changed", "cgi-bin/shutdown"):
            self._say(step, f"inside the guest, at http://{address}/{deed}: {self._fetch(address, deed)}")
        self._wait(lambda: self._stage() == "done", 120, "the new version")
        self._type(step, "image", "list", "--image", "web")

    def _roll_out(self, step: Step) -> None:
        with self._centre.probing([node["address"] for node in self._members()]) as count:
            self._type(step, "tier", "update", "web", "--image", "web@2", "--wait", "--timeout", "240")
        self._fetch_all(step)
        failed = sum(count.failed.values())
        self._say(
            step,
            f"meanwhile {count.requests} requests were sent to the {GUESTS} slots in {count.rounds} rounds: "
            f"{failed} failed, while a slot was changed; rounds in which no slot answered: {count.dark}",
        )

    def _kill_guest(self, step: Step) -> None:
        victim = self._node(self._members()[0]["name"])
        before = self._last_event()
        self._centre.kill_guest(victim["host"], f"metier-{victim['host']}-{victim['vm_slot']}")
        self._say(
            step,
            f"killed the VM of {victim['name']}, slot {victim['slot']} of web, without a word to Metier",
        )
        self._wait(lambda: self._is_replaced(victim), 240, "the replacement", step)
        events = self._console.ask("event", "list", "--after", str(before), "--limit", "200")
        for event in _turning_points(events):
            self._say(step, f"{event['at'][11:23]} {event['subject']}: {event['message']} [{event['by']}]")
        self._type(step, "node", "list", "--tier", "web")
        self._fetch_all(step)

    def _shrink(self, step: Step) -> None:
        self._type(step, "tier", "edit", "hosts", "--target", "1", "--plan")
        self._type(step, "tier", "edit", "hosts", "--target", "1")
        self._wait(lambda: bool(self._tier("hosts")["waiting_for"]), 30, "the tier to say what it waits for")
        step.waiting_for = self._tier("hosts")["waiting_for"]
        for sentence in step.waiting_for:
            self._say(step, f"waiting: {sentence}")

    def _force(self, step: Step) -> None:
        busy = {node["host"] for node in self._members()}
        host = min(busy, key=lambda name: (self._node(name)["active_guests"], name))
        self._type(step, "node", "disengage", host, "--why", "it is needed elsewhere")
        refused = self._type(step, "node", "shutdown", host, expect=(4,))
        for line in refused.errors.strip().splitlines():
            self._say(step, line)
        self._type(step, "node", "shutdown", host, "--accept-warnings", "--wait", "--timeout", "240")
        self._wait(lambda: self._tier("web")["normal"] == GUESTS, 240, "the guests to be replaced", step)
        self._type(step, "node", "engage", host)
        self._wait(lambda: self._tier("hosts")["allocated"] == 1, 60, f"{host} to leave the tier")
        self._type(step, "tier", "list")
        self._type(step, "node", "list")
        self._fetch_all(step)

    # --- looking

    def _nodes(self, kind: str = "physical") -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self._console.ask("node", "list", "--kind", kind)
        return nodes

    def _members(self) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = self._console.ask("node", "list", "--tier", "web")
        return members

    def _node(self, name: str) -> dict[str, Any]:
        node: dict[str, Any] = self._console.ask("node", "show", name)
        return node

    def _tier(self, name: str) -> dict[str, Any]:
        tier: dict[str, Any] = self._console.ask("tier", "show", name)
        return tier

    def _stage(self) -> str:
        return str(self._console.ask("procedure", "show", "1")["stage"])

    def _last_event(self) -> int:
        events = self._console.ask("event", "list", "--limit", "1")
        return int(events[-1]["id"])

    def _is_replaced(self, victim: dict[str, Any]) -> bool:
        members = self._members()
        return is_replaced(victim, members, self._node(victim["name"]))

    def _wait(
        self, question: Callable[[], bool], timeout_s: float, what: str, step: Step | None = None
    ) -> None:
        def ask() -> bool:
            if step is not None:
                for sentence in self._tier("web")["waiting_for"]:
                    if sentence not in step.waiting_for:
                        step.waiting_for.append(sentence)
            return question()

        if not wait_until(ask, timeout_s, every_s=0.5):
            raise LabError(
                f"waited {timeout_s:.0f} s for {what} in vain", remedy=f"see {self._controller.log}"
            )

    def _fetch_all(self, step: Step) -> None:
        for node in self._members():
            page = self._fetch(node["address"])
            self._say(step, f"http://{node['address']}/ on {node['name']} says: {page}")

    def _fetch(self, address: str, path: str = "") -> str:
        program = (
            "import urllib.request as u; "
            f"print(u.urlopen('http://{address}/{path}', timeout=10).read().decode())"
        )
        return " ".join(
            run(self._centre.command_in_site([sys.executable, "-c", program]), timeout_s=30).split()
        )


def _turning_points(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that tell the story of a replacement."""
    telling = (
        "VM",
        "FailNode",
        "ReleaseNode",
        "LiftFence",
        "AllocateNode",
        "PrepareGuest:",
        "StartGuest:",
        "AdvanceNode",
    )
    return [event for event in events if str(event["message"]).startswith(telling)]
