"""Which images are being copied to which hosts now, in words."""

from collections.abc import Mapping

from metier.domain.ids import NodeId
from metier.operations.registry import View


def copying_words(view: View) -> Mapping[NodeId, str]:
    """Return a sentence for each node that waits for a copy, and for each host all that come to it."""
    words: dict[NodeId, list[str]] = {}
    for transfer in view.services.transfers().values():
        for name in (transfer.node, transfer.host):
            words.setdefault(name, []).append(transfer.sentence)
    # Nodes of one host may wait for the same image: said once.
    return {name: "; ".join(dict.fromkeys(sentences)) for name, sentences in words.items()}
