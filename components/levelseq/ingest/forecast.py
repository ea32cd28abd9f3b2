"""What ingest will take, from bytes alone.

The number of counts above zero is guessed from the bytes of a deposit. `NONZEROS_PER_BYTE` are
means over public single-cell deposits, compressed; bulk and uncompressed ones hold fewer, so that
the prediction errs to the high side. Then

    memory  = 0.5 GiB for the libraries + 60 bytes for each count of the largest shard or block
    disk    = 12 bytes a count on local scratch and in shards + the largest deposit (local copy)
    seconds = 2 + counts / 1.5 million (one core, local disk)
"""

from __future__ import annotations

import math

from levelseq.cohort import SHARD_COUNTS, SHARD_OBSERVATIONS

__all__ = ["NONZEROS_PER_BYTE", "forecast", "requests"]

NONZEROS_PER_BYTE = {"csv": 1.0, "h5ad": 0.4, "tenx_mtx": 0.3, "tenx_h5": 0.4}
# Host memory of a CUDA process beside its data, and of /dev/shm.
GPU_GIB = 12

_GIB = 1 << 30


def forecast(deposits: list[tuple[str, int, int]]) -> dict[str, float]:
    """Prediction for deposits given as (format, bytes, observations); before `--keep`."""
    n_obs = sum(n for _, _, n in deposits)
    counts = sum(NONZEROS_PER_BYTE[form] * size for form, size, _ in deposits)
    in_shard = min(counts * min(1.0, SHARD_OBSERVATIONS / max(1, n_obs)), SHARD_COUNTS)
    largest = max(size for _, size, _ in deposits)
    return {
        "n_obs": n_obs,
        "memory_gib": round(0.5 + 60 * in_shard / _GIB, 2),
        "disk_gib": round((12 * counts + largest) / _GIB, 2),
        "seconds": round(2 + counts / 1.5e6),
    }


def requests(predicted: dict[str, float]) -> dict[str, str]:
    """What a pod that works on the cohort asks for, in Kubernetes' words.

    Memory is what ingest is predicted to need and a gibibyte for what later steps hold beside it,
    one half more for what the forecast does not see; processors grow with the observations. A pod
    with a GPU also holds CUDA's libraries and the shared memory of its device.
    """
    memory = math.ceil(1.5 * (predicted["memory_gib"] + 1))
    n_obs = predicted["n_obs"]
    return {
        "memory": f"{memory}Gi",
        "gpu_memory": f"{memory + GPU_GIB}Gi",
        "cpu": "2" if n_obs < 50_000 else "4",
    }
