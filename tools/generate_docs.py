"""Writes docs/reference/ anew from the code and the tests; with --check, only says what is stale."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Write the pages, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    checking = parser.parse_args().check
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tools.docs.places import REFERENCE
    from tools.docs.reference import faults, pages, stale, write

    unproved = faults()
    for fault in unproved:
        print(f"error: {fault}", file=sys.stderr)
    wanted = pages()
    if not checking:
        for name in write(REFERENCE, wanted):
            print(f"docs/reference/{name}")
        return 1 if unproved else 0
    found = stale(REFERENCE, wanted)
    for name in found:
        print(f"docs/reference/{name}: error: stale, run: make docs", file=sys.stderr)
    return 1 if found or unproved else 0


if __name__ == "__main__":
    sys.exit(main())
