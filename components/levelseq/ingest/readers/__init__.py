"""One reader a format: names first, then counts in blocks of observations."""

from __future__ import annotations

from levelseq.ingest.readers import csv, h5ad, tenx_h5, tenx_mtx
from levelseq.ingest.readers.reading import Files, Format, Reading

__all__ = ["FORMATS", "Files", "Format", "Reading"]

FORMATS: dict[str, Format] = {
    "csv": csv.FORMAT,
    "h5ad": h5ad.FORMAT,
    "tenx_mtx": tenx_mtx.FORMAT,
    "tenx_h5": tenx_h5.FORMAT,
}
