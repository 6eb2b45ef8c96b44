"""Makes a story that ends badly as short as it can be while it still ends badly in the same way."""

from collections.abc import Callable, Iterator

MOST_TRIES = 600
"""More is no help to a reader who waits."""


def shortest(story: list[str], is_bad: Callable[[list[str]], bool], most: int = MOST_TRIES) -> list[str]:
    """Return a part of `story` that is still bad: no single line of it can be left out or made shorter.

    Args:
        story: A bad story.
        is_bad: Tells a story again; must answer the same each time.
        most: How many stories are told at most; then the shortest so far is returned.
    """
    best, tries = list(story), 0
    size = max(1, len(best) // 2)
    while tries < most:
        for candidate in _simpler(best, size):
            tries += 1
            if is_bad(candidate):
                best = candidate
                break
            if tries >= most:
                break
        else:
            if size == 1:
                return best
            size = max(1, size // 2)
    return best


def _simpler(story: list[str], size: int) -> Iterator[list[str]]:
    """Yield the story without each run of `size` lines, then, at size 1, with shorter times."""
    for start in reversed(range(0, len(story), size)):
        yield story[:start] + story[start + size :]
    if size > 1:
        return
    for number, line in enumerate(story):
        word, _, seconds = line.partition(" ")
        if word == "pass" and int(seconds) > 1:
            yield [*story[:number], f"pass {int(seconds) // 2}", *story[number + 1 :]]
