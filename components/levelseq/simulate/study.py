"""Drawing a study and writing it: deposits with their sheet, and the truth beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort import manifest_json
from levelseq.errors import BadOption
from levelseq.progress import stage
from levelseq.simulate.batches import Batch, draw_later, draw_main
from levelseq.simulate.biology import Biology, draw_biology
from levelseq.simulate.cells import cells_per_deposit, draw_cells, draw_counts
from levelseq.simulate.deposits import FORMATS, format_deposit
from levelseq.simulate.effects import Effects, effects, effects_digest
from levelseq.simulate.params import SimulateParams
from levelseq.simulate.randomness import generator
from levelseq.simulate.tree import StudyTree
from levelseq.simulate.truth import gene_table, write_truth
from levelseq.store import Store, join, open_store

__all__ = ["SHEET", "write"]

SHEET = "deposits.csv"
_SCHEMA = "levelseq.study/1"
_ABSENT_GENES = 0.015
"""Share of the genes that one deposit's annotation lacks."""


class _Planned(NamedTuple):
    """A deposit to write: its batch, its number of cells, the genes that its annotation has."""

    batch: Batch
    n_cells: int
    has_G: NDArray[np.bool_]


class _Study(NamedTuple):
    params: SimulateParams
    table: Effects
    biology: Biology


def write(params: SimulateParams, out: str) -> str:
    """Write a study below an address, deposit after deposit, and give its sheet's address.

    A study that is there already is left as it is. Later deposits go to `later/1/` onwards, each
    with a sheet and a truth of its own; they change nothing of the main study.

    Raises:
        BadOption: another study is at the address.
        StoreUnavailable: the store did not answer.
    """
    table = effects()
    main = params.of_main_study()
    study = _Study(main, table, draw_biology(main, table))
    _write_part(study, {}, open_store(out), _plan_main(study))
    for number in range(1, params.later + 1):
        batch = draw_later(params, table, study.biology, number)
        n_cells = main.cells // StudyTree.parse(main.tree).n_leaves
        planned = _Planned(batch, n_cells, np.ones(main.genes, dtype=np.bool_))
        own = {"number": number, "later_seed": params.later_seed, "drift": params.drift}
        _write_part(study, own, open_store(join(out, f"later/{number}")), [planned])
    return join(out, SHEET)


def _plan_main(study: _Study) -> list[_Planned]:
    """The study's deposits; one of several lacks a few scarce genes, none of them planted."""
    params, biology = study.params, study.biology
    batches = draw_main(params, study.table, biology)
    has_LG = np.ones((len(batches), params.genes), dtype=np.bool_)
    if len(batches) > 1:
        rng = generator(params.seed, "absent genes")
        scarce = biology.base_G <= np.quantile(biology.base_G, 0.25)
        absent = rng.choice(
            np.flatnonzero(scarce & (biology.lfc_G == 0)),
            round(_ABSENT_GENES * params.genes),
            replace=False,
        )
        has_LG[rng.integers(len(batches)), absent] = False
    sizes = cells_per_deposit(params)
    return [_Planned(*planned) for planned in zip(batches, sizes.tolist(), has_LG)]


def _write_part(
    study: _Study, later: dict[str, float], store: Store, deposits: list[_Planned]
) -> None:
    """Write some deposits, their truth and, last, their sheet; nothing if the sheet is there."""
    _claim(store, study.params, later)
    if store.exists(SHEET):
        return
    rows, cells = [], []
    for planned in deposits:
        row, frame = _write_deposit(study, store, planned)
        rows.append(row)
        cells.append(frame)
    write_truth(store, study.biology, [planned.batch for planned in deposits], cells)
    store.put("genes.csv", gene_table(study.biology))
    sheet = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    store.put(SHEET, sheet.encode())
    stage(
        "simulate",
        "later deposit written" if later else "study written",
        deposits=len(deposits),
        cells=sum(map(len, cells)),
        genes=study.params.genes,
    )


def _claim(store: Store, params: SimulateParams, later: dict[str, float]) -> None:
    """Put the study's params, or see that the address holds no other study."""
    name = "truth/params.json"
    content = {
        "schema": _SCHEMA,
        "params": params.model_dump(),
        "effects_sha256": effects_digest(),
        **({"later": later} if later else {}),
    }
    ours = manifest_json(content)
    if not store.put_if_absent(name, ours) and store.get(name) != ours:
        raise BadOption(
            "holds another study", where=store.address, do="choose an empty folder for --out"
        )


def _write_deposit(
    study: _Study, store: Store, planned: _Planned
) -> tuple[dict[str, str], pd.DataFrame]:
    """Write one deposit; its row of the sheet and its cells."""
    params, table, biology = study
    batch, n_cells, has_G = planned
    cells = draw_cells(params, biology, batch, n_cells)
    counts = draw_counts(params, table, biology, batch, cells)[:, np.flatnonzero(has_G)]
    genes = [gene for gene, has in zip(biology.genes, has_G) if has]
    style = FORMATS[batch.number % len(FORMATS)]
    deposit = format_deposit(style, batch.name, counts, cells, genes)
    for path, content in deposit.files.items():
        store.put(path, content)
    levels = dict(zip(StudyTree.parse(params.tree).levels, batch.path))
    return {"address": deposit.address, "metadata": deposit.metadata, **levels}, cells
