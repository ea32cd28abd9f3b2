"""Work on shards split into parts that need not know of each other."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WHOLE", "Part", "parts_of"]


@dataclass(frozen=True)
class Part:
    """Every `of`th thing from number `number` on; all of them when `of` is 1.

    A part writes its things and no manifest; the task that follows finds them there.
    """

    number: int = 0
    of: int = 1

    @classmethod
    def read(cls, text: str) -> Part:
        """The part that `1/4` names, the second of four."""
        number, _, of = text.partition("/")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        """`1/4` for the second of four."""
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether nothing is left to others."""
        return self.of == 1

    def has(self, number: int) -> bool:
        """Whether the thing of that number falls to this part."""
        return number % self.of == self.number


WHOLE = Part()


def parts_of(things: int, most: int) -> list[str]:
    """The names of as many parts as there are things, `most` at most and one at least."""
    of = max(1, min(things, most))
    return [str(Part(number, of)) for number in range(of)]
