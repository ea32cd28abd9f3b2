"""`make bench-truth`: what levelling does to real bulk sets, by levelseq and by R.

usage: truth.py [SET ...] [--methods NAME ...] [--out FILE]
       SET: rna_mixture, gfrn_signatures, bottomly, airway, pasilla

Prints the page's tables; with --out writes docs/classical-truth.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from truth_methods import METHODS, OWN, RealSet, by_levelseq, by_r, log_cpm, read

SETS = ("rna_mixture", "gfrn_signatures", "bottomly", "airway", "pasilla")
PAGE = """# Classical methods on real bulk sets

Made by `make bench-truth ARGS="--out docs/classical-truth.md"`; numbers are of levelseq. R has the
same methods (DESeq2 {DESeq2}, edgeR {edgeR}, limma {limma}, sva {sva}): the last column is the
largest |a - b| / max(1, |b|) between the two over all values, and a line by R follows where any
number shown differs.

How to read it. **Batch** is the share of a gene's variance that batch explains beside the
condition, corrected for the degrees of freedom (1 - the ratio of mean residual squares with and
without batch), averaged over genes and at least 0; 0 is what chance gives. **Condition** is the
same for the condition beside batch; levelling should leave it or raise it. **Correlation** and
**slope** compare the log fold changes of the condition, estimated from the levelled values as if
there were no batches, with those estimated within batches from the unlevelled values of the same
kind: 1 and 1 mean that the signal is kept and that nothing of the batch is taken for it.
**Genes** is how many differ between conditions at a false discovery rate of 5 % (F-test on the
values as they are, without batch): a test after levelling counts more degrees of freedom than
there are and says too many, so hold it against the first line, where batch is in the model. Where
each batch has every condition equally often (airway) levelling by means cannot change the fold
changes, only the noise around them. Tree ComBat has one level here, since no set nests batches:
it shrinks shifts and scales by itself, without sva's priors.
"""


@dataclass(frozen=True)
class Measured:
    """One line of the table, of one set of values."""

    batch: float
    condition: float
    correlation: float
    slope: float
    genes: int

    def cells(self) -> list[str]:
        """As shown."""
        *shares, genes = astuple(self)
        return [
            *(f"{share:.3f}" for share in shares),
            f"{genes:,}",
        ]


def main() -> None:
    """Print, and write where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder = Path(os.environ.get("SHARED", Path(__file__).parents[3] / "shared")) / "data"
    if not folder.is_dir():
        sys.exit(f"{folder}: the real sets are not here (set SHARED to their parent folder)")
    parts = []
    for name in given.sets:
        parts.append(section(read(folder / f"{name}.h5ad"), given.methods))
        print(parts[-1], flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("\n".join([PAGE.format(**r_versions()), *parts]))


def section(real: RealSet, names: list[str]) -> str:
    """The set's heading and table."""
    lines = [
        f"## {real.name}",
        "",
        f"{len(real.x_SG)} samples, {real.x_SG.shape[1]:,} genes; "
        f"{count(real.batch_S, 'batch', 'batches')}, "
        f"{count(real.condition_S, 'condition', 'conditions')}.",
        "",
        "| values | by | batch | condition | correlation | slope | genes | levelseq - R |",
        "|---|---|---|---|---|---|---|---|",
    ]
    theirs = by_r(real, list(dict.fromkeys(["log_cpm", "vst", *names])))
    # The unlevelled values are R's for both sides.
    starts = {**theirs, "log_counts": np.log1p(real.x_SG)}
    for name in names:
        start_SG = starts[METHODS[name][1]]
        lines += rows(real, name, start_SG, by_levelseq(real, name), theirs.get(name))
    tested = f_test(theirs["log_cpm"], conditions(real), batches(real))
    reference = ["log-CPM (TMM), batch in the model", "both", "", "", "1", "1"]
    lines.insert(6, f"| {' | '.join([*reference, f'{discoveries(tested):,}', ''])} |")
    return "\n".join([*lines, ""])


def rows(
    real: RealSet,
    name: str,
    start_SG: np.ndarray,
    ours: np.ndarray | str,
    theirs: np.ndarray | str | None,
) -> list[str]:
    """Our line, and R's where it says something else."""
    label = METHODS[name][0]
    if isinstance(ours, str):
        lines = [f"| {label} | levelseq | {ours} | | | | | |"]
        shown = None
    else:
        shown = measured(real, name, start_SG, ours).cells()
        wrong = "R has none" if name in OWN else "R fails"
        if isinstance(theirs, np.ndarray):
            wrong = f"{(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))).max():.0e}"
        lines = [f"| {' | '.join([label, 'levelseq', *shown, wrong])} |"]
    if isinstance(theirs, np.ndarray):
        of_r = measured(real, name, start_SG, theirs).cells()
        if of_r != shown:
            lines.append(f"| {' | '.join([label, 'R', *of_r, ''])} |")
    elif theirs is not None:
        lines.append(f"| {label} | R | {theirs} | | | | | |")
    return lines


def measured(real: RealSet, name: str, start_SG: np.ndarray, values_SG: np.ndarray) -> Measured:
    """What the values show against those they start from; whole counts go to log-CPM first."""
    if name == "combat_seq":
        values_SG = log_cpm(np.rint(values_SG).astype(np.int64))
    batch_SK, condition_SK = batches(real), conditions(real)
    within = effects(start_SG, condition_SK, batch_SK)
    across = effects(values_SG, condition_SK, batch_SK[:, :0])
    return Measured(
        share(values_SG, batch_SK, condition_SK),
        share(values_SG, condition_SK, batch_SK),
        float(np.corrcoef(within.ravel(), across.ravel())[0, 1]),
        float((within * across).sum() / (within**2).sum()),
        discoveries(f_test(values_SG, condition_SK, batch_SK[:, :0])),
    )


def share(x_SG: np.ndarray, of_SK: np.ndarray, beside_SK: np.ndarray) -> float:
    """Mean over genes of the variance explained beside others, corrected for its degrees."""
    without, n_without = residual(x_SG, beside_SK)
    whole, n_whole = residual(x_SG, np.column_stack([beside_SK, of_SK]))
    varies = without > 1e-12 * (x_SG**2).sum(axis=0)
    ratio_G = (whole / n_whole)[varies] / (without / n_without)[varies]
    return max(float(1 - ratio_G.mean()), 0.0)


def residual(x_SG: np.ndarray, design_SK: np.ndarray) -> tuple[np.ndarray, int]:
    """(G,): residual squares beside the mean and the design, and their degrees of freedom."""
    q_SK = np.linalg.qr(np.column_stack([np.ones(len(x_SG)), design_SK]))[0]
    left_SG = x_SG - q_SK @ (q_SK.T @ x_SG)
    return (left_SG**2).sum(axis=0), len(x_SG) - q_SK.shape[1]


def effects(x_SG: np.ndarray, of_SK: np.ndarray, beside_SK: np.ndarray) -> np.ndarray:
    """(K, G): coefficients of the first columns beside the others and the mean."""
    design_SK = np.column_stack([of_SK, np.ones(len(x_SG)), beside_SK])
    coefficients: np.ndarray = np.linalg.lstsq(design_SK, x_SG, rcond=None)[0][: of_SK.shape[1]]
    return coefficients


def f_test(x_SG: np.ndarray, of_SK: np.ndarray, beside_SK: np.ndarray) -> np.ndarray:
    """(G,): p values of the first columns beside the others."""
    without, n_without = residual(x_SG, beside_SK)
    whole, n_whole = residual(x_SG, np.column_stack([beside_SK, of_SK]))
    varies = whole > 1e-12 * (x_SG**2).sum(axis=0)
    n_more = n_without - n_whole
    f_G = ((without - whole) / n_more)[varies] / (whole / n_whole)[varies]
    p_G = np.ones(x_SG.shape[1])
    p_G[varies] = stats.f.sf(f_G, n_more, n_whole)
    return p_G


def discoveries(p_G: np.ndarray) -> int:
    """How many are below a false discovery rate of 5 %."""
    return int((stats.false_discovery_control(p_G) < 0.05).sum())


def batches(real: RealSet) -> np.ndarray:
    """(S, K): a column for each batch but the first."""
    return columns(real.batch_S)


def conditions(real: RealSet) -> np.ndarray:
    """(S, K): a column for each condition but the first."""
    return columns(real.condition_S)


def columns(level_S: np.ndarray) -> np.ndarray:
    """(S, K): a column for each level but the first."""
    return np.stack([level_S == level for level in np.unique(level_S)[1:]], axis=1).astype(float)


def count(level_S: np.ndarray, one: str, many: str) -> str:
    """`3 batches (a, b, c)`."""
    levels = sorted(set(level_S))
    return f"{len(levels)} {one if len(levels) == 1 else many} ({', '.join(levels)})"


def r_versions() -> dict[str, str]:
    """Versions of the packages that answered."""
    import subprocess

    names = ("DESeq2", "edgeR", "limma", "sva")
    script = "; ".join(f'cat(as.character(packageVersion("{n}")), "\\n")' for n in names)
    done = subprocess.run(["Rscript", "-e", script], check=True, capture_output=True, text=True)
    return dict(zip(names, done.stdout.split()))


if __name__ == "__main__":
    main()
