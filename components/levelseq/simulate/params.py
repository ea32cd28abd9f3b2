"""What the simulator may be told."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from levelseq.errors import BadOption
from levelseq.parameters import StepParams
from levelseq.simulate.tree import StudyTree

__all__ = ["CELLS_PER_DEPOSIT", "SimulateParams"]

CELLS_PER_DEPOSIT = 20


class SimulateParams(StepParams):
    """A study's size, its batch tree and its condition; every other effect is in the table."""

    cells: int = Field(3000, ge=1, le=10_000_000, description="cells over all deposits")
    genes: int = Field(1500, ge=200, le=60_000, description="genes")
    types: int = Field(6, ge=1, le=100, description="cell types")
    donors: int = Field(8, ge=1, le=10_000, description="donors, each at one node of the top level")
    tree: str = Field(
        "site=2,lab=2,run=2", description="batch tree from the root: level=children of each node"
    )
    batch_sd: float = Field(
        0.35,
        ge=0,
        le=3,
        description="sd over genes of a deposit's batch effect, natural log; all levels together",
    )
    condition_genes: int = Field(60, ge=0, description="genes that the condition changes")
    condition_lfc: float = Field(
        1.0, ge=0, le=10, description="mean size of those changes, log2; their sd is a quarter"
    )
    confounding: float = Field(
        0.0, ge=0, le=1, description="how far condition follows the top level; 1: entirely"
    )
    drift: float = Field(
        0.0,
        ge=0,
        le=10,
        description="technical drift of the later deposits, without any of the last deposit; "
        "1 is another protocol",
    )
    seed: int = Field(0, ge=0, description="same seed and params, same bytes")
    later: int = Field(0, ge=0, le=1000, description="later deposits, each a new leaf of the tree")
    later_seed: int = Field(0, ge=0, description="seed of what is new in the later deposits")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        tree = StudyTree.parse(self.tree)
        if self.cells < CELLS_PER_DEPOSIT * tree.n_leaves:
            raise BadOption(
                f"{self.cells} cells are too few for {tree.n_leaves} deposits",
                where="--cells",
                do=f"at least {CELLS_PER_DEPOSIT} a deposit",
            )
        self._check_donors(tree)
        if self.condition_genes > self.genes // 3:
            raise BadOption(
                f"{self.condition_genes} of {self.genes} genes are too many",
                where="--condition-genes",
                do="at most a third of the genes",
            )
        if self.drift and not self.batch_sd:
            raise BadOption(
                "drift is measured in batch sd, which is 0", where="--drift", do="raise --batch-sd"
            )
        return self

    def _check_donors(self, tree: StudyTree) -> None:
        level, nodes = tree.levels[0], tree.sizes[0]
        if self.confounding and nodes < 2:
            raise BadOption(
                f"condition cannot follow {level!r}, which has one node",
                where="--confounding",
                do="a top level with two or more",
            )
        need = nodes if self.confounding == 1 else 2 * nodes
        if self.donors < need:
            raise BadOption(
                f"{self.donors} donors are too few for {nodes} nodes of {level!r}",
                where="--donors",
                do=f"at least {need}, so that each has both conditions"
                if need > nodes
                else f"at least {need}",
            )

    def of_main_study(self) -> SimulateParams:
        """The params that alone draw the main study, the same for any later deposits."""
        if not self.later:
            return self.model_copy(update={"later_seed": 0})
        return self.model_copy(update={"later": 0, "later_seed": 0, "drift": 0.0})
