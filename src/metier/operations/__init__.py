"""The verbs an operator has."""

from collections.abc import Mapping
from importlib import import_module

_OVERVIEW = ("overview",)

MODULES: Mapping[str, tuple[str, ...]] = {
    "status": _OVERVIEW,
    "plan": _OVERVIEW,
    "matrix": ("matrix",),
    "apply": ("site",),
    "export-site": ("export",),
    "driver": ("driver_reads",),
    "node": (
        "node_reads",
        "node_explain",
        "nodes",
        "node_engagement",
        "node_power",
        "node_places",
        "driver_reads",
    ),
    "pool": ("pools",),
    "tier": (
        "tier_reads",
        "tier_explain",
        "tiers",
        "tier_states",
        "tier_update",
        "tier_personalize",
        "tier_personality",
    ),
    "image": (
        "image_reads",
        "image_import",
        "image_inspect",
        "image_capture",
        "image_diff",
        "image_update",
        "image_verify",
        "image_export",
        "images",
    ),
    "alert": ("alerts",),
    "event": ("events",),
    "job": ("jobs",),
    "procedure": ("image_update_reads",),
}
"""The modules that register operations, by the first word of their commands, in the order of the help."""


def load_operations(word: str | None = None) -> None:
    """Fill the registry: with every operation, or at least with those that begin with `word`.

    Nothing registers itself on `import metier.operations`, and a command line that
    says which noun it is about need not pay for the others.  Calling it again does
    nothing; an unknown word loads everything.
    """
    wanted = MODULES.get(word, ()) if word is not None else ()
    for name in wanted or (name for names in MODULES.values() for name in names):
        import_module(f"{__name__}.{name}")
