"""The truth beside a study: what was planted, what batches did, who each cell is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.simulate.batches import Batch
from levelseq.simulate.biology import Biology
from levelseq.simulate.cells import CELL_COLUMNS
from levelseq.simulate.deposits import zipped
from levelseq.store import Store

__all__ = ["gene_table", "write_truth"]


def write_truth(
    store: Store, biology: Biology, batches: list[Batch], cells: list[pd.DataFrame]
) -> None:
    """Write `truth/`: `planted.csv`, `cells.csv.gz`, `batch_effects.npz`, `biology.npz`.

    - `planted.csv`: gene, lfc (log2, cases over controls, in all types).
    - `cells.csv.gz`: cell (`<deposit>:<barcode>`), deposit, donor, condition, cell_type.
    - `batch_effects.npz`, natural logs: leaf, path (leaves x levels), gene, cell_type, effect
      (leaves x genes), interaction (leaves x types x genes), depth (of each leaf's library).
    - `biology.npz`, natural logs: gene, base, dispersion, cell_type, type_effect (types x genes),
      donor, donor_effect (donors x genes).
    """
    planted = np.flatnonzero(biology.lfc_G)
    table = pd.DataFrame(
        {"gene": np.array(biology.genes)[planted], "lfc": biology.lfc_G[planted].round(6)}
    )
    store.put("truth/planted.csv", _csv(table))
    named = [
        frame[CELL_COLUMNS].assign(deposit=batch.name, cell=batch.name + ":" + frame.index)
        for batch, frame in zip(batches, cells)
    ]
    whole = pd.concat(named)[["cell", "deposit", *CELL_COLUMNS]]
    store.put("truth/cells.csv.gz", zipped(_csv(whole)))
    store.put("truth/batch_effects.npz", _npz(**_batch_effects(biology, batches)))
    store.put("truth/biology.npz", _npz(**_biology(biology)))


def gene_table(biology: Biology) -> bytes:
    """The CSV that `--genes` reads: gene_id, symbol, gc, length."""
    columns = {
        "gene_id": biology.genes,
        "symbol": biology.genes,
        "gc": biology.gc_G,
        "length": biology.length_G.astype(int),
    }
    return _csv(pd.DataFrame(columns))


def _batch_effects(biology: Biology, batches: list[Batch]) -> dict[str, NDArray[Any]]:
    return {
        "leaf": np.array([batch.name for batch in batches]),
        "path": np.array([batch.path for batch in batches]),
        "gene": np.array(biology.genes),
        "cell_type": np.array(biology.types),
        "effect": np.array([batch.effect_G for batch in batches]),
        "interaction": np.array([batch.interaction_TG for batch in batches], dtype=np.float32),
        "depth": np.array([batch.depth for batch in batches]),
    }


def _biology(biology: Biology) -> dict[str, NDArray[Any]]:
    return {
        "gene": np.array(biology.genes),
        "base": biology.base_G,
        "dispersion": biology.dispersion_G,
        "cell_type": np.array(biology.types),
        "type_effect": biology.type_TG,
        "donor": np.array(biology.donors.names),
        "donor_effect": biology.donors.effect_DG,
    }


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _npz(**arrays: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
