"""The verbs an operator has."""

from importlib import import_module

MODULES = (
    "overview",
    "nodes",
    "node_places",
    "node_engagement",
    "node_power",
    "node_reads",
    "node_explain",
    "pools",
    "tiers",
    "tier_personalize",
    "tier_states",
    "tier_reads",
    "tier_explain",
    "images",
    "image_jobs",
    "image_reads",
    "alerts",
    "events",
    "jobs",
    "site",
)
"""The modules that register operations, in the order that help shows them."""


def load_operations() -> None:
    """Fill the registry; calling it again does nothing.

    Nothing registers itself on `import metier.operations`, so that whoever needs
    only the registry's types does not pay for every verb.
    """
    for name in MODULES:
        import_module(f"{__name__}.{name}")
