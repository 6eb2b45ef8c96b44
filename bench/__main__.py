"""`python -m bench [NAME…]`: run the measurements and print a row each; `--json FILE` keeps them."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

NAMES = (
    *(
        "planner",
        "simulation",
        "replacement",
        "store",
        "cli_start",
        "api_list",
        "images",
        "captures",
        "instances",
        "vsphere",
    ),
    "allocator",
)


def main() -> int:
    """Measure what was asked for, all by default."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure against peers and floors in the same run."
    )
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in given.names or NAMES:
        sys.stdout.write(f"\n{name}\n")
        for row in importlib.import_module(f"bench.{name}").run():
            rows.append({"bench": name} | row)
            sys.stdout.write(f"  {_line(row)}\n")
            sys.stdout.flush()
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _line(row: dict[str, Any]) -> str:
    name = row.get("name") or row.get("case") or row.get("subformat") or ""
    rest = "  ".join(f"{key}={value}" for key, value in row.items() if value not in (name, None))
    return f"{name:<56} {rest}"


if __name__ == "__main__":
    sys.exit(main())
