"""A proposal in which order to move: waves of some 30 %, those that risk least first.

The first wave is where a team learns, so it takes the small and ready; what is learned
there is used for the next.  It is a proposal: nobody but the people of a site know which
VMs belong together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metier.estate.inventory import EstateVm
from metier.estate.judging import Judgement, Verdict
from metier.estate.sizes import Sizes

# Of all that can be moved; guides to such moves say 20 to 40 %, the rest being one wave more.
_SHARES = (0.3, 0.35)

# Below this, parts of it are not worth a wave of their own.
_WORTH_WAVES = 4

_LARGE_BYTES = 500 << 30
_MANY_DISKS = 4


@dataclass(frozen=True, slots=True)
class Looked:
    """One VM with all that was found out about it; `wave` is 0 where it cannot be moved."""

    vm: EstateVm
    image: str
    judgement: Judgement
    sizes: Sizes
    wave: int = 0


_RISKS: tuple[tuple[Callable[[Looked], int], str], ...] = (
    (lambda one: 4 * len(one.judgement.work), "work to be done first"),
    (
        lambda one: int(one.sizes.copied is None or one.sizes.copied >= _LARGE_BYTES),
        "large, or of unknown size",
    ),
    (lambda one: int(len(one.vm.disks or ()) >= _MANY_DISKS), "many disks"),
    (lambda one: int(len(one.vm.nics or ()) > 1), "several networks"),
    (lambda one: int(one.vm.firmware == "uefi"), "boots by UEFI"),
    (lambda one: int(len(one.judgement.unknown) > 0), "something about it is not known"),
)
"""What makes a move risky, by points; a piece of work counts most, since it may fail by itself."""


def risk(one: Looked) -> int:
    """Return how risky a move is, in points from 0."""
    return sum(points(one) for points, _ in _RISKS)


def risks(one: Looked) -> tuple[str, ...]:
    """Say what makes it so."""
    return tuple(words for points, words in _RISKS if points(one))


def wave_numbers(looked: Sequence[Looked]) -> list[int]:
    """Return the wave of each VM, from 1; 0 for those that cannot be moved."""
    movable = [place for place, one in enumerate(looked) if one.judgement.verdict is not Verdict.NOT_POSSIBLE]
    movable.sort(key=lambda place: _order(looked[place]))
    numbers = [0] * len(looked)
    ends = _ends(len(movable))
    for rank, place in enumerate(movable):
        numbers[place] = 1 + sum(rank >= end for end in ends)
    return numbers


def _order(one: Looked) -> tuple[int, int, str]:
    return risk(one), one.sizes.copied or 0, one.vm.name


def _ends(count: int) -> list[int]:
    """Return at which ranks the first waves end."""
    if count < _WORTH_WAVES:
        return []
    ends, end = [], 0
    for share in _SHARES:
        end += max(round(count * share), 1)
        ends.append(end)
    return ends
