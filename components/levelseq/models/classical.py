"""The classical way as a model: frozen size factors, ComBat and principal components.

For bulk samples and small cohorts. It is trained, mapped, judged and adapted as the conditional
VAE is. Shapes: S observations, G variable genes, Z components. A cohort of this kind is small:
its variable genes are held in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.errors import BadInput, BadOption
from levelseq.models.anchors import Anchors
from levelseq.models.label_transfer import LabelTransfer
from levelseq.models.levelled import Levelled, LevelledShard
from levelseq.normalize import combat, log1p_cpm, size_factors
from levelseq.normalize.chunks import Chunk, Chunks, as_dense
from levelseq.normalize.design import Design
from levelseq.normalize.moments import Moments

__all__ = ["ClassicalModel"]

Path = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class ClassicalModel:
    """What a classical fit froze.

    Attributes:
        space: its genes; every one must be in later cohorts.
        tree: its batches; ComBat's are the leaves.
        sizes: size factors' frozen reference.
        levels: ComBat's frozen shifts and scales of the variable genes.
        condition: column that ComBat keeps, or nothing.
        centre_G, loadings_GZ: of the principal components.
        anchors: samples of the fit in the space of the components.
        labels: of the anchors, where the training cohort has labels.
    """

    KIND: ClassVar[str] = "Classical"

    space: GeneSpace
    tree: BatchTree
    sizes: size_factors.SizeFactors
    levels: combat.State
    condition: str
    centre_G: Any
    loadings_GZ: Any
    anchors: Anchors
    labels: LabelTransfer | None = None

    def __repr__(self) -> str:
        return f"{self.KIND}(genes={len(self.space.variable)}, leaves={len(self.tree.leaves)})"

    def levelled(
        self,
        cohort: Cohort,
        reference: Path,
        shards: Sequence[int],
        *,
        interval: bool = False,
        counts: bool = False,
    ) -> Iterator[LevelledShard]:
        """These shards' observations, levelled; samples of an unseen leaf keep its effect."""
        if interval:
            raise BadOption(
                "the classical model has no posterior to draw an interval from",
                where="--interval",
                do="leave it out, or train with --model-class vae",
            )
        if counts:
            raise BadOption(
                "the classical model has no distribution of counts",
                where="--reference-counts",
                do="leave it out, or normalize with --method combat_seq",
            )
        factors_S, x_SG = self.log_values(cohort)
        obs = cohort.obs()
        z_SK = self.covariates(obs)
        codes = self.batch_codes(obs)
        level_SG = self._levelled(x_SG, codes, z_SK)
        places = self.components(level_SG)
        values = self._on_reference(level_SG, z_SK, reference)
        score = self.anchors.support(places)
        starts = cohort.starts()
        for number in shards:
            rows = slice(starts[number], starts[number + 1])
            levelled = Levelled(places[rows], values[rows], score[rows])
            yield LevelledShard(cohort.reader.obs_of(number), factors_S[rows], levelled)

    def log_values(self, cohort: Cohort) -> tuple[Any, Any]:
        """Size factors (S,) and log1p CPM (S, G) of a cohort on the frozen scale.

        Raises:
            BadInput: genes of the fit are missing.
        """
        index = cohort.var().index
        variable = index.get_indexer(pd.Index(self.space.variable))
        scale = index.get_indexer(self.space.table.index)
        if (scale < 0).any():
            missing = self.space.table.index[scale < 0]
            raise BadInput(
                f"{len(missing)} genes of the model are missing, among them "
                + ", ".join(map(str, missing[:3])),
                where=cohort.address,
                do="size factors need every gene: deposit them, or train anew",
            )
        factors_S = size_factors.apply(_chunks(cohort, scale), self.sizes)
        x_SG = sp.vstack([sp.csr_matrix(shard.X)[:, variable] for shard in cohort.shards()])
        library = self.sizes.reference_library
        values = log1p_cpm.values(sp.csr_matrix(x_SG), factors_S, library)
        return factors_S, as_dense(values)

    def components(self, level_SG: Any) -> Any:
        """(S, Z) principal components of levelled values."""
        return ((level_SG - self.centre_G) @ self.loadings_GZ).astype(np.float32)

    def embedding(
        self, cohort: Cohort, obs: pd.DataFrame, rows: Any = None, *, unseen: bool = False
    ) -> Any:
        """(S, Z) principal components; with `unseen` every leaf keeps its effect.

        Args:
            cohort: where the counts are.
            obs: its observations; their leaves may differ from the cohort's own.
            rows: numbers of the observations asked for; None: all.
            unseen: as if no leaf were known.
        """
        x_SG = self.log_values(cohort)[1]
        if not unseen:
            x_SG = self._levelled(x_SG, self.batch_codes(obs), self.covariates(obs))
        return self.components(x_SG if rows is None else x_SG[rows])

    def adapted(self, cohort: Cohort, obs: pd.DataFrame) -> ClassicalModel:
        """This model with the shift and scale of the observations' new leaves.

        Without a new leaf those of the observations' own leaves are estimated again.
        """
        tree = self.tree.with_leaves_of(obs)
        paths = _leaf_paths(tree, obs)
        fitted = [">".join(leaf) for leaf in tree.leaves[len(self.tree.leaves) :]]
        fitted = fitted or sorted(set(paths))
        x_SG, z_SK = self.log_values(cohort)[1], self.covariates(obs)
        codes = Design(paths).batch_codes(fitted)
        rows = codes >= 0
        moments = Moments(len(fitted), x_SG.shape[1], z_SK.shape[1])
        moments.add(x_SG[rows], codes[rows], z_SK[rows])
        levels = _latest(combat.extend(self.levels, moments, fitted))
        return replace(self, tree=tree, levels=levels)

    def to_tensors(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Configuration and arrays, for saving."""
        tensors: dict[str, Any] = {
            "centre_G": self.centre_G,
            "loadings_GZ": self.loadings_GZ,
            **{f"anchors.{name}": value for name, value in vars(self.anchors).items()},
        }
        config = {
            "condition": self.condition,
            "size_factor_method": self.sizes.method,
            "size_factor_scale": self.sizes.scale,
            "size_factor_library": self.sizes.reference_library,
            "size_factor_reference": _plain_fields(self.sizes.reference, "sizes.", tensors),
            "combat": _plain_fields(self.levels, "combat.", tensors),
        }
        return config, tensors

    @classmethod
    def from_tensors(
        cls, config: dict[str, Any], tensors: dict[str, Any], space: GeneSpace, tree: BatchTree
    ) -> ClassicalModel:
        """The model that `to_tensors` described."""
        method = config["size_factor_method"]
        reference = size_factors.METHODS[method](
            **config["size_factor_reference"], **_below("sizes.", tensors)
        )
        facts = dict(config["combat"])
        facts["batches"] = tuple(facts["batches"])
        facts["coding"] = {name: tuple(levels) for name, levels in facts["coding"].items()}
        return cls(
            space,
            tree,
            size_factors.SizeFactors(
                method, reference, config["size_factor_scale"], config["size_factor_library"]
            ),
            combat.State(**facts, **_below("combat.", tensors)),
            config["condition"],
            tensors["centre_G"],
            tensors["loadings_GZ"],
            Anchors(**_below("anchors.", tensors)),
        )

    def batch_codes(self, obs: pd.DataFrame) -> Any:
        """(S,) number of each observation's leaf in ComBat's state, -1 for an unseen one."""
        return Design(_leaf_paths(self.tree, obs)).batch_codes(self.levels.batches)

    def covariates(self, obs: pd.DataFrame) -> Any:
        """(S, K) columns of the condition that ComBat keeps."""
        given = {c: obs[c].astype(str).to_numpy() for c in [self.condition] if c in obs.columns}
        return Design(_leaf_paths(self.tree, obs), given).matrix(self.levels.coding)

    def _levelled(self, x_SG: Any, codes: Any, z_SK: Any) -> Any:
        out = x_SG.copy()
        known = codes >= 0
        out[known] = combat.level(x_SG[known], codes[known], z_SK[known], self.levels)
        return out

    def _on_reference(self, level_SG: Any, z_SK: Any, reference: Path) -> Any:
        """Levelled values moved to where the reference batch's lie, and never below zero.

        Of the root, the mean of all batches, they are there already.
        """
        if not reference:
            return np.maximum(level_SG, 0).astype(np.float32)
        batch = self.levels.batches.index(">".join(reference))
        kept_SG = self.levels.grand_mean_G + z_SK @ self.levels.effect_KG
        scale_G = np.sqrt(self.levels.delta_BG[batch])
        shift_G = self.levels.gamma_BG[batch] * self.levels.sd_G
        moved = (level_SG - kept_SG) * scale_G + shift_G + kept_SG
        adjusted = self.levels.adjusted_BG[batch]
        return np.maximum(np.where(adjusted, moved, level_SG), 0).astype(np.float32)


def _latest(levels: combat.State) -> combat.State:
    """With the last of each batch: one that was estimated again stands in it twice."""
    keep = [n for n, name in enumerate(levels.batches) if name not in levels.batches[n + 1 :]]
    return replace(
        levels,
        batches=tuple(levels.batches[number] for number in keep),
        gamma_BG=levels.gamma_BG[keep],
        delta_BG=levels.delta_BG[keep],
        adjusted_BG=levels.adjusted_BG[keep],
    )


def _leaf_paths(tree: BatchTree, obs: pd.DataFrame) -> list[str]:
    return [">".join(path) for path in tree.paths(obs)]


def _chunks(cohort: Cohort, genes: Any) -> Chunks:
    def read() -> Iterator[Chunk]:
        start = 1
        for shard in cohort.shards():
            # Numbers, since cell ids hold barcodes and messages go to logs.
            numbers = [str(start + i) for i in range(shard.n_obs)]
            yield Chunk(sp.csr_matrix(shard.X)[:, genes], numbers)
            start += shard.n_obs

    return read


def _plain_fields(state: Any, prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """A state's plain fields; its arrays go to `tensors` under the prefix."""
    fields = {item.name: getattr(state, item.name) for item in dataclasses.fields(state)}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    tensors |= {prefix + name: value for name, value in arrays.items()}
    return {name: value for name, value in fields.items() if name not in arrays}


def _below(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
