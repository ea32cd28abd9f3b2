"""Where peers put the cells of a set, by the functions that score them in bench-integration.

usage: embedding.py FOLDER_OF_integration_peers.py DATA.h5ad METHOD,METHOD OUT.npz
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    """Write one array for each method, rows as in the set."""
    folder, data, methods, out = sys.argv[1:]
    sys.path.insert(0, folder)
    from integration_peers import prepare, run

    adata = prepare(data, "batch", 2000)
    chosen = methods.split(",")
    np.savez(out, **{name: run(name, adata, "batch", "label", 0) for name in chosen})


if __name__ == "__main__":
    main()
