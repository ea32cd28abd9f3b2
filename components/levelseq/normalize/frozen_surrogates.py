"""Surrogates of new samples as `sva::fsva` finds them (Parker, Corrada Bravo & Leek 2014).

Both ways look at more than one sample: `exact` decomposes the fit's samples and a new one together,
so it needs the fit's values; `fast` projects, then gives the new samples as a group mean 0 and
length 1, so it needs several. `surrogate_variables.surrogates` projects without either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Matrix, as_dense, checked
from levelseq.normalize.surrogate_state import State

__all__ = ["exact", "fast", "removed"]

F64 = NDArray[np.float64]

_SAME = 1e-12


def fast(new_SG: Matrix, state: State) -> F64:
    """(S, V): `fsva(method="fast")$newsv` of two new samples or more.

    Raises:
        BadInput: one sample, samples that are all alike, NaN, or other genes than in the fit.
    """
    new_SG = _checked(new_SG, state, "new samples")
    found_SV = (new_SG - state.mean_G) @ state.loading_GV
    found_SV -= found_SV.mean(axis=0)
    spread_V = found_SV.std(axis=0, ddof=1) if len(found_SV) > 1 else np.zeros(state.n_surrogates)
    if (spread_V <= _SAME).any():
        raise BadInput(
            f"{len(found_SV)} new samples do not differ, and fast scales by how they do",
            where="new samples",
            do="use exact, or surrogate_variables.surrogates",
        )
    return np.asarray(found_SV / spread_V / np.sqrt(len(found_SV)))


def exact(reference_SG: Matrix, new_SG: Matrix, state: State) -> F64:
    """(S, V): `fsva(method="exact")$newsv`; each new sample apart.

    Args:
        reference_SG: the fit's values.
        new_SG: values of new samples.
        state: of method irw or supervised.

    Raises:
        BadInput: NaN, other genes or other samples than in the fit.
        BadOption: the fit was of method two-step, whose surrogates have no common weights.
    """
    if state.method == "two-step":
        raise BadOption("two-step has no exact surrogates of new samples", where="method")
    reference_SG = _checked(reference_SG, state, "reference")
    new_SG = _checked(new_SG, state, "new samples")
    if len(reference_SG) != len(state.surrogate_SV):
        raise BadInput(
            f"has {len(reference_SG)} samples, the fit had {len(state.surrogate_SV)}",
            where="reference",
        )
    used_G = state.weight_G != 0
    weight_G, mean_G = state.weight_G[used_G], state.mean_G[used_G]
    reference_SG = (reference_SG[:, used_G] - mean_G) * weight_G
    new_SG = (new_SG[:, used_G] - mean_G) * weight_G
    n = len(reference_SG)
    gram_SS = np.empty((n + 1, n + 1))
    gram_SS[:n, :n] = reference_SG @ reference_SG.T
    out = np.empty((len(new_SG), state.n_surrogates))
    for i, new_G in enumerate(new_SG):
        gram_SS[:n, n] = gram_SS[n, :n] = reference_SG @ new_G
        gram_SS[n, n] = new_G @ new_G
        out[i] = _last(gram_SS, state.surrogate_SV)
    return out


def removed(new_SG: Matrix, new_SV: F64, state: State) -> F64:
    """(S, G): values less what their surrogates account for; `fsva(...)$new`."""
    return np.asarray(_checked(new_SG, state, "new samples") - new_SV @ state.effect_GV.T)


def _last(gram_SS: F64, surrogate_SV: F64) -> F64:
    """(V,): the last sample's entry of the leading vectors, which have the fit's signs."""
    centred_SS = gram_SS - gram_SS.mean(axis=0)
    centred_SS -= centred_SS.mean(axis=1, keepdims=True)
    n_surrogates = surrogate_SV.shape[1]
    vectors: F64 = np.linalg.eigh((centred_SS + centred_SS.T) / 2)[1]
    vector_SV = vectors[:, ::-1][:, :n_surrogates]
    beside_SV = vector_SV[:-1] - vector_SV[:-1].mean(axis=0)
    sign_V: F64 = np.sign((beside_SV * (surrogate_SV - surrogate_SV.mean(axis=0))).sum(axis=0))
    return np.asarray(vector_SV[-1] * sign_V, dtype=np.float64)


def _checked(x_SG: Matrix, state: State, name: str) -> F64:
    values_SG = as_dense(checked(x_SG, counts=False))
    n_genes = len(state.mean_G)
    if values_SG.shape[1] != n_genes:
        raise BadInput(f"has {values_SG.shape[1]} genes, the fit had {n_genes}", where=name)
    return values_SG
