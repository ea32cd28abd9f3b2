"""`make bench-passes`: passes over the cohort and peak memory of each classical method.

Writes a cohort of shards, normalizes it by every method in a process of its own, and prints one
table; with `--out FILE` the table goes into a page. Passes are reads of all shards, the one that
writes the values included; memory is the process's peak above what it holds before it starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort import content_key, manifest_json, shard_path, write_shard
from levelseq.cohort.shards import ShardReader
from levelseq.normalize import step
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.params import NormalizeParams
from levelseq.store import open_store

_OPTIONS: dict[str, dict[str, Any]] = {
    "svaseq": {"n_surrogates": 2},
    "reference_ratio": {"reference_samples": "material==yes"},
    "within_lane": {"between": "full"},
}
_PAGE = """# Classical methods: passes and memory

Made by `make bench-passes ARGS="--out docs/classical-passes.md"`. A cohort of {samples:,} samples x
{genes:,} genes in {shards} shards; all genes are written. A pass reads every shard once; writing
the values and choosing the variable genes are among them. Memory is the peak of the process above
what it holds with its libraries loaded. "Gene by gene" methods copy the counts to disk in that
order, since they need a gene's whole row; the others hold a shard and tables of batches x genes.

"""


def write_cohort(folder: Path, n_samples: int, n_genes: int, shard: int) -> str:
    """Counts with nested batches, a condition and a reference material, as ingest writes them."""
    rng = np.random.default_rng(0)
    lab = rng.integers(4, size=n_samples)
    obs = pd.DataFrame(
        {
            "site": np.where(lab < 2, "s1", "s2"),
            "lab": [f"l{i}" for i in lab],
            "condition": rng.choice(["case", "control"], n_samples),
            "material": rng.choice(["yes", "no"], n_samples, p=[0.1, 0.9]),
        },
        index=[f"s{i:06d}" for i in range(n_samples)],
    )
    mean = np.exp(rng.normal(4, 1.5, n_genes))
    effect = np.exp(rng.normal(0, 0.4, (4, n_genes)))
    var = pd.DataFrame(
        {
            "in_deposits": 1,
            "in_all_deposits": True,
            "gc": rng.uniform(0.3, 0.7, n_genes),
            "length": rng.integers(300, 9000, n_genes),
        },
        index=pd.Index([f"g{i}" for i in range(n_genes)], name="gene_id"),
    )
    store = open_store(str(folder))
    entries = []
    for number, start in enumerate(range(0, n_samples, shard)):
        rows = slice(start, min(start + shard, n_samples))
        depth = rng.lognormal(0, 0.3, rows.stop - start)[:, None]
        rate = mean * effect[lab[rows]] * depth * rng.gamma(5, 0.2, (len(depth), n_genes))
        counts = sp.csr_matrix(rng.poisson(rate).astype(np.uint32))
        entries.append(
            write_shard(store, shard_path(number), ad.AnnData(counts, obs.iloc[rows], var))
        )
    manifest = {
        "schema": "levelseq.cohort/1",
        "fingerprint": content_key([n_samples, n_genes]),
        "n_obs": n_samples,
        "n_vars": n_genes,
        "dtype": "uint32",
        "batch_tree": ["site", "lab"],
        "roles": {"label": None, "donor": None, "condition": "condition"},
        "shards": entries,
    }
    store.put_if_absent("cohort.json", manifest_json(manifest))
    return str(folder)


def one(method: str, cohort: str, workspace: str) -> dict[str, float]:
    """Passes, peak memory in MB and seconds of one method."""
    passes = 0
    read = ShardReader.__iter__

    def counted(reader: ShardReader) -> Any:
        nonlocal passes
        passes += 1
        return read(reader)

    ShardReader.__iter__ = counted  # type: ignore[method-assign]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    params = NormalizeParams(method=method, output_genes="all", **_OPTIONS.get(method, {}))
    step.run(params, cohort, workspace)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "passes": passes,
        "memory": (peak - before) / 1024,
        "seconds": time.perf_counter() - start,
    }


def table(samples: int, genes: int, shard: int) -> str:
    """The table in markdown, one row a method."""
    lines = ["| method | kind | passes | peak memory, MB | seconds | gene by gene |"]
    lines.append("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder) / "cohort", samples, genes, shard)
        for name, method in CATALOGUE.items():
            command = [sys.executable, __file__, "--one", name, cohort, f"{folder}/W"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["?"])[-1]
                lines.append(f"| `{name}` | {method.kind} | {reason} | | | |")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            lines.append(
                f"| `{name}` | {method.kind} | {found['passes']} | {found['memory']:,.0f} "
                f"| {found['seconds']:.1f} | {'yes' if method.whole else ''} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--shard", type=int, default=250)
    parser.add_argument("--out", default="")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "COHORT", "WORKSPACE"))
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one)))
        return
    made = table(args.samples, args.genes, args.shard)
    if args.out:
        shards = -(-args.samples // args.shard)
        page = _PAGE.format(samples=args.samples, genes=args.genes, shards=shards) + made
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(page, encoding="utf-8")
    else:
        print(made)


if __name__ == "__main__":
    main()
