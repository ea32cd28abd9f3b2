"""The embedding's data as the page carries it: int16 coordinates and codes in base64."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import numpy as np

__all__ = ["MAX_POINTS", "embedding_json"]

MAX_POINTS = 5_000
MISSING = -32768

# Eight hues that stay apart under the common colour blindnesses (after Okabe and Ito, yellow
# darkened and black replaced for both backgrounds); four shapes tell 32 values apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c7bd8", "#a89a00")
REST = "#8b96a3"
SHAPES = (
    "M-1,0A1,1,0,1,0,1,0A1,1,0,1,0,-1,0Z",
    "M0,-1.25L1.15,.85L-1.15,.85Z",
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.3L1.3,0L0,1.3L-1.3,0Z",
)
_KINDS = len(COLOURS) * len(SHAPES)


def embedding_json(panels: dict[str, np.ndarray[Any, Any]], columns: dict[str, list[str]]) -> str:
    """JSON that is safe inside a script element.

    Args:
        panels: name -> (points, 2), all of the same points; at most 5,000.
        columns: name -> one value a point, to colour by.
    """
    n = min(MAX_POINTS, *(len(xy) for xy in panels.values()))
    content = {
        "n": n,
        "shapes": SHAPES,
        **{name: _packed(np.asarray(xy, dtype=np.float64)[:n]) for name, xy in panels.items()},
        "columns": [_column(name, values[:n]) for name, values in columns.items()],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _packed(xy_N2: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Both axes on one scale around the bulk; far outliers lie on the edge."""
    known = np.isfinite(xy_N2).all(axis=1)
    out = np.full(xy_N2.shape, MISSING, dtype="<i2")
    if known.any():
        low, high = np.percentile(xy_N2[known], [0.5, 99.5], axis=0)
        centred = xy_N2[known] - (low + high) / 2
        bulk = float((high - low).max()) / 2
        scaled = centred / max(min(1.4 * bulk, float(np.abs(centred).max())), 1e-12)
        out[known] = np.round(np.clip(scaled, -1, 1) * 32767).astype("<i2")
    return base64.b64encode(out.tobytes()).decode()


def _column(name: str, values: list[str]) -> dict[str, Any]:
    counts = Counter(str(value) for value in values)
    names = sorted(counts)
    if len(names) > _KINDS:
        names = sorted(sorted(counts, key=lambda v: (-counts[v], v))[: _KINDS - 1])
    number = {value: code for code, value in enumerate(names)}
    rest = len(counts) - len(names)
    legend = [
        {
            "name": value,
            "n": counts[value],
            "colour": COLOURS[code % len(COLOURS)],
            "shape": code // len(COLOURS) if len(names) > len(COLOURS) else 0,
        }
        for value, code in number.items()
    ]
    if rest:
        others = sum(counts.values()) - sum(counts[value] for value in names)
        legend.append({"name": f"{rest} others", "n": others, "colour": REST, "shape": 0})
    codes = np.array([number.get(str(value), len(names)) for value in values], dtype=np.uint8)
    return {"name": name, "values": legend, "codes": base64.b64encode(codes.tobytes()).decode()}
