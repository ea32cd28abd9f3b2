"""One run of bench-scale in a process of its own: `scale_run.py COHORT WARM_UP OUT THROUGH`.

Size factors, vst() and ComBat of a cohort, its condition kept. THROUGH is `step`, the normalize
step as the command line runs it (it also ranks variable genes), or `functions`, the streaming
functions alone. OUT is where values are written; `-` drops them. The warm-up cohort goes first,
so that no kernel is compiled on the clock. The last line printed is JSON: seconds of reading (in
the shards' iterator), writing (in `write_shard`) and computing (all the rest), and the peak
memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anndata as ad
import numpy as np

os.environ.setdefault("LEVELSEQ_QUIET", "1")

from levelseq import cohort as cohorts
from levelseq.cohort import shards
from levelseq.errors import BadInput
from levelseq.store import open_store

CLOCK: Counter[str] = Counter()
_PIECE = 2048


def time_shards(dropped: bool) -> None:
    """Put clocks on reading and writing, before anything takes hold of them."""
    read, write = shards.ShardReader.__iter__, shards.write_shard

    def timed_read(self: shards.ShardReader) -> Iterator[ad.AnnData]:
        CLOCK["passes"] += 1
        rest = read(self)
        while True:
            start = time.perf_counter()
            shard = next(rest, None)
            CLOCK["reading"] += time.perf_counter() - start
            if shard is None:
                return
            yield shard

    def timed_write(store: Any, path: str, shard: ad.AnnData) -> dict[str, Any]:
        if dropped:
            return {"path": path, "n_obs": shard.n_obs, "sha256": ""}
        start = time.perf_counter()
        entry = write(store, path, shard)
        CLOCK["writing"] += time.perf_counter() - start
        return entry

    shards.ShardReader.__iter__ = timed_read
    shards.write_shard = cohorts.write_shard = timed_write


def through_step(address: str, out: str) -> None:
    """`levelseq normalize --cohort --method combat --values vst --output-genes all`."""
    from levelseq.normalize import step
    from levelseq.normalize.params import NormalizeParams

    for sizes in ("median_of_ratios", "poscounts"):
        params = NormalizeParams.checked(
            method="combat", values="vst", size_factors=sizes, output_genes="all"
        )
        try:
            step.run(params, address, out)
            return
        except BadInput:
            if sizes == "poscounts":
                raise


def through_functions(address: str, out: str) -> None:
    """The same by the streaming functions, in pieces of a shard."""
    from levelseq.normalize import combat, median_of_ratios, poscounts, vst
    from levelseq.normalize.chunks import Chunk, dense_rows
    from levelseq.normalize.design import Design, check_design
    from levelseq.normalize.moments import Moments

    cohort = cohorts.open_cohort(address)
    obs, n_genes = cohort.obs(), int(cohort.manifest["n_vars"])
    store = open_store(out)

    def chunks() -> Iterator[Chunk]:
        start = 0
        for shard in cohort.shards():
            yield Chunk(shard.X, [str(start + i) for i in range(shard.n_obs)])
            start += shard.n_obs

    def blocks() -> Iterator[tuple[slice, np.ndarray]]:
        start = 0
        for chunk in chunks():
            for rows, x_SG in dense_rows(chunk.x_SG):
                here = slice(start + rows.start, start + rows.stop)
                yield here, vst.apply(x_SG, size_factor_S[here], state)
            start += chunk.x_SG.shape[0]

    try:
        size_factor_S = median_of_ratios.fitted(chunks).native_S
    except BadInput:
        size_factor_S = poscounts.fitted(chunks).native_S
    lap("size factors")
    state = vst.fit_streamed(chunks, size_factor_S, n_genes=1000)
    lap("vst() fit")
    design = Design(
        obs["batch"].astype(str).tolist(), {"condition": obs["condition"].astype(str).to_numpy()}
    ).checked(len(obs))
    names, coding = check_design(design)
    batch_S, z_SK = design.batch_codes(names), design.matrix(coding)
    moments = Moments(len(names), n_genes, z_SK.shape[1])
    for here, values_SG in blocks():
        moments.add(values_SG, batch_S[here], z_SK[here])
    levelling = combat.fit_moments(moments, names, coding)
    lap("ComBat fit")
    piece: list[np.ndarray] = []
    number = rows = 0
    for here, values_SG in blocks():
        leveled = combat.level(values_SG, batch_S[here], z_SK[here], levelling)
        piece.append(leveled.astype(np.float32))
        rows += len(leveled)
        if rows >= _PIECE or here.stop == len(obs):
            x_SG = np.concatenate(piece)
            entry = ad.AnnData(X=x_SG, obs=obs.iloc[here.stop - rows : here.stop])
            shards.write_shard(store, shards.shard_path(number), entry)
            piece, number, rows = [], number + 1, 0
    lap("values")


def lap(stage: str) -> None:
    """Computing seconds since the last lap, by stage."""
    now = time.perf_counter()
    away = CLOCK["reading"] + CLOCK["writing"]
    if stage:
        CLOCK[f"stage {stage}"] += now - CLOCK["last"] - (away - CLOCK["away"])
    CLOCK["last"], CLOCK["away"] = now, away


def main() -> None:
    """Warm up, run, print."""
    address, warm_up, out, through = sys.argv[1:]
    time_shards(dropped=out == "-")
    run: Callable[[str, str], None] = {"step": through_step, "functions": through_functions}[
        through
    ]
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        run(warm_up, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        CLOCK.clear()
        start = time.perf_counter()
        CLOCK["last"] = start
        run(address, folder if out == "-" else out)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {name: CLOCK[name] for name in ("reading", "writing", "passes")}
    found["computing"] = seconds - found["reading"] - found["writing"]
    found |= {name: CLOCK[name] for name in CLOCK if name.startswith("stage ")}
    print(json.dumps(found | {"peak_gb": peak * 1024 / 1e9, "warm_gb": before * 1024 / 1e9}))


if __name__ == "__main__":
    main()
