"""The tree of batches as it is in the study: site > lab > run."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from levelseq.cohort.ordered_levels import positions
from levelseq.errors import BadOption

__all__ = ["ROOT", "BatchTree", "parse_levels"]

Path = tuple[str, ...]
Text = np.ndarray[Any, np.dtype[np.object_]]
Codes = np.ndarray[Any, np.dtype[np.int64]]

ROOT = "root"
"""Stands for the mean of all batches where a batch is named."""


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

    A node is a path from the root, so `run1` of two labs are two nodes. The nodes of an ordered
    level lie along a line, by date or number, below each parent.

    Attributes:
        levels: names of columns.
        leaves: their values.
        ordered: those that lie along a line.
        constant: levels that had one value and were left out: how many of the others stand above
            it, its name and its value. With another value there, `run1` is another `run1`.
    """

    levels: tuple[str, ...]
    leaves: tuple[Path, ...]
    ordered: tuple[str, ...] = ()
    constant: tuple[tuple[int, str, str], ...] = ()

    @classmethod
    def from_obs(cls, obs: pd.DataFrame, levels: list[str] | tuple[str, ...]) -> BatchTree:
        """The tree of the observations' values; leaves sorted."""
        tree = cls(tuple(levels), ())
        return replace(tree, leaves=tuple(sorted(set(tree._distinct_paths(obs)[0]))))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> BatchTree:
        """The tree that `as_json` wrote."""
        leaves = tuple(tuple(leaf) for leaf in content["leaves"])
        ordered, constant = (content.get(name, ()) for name in ("ordered", "constant"))
        return cls(tuple(content["levels"]), leaves, tuple(ordered), tuple(map(tuple, constant)))

    def as_json(self) -> dict[str, Any]:
        """The content of `batch_tree.json`."""
        content: dict[str, Any] = {
            "levels": list(self.levels),
            "leaves": [list(leaf) for leaf in self.leaves],
        }
        own = {"ordered": list(self.ordered), "constant": list(map(list, self.constant))}
        return content | {name: value for name, value in own.items() if value}

    def without_constant_levels(self) -> tuple[BatchTree, list[str]]:
        """The tree without levels that have one value, and the names of those levels."""
        keep = [i for i in range(len(self.levels)) if len({leaf[i] for leaf in self.leaves}) > 1]
        dropped = [i for i in range(len(self.levels)) if i not in keep and self.leaves]
        leaves = sorted({tuple(leaf[i] for i in keep) for leaf in self.leaves})
        constant = [(bisect_left(keep, i), self.levels[i], self.leaves[0][i]) for i in dropped]
        levels = tuple(self.levels[i] for i in keep)
        names = [self.levels[i] for i in dropped]
        return BatchTree(levels, tuple(leaves), constant=tuple(constant)), names

    def in_order_of(self, ordered: tuple[str, ...]) -> BatchTree:
        """This tree with some levels ordered, its leaves along them.

        Raises:
            BadOption: values of such a level are neither all numbers nor all ISO dates.
        """
        leaves = tuple(_along(self.leaves, self.levels, ordered))
        return replace(self, leaves=leaves, ordered=ordered)

    def with_leaves_of(self, obs: pd.DataFrame) -> BatchTree:
        """This tree, with the observations' new leaves behind the old ones."""
        new = set(self._distinct_paths(obs)[0]) - set(self.leaves)
        return replace(self, leaves=(*self.leaves, *_along(new, self.levels, self.ordered)))

    @property
    def all_levels(self) -> list[str]:
        """With those that were left out, from the root down."""
        levels = list(self.levels)
        for above, level, _ in reversed(self.constant):
            levels.insert(above, level)
        return levels

    def paths(self, obs: pd.DataFrame) -> list[Path]:
        """The path of each observation, whether or not the tree has it.

        Where a level that was left out has another value than it had, the values of such levels
        are part of the name below them. Observations without such a column are as they were.

        Raises:
            BadOption: there is no column of a level.
        """
        paths, which = self._distinct_paths(obs)
        return [paths[k] for k in which.tolist()]

    def _distinct_paths(self, obs: pd.DataFrame) -> tuple[list[Path], Codes]:
        """The paths that there are, and (observations,) which of them each one has.

        Two may be equal, where a column holds 1 and '1'.
        """
        missing = [level for level in self.levels if level not in obs.columns]
        if missing:
            raise BadOption(
                f"no column {missing[0]!r} among the observations' columns, and "
                f"{'>'.join(self.levels)} tells the batches apart",
                where="--batch",
                do=f"columns are {', '.join(map(str, obs.columns[:20]))}",
            )
        if not self.levels:
            return [()] * min(len(obs), 1), np.zeros(len(obs), dtype=np.int64)
        told = [level for level in self.all_levels if level in obs.columns]
        rows = obs[told].reset_index(drop=True)
        batches = rows.groupby(told, observed=True, sort=False, dropna=False)
        which = np.asarray(batches.ngroup(), dtype=np.int64)
        distinct = rows.iloc[np.unique(which, return_index=True)[1]]
        columns = [_text(distinct, level) for level in self.levels]
        for above in {above for above, _, _ in self.constant}:
            self._tell_own_last(columns, distinct, above)
        return list(zip(*(column.tolist() for column in columns))), which

    def _tell_own_last(self, columns: list[Text], obs: pd.DataFrame, above: int) -> None:
        """Put other values of the constant levels at one place into the names of a column."""
        constant = [(n, v) for at, n, v in self.constant if at == above and n in obs.columns]
        found = [_text(obs, name) for name, _ in constant]
        differs = np.any([own != value for own, (_, value) in zip(found, constant)], axis=0)
        if not np.any(differs):
            return
        at = min(above, len(columns) - 1)
        # Below the last level they come behind; the value of an ordered one stays the last.
        behind = above > at and self.levels[at] not in self.ordered
        parts = [columns[at], *found] if behind else [*found, columns[at]]
        columns[at] = np.where(differs, [">".join(part) for part in zip(*parts)], columns[at])

    @cached_property
    def nodes(self) -> tuple[tuple[Path, ...], ...]:
        """For each level its nodes, in the order in which the leaves first name them."""
        return tuple(
            tuple(dict.fromkeys(leaf[: i + 1] for leaf in self.leaves))
            for i in range(len(self.levels))
        )

    @cached_property
    def follows(self) -> tuple[tuple[int, ...], ...]:
        """For each level the number of the node that each node follows, -1 where there is none.

        On an ordered level that is the latest earlier one below the same parent, of those that the
        tree had before it: a node that comes later, with a date in between, changes no other's.
        """
        return tuple(
            _latest_earlier(nodes, level) if level in self.ordered else (-1,) * len(nodes)
            for level, nodes in zip(self.levels, self.nodes)
        )

    def node_codes(self, obs: pd.DataFrame) -> Codes:
        """(observations, levels): the node's number on its level, -1 where the tree lacks it.

        A node of an ordered level that the tree lacks has the number of the one that it follows.
        """
        paths, which = self._distinct_paths(obs)
        grown = self.with_leaves_of(obs) if self.ordered else self
        codes = np.empty((len(paths), len(self.levels)), dtype=np.int64)
        for i, nodes in enumerate(grown.nodes):
            number = {node: k for k, node in enumerate(nodes)}
            for k in range(len(self.nodes[i]), len(nodes)):
                before = grown.follows[i][k]
                number[nodes[k]] = number[nodes[before]] if before >= 0 else -1
            codes[:, i] = [number.get(path[: i + 1], -1) for path in paths]
        return codes[which]

    @cached_property
    def leaf_nodes(self) -> Codes:
        """(leaves, levels): the numbers of the nodes on the path to each leaf."""
        return self.node_codes(pd.DataFrame(self.leaves, columns=list(self.levels)))

    def as_unseen(self, node_SL: Codes, levels: int = 1) -> Codes:
        """(S, L): the codes that observations would have if the tree lacked their nodes.

        Args:
            node_SL: codes of nodes that it has.
            levels: of how many levels, the leaves' and those above, it is to lack them.
        """
        codes = node_SL.copy()
        follows = np.array([*self.follows[-levels], -1])
        codes[:, -levels:] = -1
        codes[:, -levels] = follows[node_SL[:, -levels]]
        return codes

    def opens_order(self, leaf: int) -> bool:
        """Whether a leaf is the first of several on an ordered level."""
        return self.follows[-1][leaf] < 0 and leaf in self.follows[-1]

    def stand_in(self, leaf: Path) -> Path:
        """The path of the nodes that a leaf is taken for: its own as far as the tree has them."""
        codes = self.node_codes(pd.DataFrame([leaf], columns=list(self.levels)))[0]
        known = [nodes[code] for nodes, code in zip(self.nodes, codes) if code >= 0]
        return known[-1] if known else ()

    def leaf_codes(self, obs: pd.DataFrame) -> Codes:
        """(observations,): the leaf's number, -1 where the tree lacks it."""
        number = {leaf: k for k, leaf in enumerate(self.leaves)}
        paths, which = self._distinct_paths(obs)
        return np.array([number.get(path, -1) for path in paths], dtype=np.int64)[which]

    def told(self, leaves: Iterable[Path], donor: str | None) -> list[str]:
        """Names of leaves for logs, messages and reports, which hold no donor.

        A level that tells donors apart is left out; what then shares a name is numbered.
        """
        shown = [i for i, level in enumerate(self.levels) if level != donor]
        names = [">".join(leaf[i] for i in shown) for leaf in leaves]
        if len(shown) == len(self.levels):
            return names
        return [f"{name} {k}".strip() for k, name in enumerate(names, start=1)]

    def leaf_name(self, leaf: Path) -> str:
        """The last value where that is unique in the tree, else the whole path; of none 'root'."""
        if not leaf:
            return ROOT
        last = [other[-1] for other in self.leaves]
        return leaf[-1] if last.count(leaf[-1]) <= 1 else ">".join(leaf)

    def find_reference(self, name: str, where: str = "--reference-batch") -> Path:
        """The leaf of a name; the empty path of 'root', the mean of all batches.

        Raises:
            BadOption: no leaf, or several, have that name; the mean of a walk is asked for.
        """
        if name != ROOT:
            return self.find_leaf(name, where, () if self.ordered else (ROOT,))
        if self.ordered:
            raise BadOption(
                f"batches along {self.ordered[0]!r} are a walk, which has no mean",
                where=where,
                do="name a batch",
            )
        return ()

    def codes_of(self, path: Path) -> Codes:
        """(L,): the codes of the nodes on a leaf's path; of the root's, which has none, all -1."""
        if not path:
            return np.full(len(self.levels), -1, dtype=np.int64)
        codes = self.node_codes(pd.DataFrame([path], columns=list(self.levels)))
        return codes.ravel()

    def find_leaf(
        self, name: str, where: str = "--reference-batch", others: Sequence[str] = ()
    ) -> Path:
        """The leaf of a name that `leaf_name` gives, or of a whole path.

        Args:
            name: the last value of one leaf, or its path with `>`.
            where: what names it, for the error.
            others: what else could be named there.

        Raises:
            BadOption: no leaf, or several, have that name.
        """
        found = [leaf for leaf in self.leaves if name in (leaf[-1], ">".join(leaf))]
        if len(found) != 1:
            names = ", ".join([*map(self.leaf_name, self.leaves[:20]), *others])
            raise BadOption(
                f"{name!r} names {len(found) or 'no'} batches",
                where=where,
                do=f"choose one of {names}",
            )
        return found[0]


def _text(obs: pd.DataFrame, level: str) -> Text:
    return obs[level].astype(str).to_numpy(dtype=object)


def _along(leaves: Iterable[Path], levels: Sequence[str], ordered: Sequence[str]) -> list[Path]:
    """Leaves sorted by position on ordered levels, by name on others."""
    leaves = sorted(leaves)
    places: list[dict[str, Any]] = [
        positions([_own_last(leaf[i])[1] for leaf in leaves], level) if level in ordered else {}
        for i, level in enumerate(levels)
    ]
    return sorted(
        leaves,
        key=lambda leaf: [
            (_own_last(value)[0], own[_own_last(value)[1]]) if own else ("", value)
            for own, value in zip(places, leaf)
        ],
    )


def _own_last(value: str) -> tuple[str, str]:
    """The levels above that differ from the tree's, if any, and a value of an ordered level."""
    others, _, own = value.rpartition(">")
    return others, own


def _latest_earlier(nodes: Sequence[Path], level: str) -> tuple[int, ...]:
    place = positions([_own_last(node[-1])[1] for node in nodes], level)
    before: dict[Path, list[tuple[float, int]]] = {}
    follows = []
    for number, node in enumerate(nodes):
        others, own = _own_last(node[-1])
        siblings, at = before.setdefault((*node[:-1], others), []), place[own]
        # Of equal dates the first; a node of the same date is no earlier one.
        k = bisect_left(siblings, (at, -1))
        first = bisect_left(siblings, (siblings[k - 1][0], -1)) if k else 0
        follows.append(siblings[first][1] if k else -1)
        insort(siblings, (at, number))
    return tuple(follows)
