"""Counts that stay on the accelerator, as CSR: a minibatch is drawn from them where it is used.

Shapes: S observations, B of a minibatch, G genes, L levels of the batch tree, P distinct paths, N
places for the counts of a minibatch that are not zero: some more than it has, so that the shapes
of a step are few, whichever cells are drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import GeneCounts
from levelseq.models.sparse_minibatches import LEAST_SHARE, Paths

__all__ = ["ROOMS", "DeviceCounts", "DeviceMinibatch", "Drawn", "bytes_of"]

ROOMS = 16
"""Numbers of places that minibatches of so many cells may have."""
AT_ONCE = 1 << 24
"""Counts that are copied to the device in one go."""
_INT16 = np.iinfo(np.int16).max


class Drawn(NamedTuple):
    """B cells on the device.

    Attributes:
        place_N: where each count lies among B * G.
        cell_N, gene_N: its cell among the B, and its gene.
        count_N: counts; 0 at places that no count takes.
        shown_N: counts over size factors, as the encoder sees them.
        library_B: the sum of each cell's counts.
        path_B: the number of each cell's path.
        label_B: numbers of labels, -1 where unknown; None: labels are not used.
    """

    place_N: Tensor
    cell_N: Tensor
    gene_N: Tensor
    count_N: Tensor
    shown_N: Tensor
    library_B: Tensor
    path_B: Tensor
    label_B: Tensor | None


class DeviceCounts:
    """The counts of observations, and what goes with them, in the memory of a device.

    Args:
        counts: of the observations.
        paths: of all of them through the batch tree.
        label_S: numbers of labels, -1 where unknown; None: none.
        device: where they are kept.

    Attributes:
        node_PL: the paths.
        n_genes: G.
    """

    def __init__(
        self,
        counts: GeneCounts | JointCounts,
        paths: Paths,
        label_S: Tensor | None,
        device: torch.device,
    ) -> None:
        data, genes, starts_S = counts.arrays
        self.n_genes = int(counts.shape[1])
        self._device = device
        self._data = _copied(data, torch.float32, device)
        small = self.n_genes <= _INT16
        self._genes = _copied(genes, torch.int16 if small else torch.int32, device)
        self._starts = _copied(starts_S, torch.int64, device)
        lengths_S = np.diff(starts_S)
        library_S = np.zeros(len(lengths_S))
        if len(data):
            of_some = lengths_S > 0
            library_S[of_some] = np.add.reduceat(data, starts_S[:-1][of_some], dtype=np.float64)
        self._library = _copied(library_S, torch.float32, device)
        self._inverse_size = _copied(1.0 / counts.size_factors, torch.float32, device)
        self._lengths, self._longest = lengths_S, np.cumsum(np.sort(lengths_S)[::-1])
        path_S, self.node_PL = paths.of(np.arange(len(lengths_S)))
        self._path = _copied(path_S, torch.int64, device)
        self._label = None if label_S is None else label_S.to(device)

    def room(self, cells_B: NDArray[np.int64]) -> int:
        """Places for the counts of some observations, one of `ROOMS` numbers for so many."""
        most = int(self._longest[len(cells_B) - 1])
        piece = max(1, -(-most // ROOMS))
        return min(most, piece * -(-int(self._lengths[cells_B].sum()) // piece))

    def draw(self, cells_B: Tensor, room: int, *, thinned: bool) -> Drawn:
        """Some observations, each once, by their numbers on the device.

        Thinning is that of `Augmentation`, drawn from torch's generator of the device.

        Args:
            cells_B: the observations.
            room: that they take.
            thinned: whether the encoder sees a share of each one's counts.
        """
        first_B = self._starts[cells_B]
        length_B = self._starts[cells_B + 1] - first_B
        ends_B = length_B.cumsum(0)
        n_cells = len(cells_B)
        number_N = torch.arange(room, device=self._device)
        cell_N = torch.searchsorted(ends_B, number_N, right=True)
        real_N = cell_N < n_cells
        # Places that no count takes are spread: what is added to one address waits in a queue.
        cell_N = torch.where(real_N, cell_N, number_N % n_cells)
        offset_B = first_B + length_B - ends_B
        from_N = number_N + torch.where(real_N, offset_B[cell_N], 0)
        gene_N = self._genes[from_N].long()
        count_N = torch.where(real_N, self._data[from_N], 0.0)
        inverse_B, shown_N = self._inverse_size[cells_B], count_N
        if thinned:
            least = LEAST_SHARE / 65536
            kept_B = least + (1 - least) * torch.rand(n_cells, device=self._device)
            shown_N = torch.binomial(count_N, kept_B[cell_N])
            inverse_B = inverse_B / kept_B
        return Drawn(
            cell_N * self.n_genes + gene_N,
            cell_N,
            gene_N,
            count_N,
            shown_N * inverse_B[cell_N],
            self._library[cells_B],
            self._path[cells_B],
            None if self._label is None else self._label[cells_B],
        )


class DeviceMinibatch(NamedTuple):
    """What the network is shown of cells whose counts are on the device.

    Attributes:
        counts: of all observations.
        cells_B: numbers of those drawn.
        thinned: whether the encoder sees a share of each cell's counts.
    """

    counts: DeviceCounts
    cells_B: NDArray[np.int64]
    thinned: bool


def bytes_of(counts: GeneCounts | JointCounts) -> int:
    """Of the device's memory that the counts of observations take, at most."""
    data, _, starts_S = counts.arrays
    return 8 * len(data) + 40 * len(starts_S)


def _copied(array: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A copy of what may be larger than this machine's memory."""
    whole = torch.empty(len(array), dtype=dtype, device=device)
    for first in range(0, len(array), AT_ONCE):
        part = torch.from_numpy(np.array(array[first : first + AT_ONCE]))
        whole[first : first + len(part)] = part.to(device)
    return whole
