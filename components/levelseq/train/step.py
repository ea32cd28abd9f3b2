"""The train step: a cohort's counts and its classical values in, a model out."""

from __future__ import annotations

from pathlib import PurePath

from levelseq.cohort import Cohort, Normalized, open_cohort, open_normalized
from levelseq.cohort.gene_space import GeneSpace
from levelseq.errors import BadInput, BadOption
from levelseq.models.checkpoint import StoreCheckpoints
from levelseq.models.fit import fit_model, write_model
from levelseq.models.processes import joined
from levelseq.models.saving import MODEL
from levelseq.normalize.size_factors import SizeFactors
from levelseq.normalize.state import read_state
from levelseq.store import join, open_store
from levelseq.train.key import chosen_of, model_key
from levelseq.train.params import TrainParams

__all__ = ["run"]


def run(params: TrainParams, cohort: str, normalized: str, workspace: str) -> str:
    """Fit a model to a cohort.

    Started by torchrun, it is one of several processes; the first of them writes.

    Args:
        params: class and sizes.
        cohort: address of the counts.
        normalized: address of a classical method's folder for the same cohort; its variable genes
            and the scale of its size factors are the model's.
        workspace: where `models/<key>/` and `checkpoints/<key>/` are.

    Returns:
        The address of the model; at once when it is there. A killed run goes on from its last
        checkpoint.

    Raises:
        BadInput: no batch level varies, batch and condition cannot be told apart, or a count is
            absurd.
        BadOption: the values are another cohort's.
        BadAddress: no cohort, or no values of a classical method, at the address.
        Retryable: told to stop (SIGTERM); it has saved what it did.
    """
    opened, values = open_cohort(cohort), open_normalized(normalized)
    # By their names: a workspace may have moved.
    if PurePath(values.manifest["cohort"]).name != PurePath(opened.address).name:
        raise BadOption(
            "holds values of another cohort",
            where=f"--normalized {normalized}",
            do=f"normalize {cohort} first",
        )
    key, chosen = model_key(params, cohort, normalized), chosen_of(params)
    folder = join(workspace, "models", key)
    store = open_store(folder)
    checkpoints = StoreCheckpoints(
        open_store(join(workspace, "checkpoints", key)), params.checkpoint_seconds
    )
    with joined() as processes:
        if not processes.of_first(store.exists(MODEL)):
            space, sizes = _frozen(opened, values)
            fitted = fit_model(params, opened, space, sizes, checkpoints, processes)
            if fitted is not None:
                manifest = {
                    "key": key,
                    "params": chosen,
                    "cohort": opened.fingerprint,
                    "parent": None,
                }
                write_model(store, fitted, opened, manifest, params.seed)
        if processes.first:
            checkpoints.remove()
    return folder


def _frozen(cohort: Cohort, normalized: Normalized) -> tuple[GeneSpace, SizeFactors]:
    """The genes and the scale that classical values have fixed."""
    state = read_state(normalized.address)
    sizes = state.size_factors
    if sizes is None:
        raise BadInput(
            "holds no size factors",
            where=normalized.address,
            do="normalize the cohort by a method with size factors",
        )
    space = GeneSpace.of_cohort(cohort, state.genes, state.variable_genes, sizes.reference_library)
    return space, sizes
