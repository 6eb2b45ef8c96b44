"""`/metrics`: the site in figures, for Prometheus; labels are bounded by tiers and fixed words."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metier.domain.fleet import Fleet
from metier.domain.node import Node
from metier.domain.status import STATUSES, status
from metier.domain.tier import Tier
from metier.operations.registry import Controller, View

Figures = Callable[[], Mapping[str, float]]
"""What only the running controller knows, such as `round_seconds`: name to value."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _normal(fleet: Fleet, tier: Tier) -> int:
    return sum(1 for node in _members(fleet, tier) if status(fleet, node) == "normal")


def _members(fleet: Fleet, tier: Tier) -> Iterable[Node]:
    return (fleet.nodes[name] for name in fleet.members(tier.name).values())


_TIER_FIGURES: tuple[tuple[str, str, Callable[[Fleet, Tier], float]], ...] = (
    ("minimum", "Nodes a tier must have.", lambda _, tier: tier.minimum),
    ("target", "Nodes a tier should have.", lambda _, tier: tier.target),
    ("maximum", "Nodes a tier may have.", lambda _, tier: tier.maximum),
    ("allocated", "Nodes a tier has.", lambda fleet, tier: len(fleet.members(tier.name))),
    ("normal", "Nodes of a tier that run and answer.", _normal),
)


class SiteMetrics(Collector):
    """Reads the last finished round whenever it is asked; keeps nothing."""

    def __init__(self, controller: Controller, figures: Figures) -> None:
        self._controller = controller
        self._figures = figures
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text form."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        view = self._controller.view()
        yield from _site(view)
        yield from _tiers(view.fleet)
        for name, value in sorted(self._figures().items()):
            yield GaugeMetricFamily(f"metier_{name}", "Measured by the controller.", value=value)


def _site(view: View) -> Iterator[Metric]:
    fleet = view.fleet
    statuses = Counter(status(fleet, node) for node in fleet.nodes.values())
    counts = {word: statuses.get(word, 0) for word in STATUSES}
    yield _by("metier_nodes", "Nodes by status.", "status", counts)
    places = Counter(node.placement.place.value for node in fleet.nodes.values())
    yield _by("metier_placements", "Nodes by placement.", "placement", places)
    engaged = sum(1 for node in fleet.nodes.values() if not node.engaged)
    yield GaugeMetricFamily("metier_nodes_disengaged", "Nodes withheld from automation.", value=engaged)
    open_alerts = (alert for alert in fleet.alerts.values() if alert.cleared is None)
    severities = Counter(alert.severity.value for alert in open_alerts)
    yield _by("metier_alerts", "Open alerts by severity.", "severity", severities)
    jobs = Counter(job.state.value for job in fleet.jobs.values())
    yield _by("metier_jobs", "Jobs by state.", "state", jobs)
    yield GaugeMetricFamily("metier_images", "Image versions in the matrix.", value=len(fleet.images))
    yield GaugeMetricFamily("metier_generation", "Generation of the Fleet.", value=fleet.generation)
    actions = len(view.plan.actions)
    yield GaugeMetricFamily("metier_plan_actions", "Actions of the last plan.", value=actions)
    waiting = sum(len(reasons) for reasons in view.waiting.values())
    yield GaugeMetricFamily("metier_waiting", "Reasons why something is waited for.", value=waiting)


def _tiers(fleet: Fleet) -> Iterator[Metric]:
    for name, text, figure in _TIER_FIGURES:
        family = GaugeMetricFamily(f"metier_tier_{name}", text, labels=["tier"])
        for tier in fleet.tiers.values():
            family.add_metric([tier.name], figure(fleet, tier))
        yield family
    states = GaugeMetricFamily("metier_tier_state", "1 for the state a tier is in.", labels=["tier", "state"])
    for tier in fleet.tiers.values():
        states.add_metric([tier.name, tier.state.value], 1)
    yield states


def _by(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, count in sorted(counts.items()):
        family.add_metric([word], count)
    return family
