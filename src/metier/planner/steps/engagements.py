"""Ends disengagements whose time is over."""

from metier.domain.actions import EngageNode
from metier.planner.work import Work, about_node


def end_disengagements(work: Work) -> None:
    """Engage every node in scope whose disengagement has reached its end."""
    for node in work.nodes():
        until = node.engagement.until
        if node.engaged or until is None:
            continue
        if until <= work.now:
            why = f"its disengagement by {node.engagement.by} ended"
            work.act(EngageNode(node=node.name, why=why, rule="R-ENGAGE-1", expects=node.generation))
        else:
            work.look_again(about_node(node), until)
