"""Changes bytes as a fuzzer does, guided by chance instead of coverage: the same ones for the same seed."""

import random
from collections.abc import Callable, Sequence

# Sizes and counts that trip readers up; written with the highest byte first and last.
_NUMBERS = (0, 1, 2, 7, 8, 9, 16, 127, 128, 255, 256, 511, 512, 4096, 65535, 65536, 1 << 20, 1 << 31, 1 << 32)
_WIDTHS = (1, 2, 4, 8)


class Mutator:
    """Makes inputs out of seeds and words.

    Args:
        seeds: Whole files.
        words: What such files consist of.
        chance: Where all decisions come from.
    """

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> None:
        self._seeds, self._words, self._chance = seeds, words or (b"\0",), chance
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            *(self._put_number,) * 4,
            *(self._flip, self._put_word, self._put_word),
            *(self._cut, self._move, self._remove, self._splice),
        )

    def next(self) -> bytes:
        """Return the next input."""
        data = bytearray(self._chance.choice(self._seeds))
        for _ in range(self._chance.choice((1, 1, 2, 3, 6))):
            self._chance.choice(self._changes)(data)
        return bytes(data)

    def _place(self, data: bytearray) -> int:
        """Return a place, most often one that is in use and near the beginning, where the tables are."""
        most = len(data) if self._chance.random() < 0.3 else min(len(data), 2048)
        for _ in range(8):
            at = self._chance.randrange(most + 1)
            if any(data[at : at + 8]):
                break
        # Fields are aligned as often as not.
        return at & ~3 if self._chance.random() < 0.6 else at

    def _put_number(self, data: bytearray) -> None:
        width, at = self._chance.choice(_WIDTHS), self._place(data)
        number = self._chance.choice(_NUMBERS) + self._chance.choice((0, 0, -1, 1))
        if self._chance.random() < 0.3:
            number = -number
        order: str = self._chance.choice(("big", "little"))
        encoded = (number % (1 << 8 * width)).to_bytes(width, "big")
        data[at : at + width] = encoded if order == "big" else encoded[::-1]

    def _flip(self, data: bytearray) -> None:
        if data:
            data[min(self._place(data), len(data) - 1)] ^= 1 << self._chance.randrange(8)

    def _put_word(self, data: bytearray) -> None:
        word, at = self._chance.choice(self._words), self._place(data)
        length = len(word) if self._chance.random() < 0.5 else 0
        data[at : at + length] = word

    def _cut(self, data: bytearray) -> None:
        del data[self._chance.randrange(len(data) + 1) :]

    def _move(self, data: bytearray) -> None:
        begin, to = self._place(data), self._place(data)
        piece = data[begin : begin + self._chance.choice((4, 8, 32, 512))]
        data[to : to + len(piece)] = piece

    def _remove(self, data: bytearray) -> None:
        at = self._place(data)
        del data[at : at + self._chance.choice((1, 4, 8, 512))]

    def _splice(self, data: bytearray) -> None:
        other, at = self._chance.choice(self._seeds), self._place(data)
        data[at:] = other[at:]
