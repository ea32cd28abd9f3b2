"""Train scVI on counts in a file; prints the seconds that some epochs take after a first one.

usage: scvi_speed.py COUNTS.npz BATCHES.npy BATCH_SIZE EPOCHS THREADS (0: its own default)
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import scvi
import torch

warnings.filterwarnings("ignore")
logging.getLogger("lightning").setLevel(logging.ERROR)


def main() -> None:
    """Train for an epoch, then for those that are timed."""
    counts, batches, batch_size, epochs, threads = sys.argv[1:]
    if int(threads):
        torch.set_num_threads(int(threads))
    batch = pd.Categorical(np.load(batches).astype(str))
    data = ad.AnnData(sp.load_npz(counts).tocsr(), obs=pd.DataFrame({"batch": batch}))
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(data, batch_key="batch")
    model = scvi.model.SCVI(data, n_layers=2, n_hidden=128, n_latent=30, gene_likelihood="nb")
    choices = {"accelerator": "auto", "batch_size": int(batch_size), "enable_progress_bar": False}
    model.train(max_epochs=1, **choices)
    start = time.perf_counter()
    model.train(max_epochs=int(epochs), **choices)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cells": len(model.train_indices) * int(epochs)}))


if __name__ == "__main__":
    main()
