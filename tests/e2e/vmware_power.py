"""A simulated host's power switch, as an operator's command: `on`, `off` or `status`.

It is told where the counterpart takes orders, and a file that is there while the host is off.
"""

import sys
import urllib.request
from pathlib import Path

STATES = {"on": "back", "off": "gone"}


def main(verb: str, control: str, off: Path) -> None:
    """Do what is asked, or print how it is."""
    if verb == "status":
        sys.stdout.write("off\n" if off.exists() else "on\n")
        return
    with urllib.request.urlopen(f"{control}/host?state={STATES[verb]}", timeout=10):
        pass
    if verb == "off":
        off.touch()
    else:
        off.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
