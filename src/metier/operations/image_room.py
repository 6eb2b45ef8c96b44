"""What was measured of the image matrix, for those operations that show it."""

from typing import Any, Protocol, runtime_checkable

from metier.domain.ids import ImageRef
from metier.operations.registry import Row, View


@runtime_checkable
class Measuring(Protocol):
    """Services that know what the image matrix takes."""

    def matrix(self) -> Row:
        """Return the last measurement; empty if there is none."""


def measured(view: View) -> Row:
    """Return the last measurement of the image matrix; empty if there is none."""
    services: Any = view.services
    return services.matrix() if isinstance(services, Measuring) else {}


def sizes(measurement: Row, ref: ImageRef) -> Row:
    """Return what a version takes by itself, so what its deletion frees, and shares; None if unknown."""
    return {
        "own_bytes": measurement.get("own_bytes", {}).get(str(ref)),
        "shared_bytes": measurement.get("shared_bytes", {}).get(str(ref)),
    }
