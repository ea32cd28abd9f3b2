"""The tree of batches as it is in the study: site > lab > run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from levelseq.errors import BadOption

__all__ = ["BatchTree", "parse_levels"]

Path = tuple[str, ...]


def parse_levels(text: str) -> list[str]:
    """`site>lab>run` -> [`site`, `lab`, `run`]; an empty text has no levels."""
    levels = [level.strip() for level in text.split(">")] if text.strip() else []
    if any(not level for level in levels) or len(set(levels)) < len(levels):
        raise BadOption(
            f"{text!r} is not a batch tree", where="--batch", do="write it as 'site>lab>run'"
        )
    return levels


@dataclass(frozen=True)
class BatchTree:
    """Levels from the root down, and every leaf as the path of its values.

    A node is a path from the root, so `run1` of two labs are two nodes.
    """

    levels: tuple[str, ...]
    leaves: tuple[Path, ...]

    @classmethod
    def from_obs(cls, obs: pd.DataFrame, levels: list[str] | tuple[str, ...]) -> BatchTree:
        """The tree of the observations' values; leaves sorted."""
        return cls(tuple(levels), tuple(sorted(set(_paths(obs, levels)))))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> BatchTree:
        """The tree that `as_json` wrote."""
        return cls(tuple(content["levels"]), tuple(tuple(leaf) for leaf in content["leaves"]))

    def as_json(self) -> dict[str, Any]:
        """The content of `batch_tree.json`."""
        return {"levels": list(self.levels), "leaves": [list(leaf) for leaf in self.leaves]}

    def without_constant_levels(self) -> tuple[BatchTree, list[str]]:
        """The tree without levels that have one value, and the names of those levels."""
        keep = [i for i in range(len(self.levels)) if len({leaf[i] for leaf in self.leaves}) > 1]
        dropped = [level for i, level in enumerate(self.levels) if i not in keep]
        leaves = sorted({tuple(leaf[i] for i in keep) for leaf in self.leaves})
        return BatchTree(tuple(self.levels[i] for i in keep), tuple(leaves)), dropped

    def with_leaves_of(self, obs: pd.DataFrame) -> BatchTree:
        """This tree, with the observations' new leaves behind the old ones."""
        new = sorted(set(_paths(obs, self.levels)) - set(self.leaves))
        return BatchTree(self.levels, (*self.leaves, *new))

    def paths(self, obs: pd.DataFrame) -> list[Path]:
        """The path of each observation, whether or not the tree has it."""
        return _paths(obs, self.levels)

    @cached_property
    def nodes(self) -> tuple[tuple[Path, ...], ...]:
        """For each level its nodes, in the order in which the leaves first name them."""
        return tuple(
            tuple(dict.fromkeys(leaf[: i + 1] for leaf in self.leaves))
            for i in range(len(self.levels))
        )

    def node_codes(self, obs: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(observations, levels): the node's number on its level, -1 where the tree lacks it."""
        paths = _paths(obs, self.levels)
        codes = np.empty((len(paths), len(self.levels)), dtype=np.int64)
        for i, nodes in enumerate(self.nodes):
            number = {node: k for k, node in enumerate(nodes)}
            codes[:, i] = [number.get(path[: i + 1], -1) for path in paths]
        return codes

    def leaf_codes(self, obs: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(observations,): the leaf's number, -1 where the tree lacks it."""
        number = {leaf: k for k, leaf in enumerate(self.leaves)}
        return np.array([number.get(path, -1) for path in _paths(obs, self.levels)], dtype=np.int64)

    def leaf_name(self, leaf: Path) -> str:
        """The last value where that is unique in the tree, else the whole path."""
        last = [other[-1] for other in self.leaves]
        return leaf[-1] if last.count(leaf[-1]) <= 1 else ">".join(leaf)

    def find_leaf(self, name: str, where: str = "--reference-batch") -> Path:
        """The leaf of a name that `leaf_name` gives, or of a whole path.

        Args:
            name: the last value of one leaf, or its path with `>`.
            where: what names it, for the error.

        Raises:
            BadOption: no leaf, or several, have that name.
        """
        found = [leaf for leaf in self.leaves if name in (leaf[-1], ">".join(leaf))]
        if len(found) != 1:
            names = ", ".join(self.leaf_name(leaf) for leaf in self.leaves[:20])
            raise BadOption(
                f"{name!r} names {len(found) or 'no'} batches",
                where=where,
                do=f"choose one of {names}",
            )
        return found[0]


def _paths(obs: pd.DataFrame, levels: list[str] | tuple[str, ...]) -> list[Path]:
    missing = [level for level in levels if level not in obs.columns]
    if missing:
        raise BadOption(
            f"no column {missing[0]!r} among the observations' columns",
            where="--batch",
            do=f"columns are {', '.join(map(str, obs.columns[:20]))}",
        )
    if not levels:
        return [()] * len(obs)
    return list(zip(*(obs[level].astype(str) for level in levels)))
