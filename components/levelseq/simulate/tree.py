"""The batch tree as a study states it: `site=2,lab=2,run=2`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from levelseq.errors import BadOption

__all__ = ["Path", "StudyTree"]

Path = tuple[str, ...]

_LEVEL = re.compile(r"^([a-z][a-z0-9_]*)=([1-9][0-9]{0,4})$")
_TAKEN = {"address", "metadata", "deposit", "barcode", "donor", "condition", "cell_type"}


@dataclass(frozen=True)
class StudyTree:
    """Levels from the root and the number of children of each node above."""

    levels: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> StudyTree:
        """The tree of a text such as `site=2,lab=2,run=2`.

        Raises:
            BadOption: the text is no tree, or a level has the name of another column.
        """
        found = [_LEVEL.match(part.strip()) for part in text.split(",")]
        pairs = [(match.group(1), int(match.group(2))) for match in found if match]
        levels = [level for level, _ in pairs]
        if len(pairs) < len(found) or len(set(levels)) < len(levels):
            raise BadOption(
                f"{text!r} is not a batch tree",
                where="--tree",
                do="write it as 'site=2,lab=2,run=2'",
            )
        if taken := _TAKEN.intersection(levels):
            raise BadOption(
                f"{min(taken)!r} is the name of another column", where="--tree", do="rename it"
            )
        return cls(tuple(levels), tuple(size for _, size in pairs))

    @property
    def n_leaves(self) -> int:
        """The number of leaves, one deposit each."""
        return prod(self.sizes)

    def leaves(self) -> list[Path]:
        """Every leaf as the path of its nodes; nodes are numbered along their level from 1."""
        paths = []
        for number in range(self.n_leaves):
            below, path = self.n_leaves, []
            for level, size in zip(self.levels, self.sizes):
                below //= size
                path.append(f"{level}{number // below + 1}")
            paths.append(tuple(path))
        return paths

    def top_of(self, leaf: int) -> int:
        """The number of the top node that a leaf hangs under, from 0."""
        return leaf // (self.n_leaves // self.sizes[0])

    def later_leaf(self, sibling: int, number: int) -> Path:
        """The `number`-th later leaf (from 1), a new child of the parent of leaf `sibling`."""
        return (*self.leaves()[sibling][:-1], f"{self.levels[-1]}{self.n_leaves + number}")
