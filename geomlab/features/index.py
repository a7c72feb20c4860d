"""Nearest neighbours of many samples by an approximate index, and of a random part of them exactly, to be set beside.

The index is nearest-neighbour descent (Dong et al. 2011) of pynndescent. Of 50,000 samples in 512 dimensions, on one
core, it finds 99.99 % of the 20 nearest on curved manifolds of 12 dimensions with noise, in 7 s, beside 38 s of exact
products; faiss's inverted file finds 97 % in 19 s there, and its HNSW 99.99 % in 23 s of the easier clusters. The first
index in a process takes 30 s more, in which numba compiles. Of Gaussian noise in as many dimensions, which has no
manifold, none finds many: that is what `Indexed.recall` tells (benchmarks/features.py --tasks ways).
"""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geomlab.errors import UserError
from geomlab.features.neighbours import shared
from geomlab.threads import threads_kept
from geomlab.typing import Features, Float, Int

CHECKED = 1000  # samples whose neighbours are found exactly, too: their error is that of a share, 0.016 at most (ours)
LEAST = 10_000  # samples from which even one index pays: brute force takes 40 s there, this as long (ours)
WIDER = 2.0  # neighbours in the graph that is descended, in k + 1: with 1 it finds 99.3 % in half the time
_ROWS = 1024  # samples at a time


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest other samples of some, by Euclidean distance.

    Attributes:
        indices: (m, k), nearest first.
        distances: (m, k), ascending, fp64.
    """

    indices: Int[Tensor, "m k"]
    distances: Float[Tensor, "m k"]


@dataclass(frozen=True, eq=False)
class Indexed:
    """Neighbours of all samples by the index, and of some of them exactly.

    Attributes:
        found: (n, k) of all, by the index.
        rows: (m,) samples that were checked.
        exact: (m, k) of these, among all n.
    """

    found: Neighbours
    rows: Int[Tensor, "m"]
    exact: Neighbours

    @property
    def recall(self) -> Float[Tensor, "m"]:
        """(m,) share of the exact neighbours of each checked sample that the index found."""
        return shared(self.found.indices[self.rows], self.exact.indices)


def indexed(
    features: Features, k: int, generator: torch.Generator, *, checked: int = CHECKED, wider: float = WIDER
) -> Indexed:
    """Neighbours by the index, and of random samples exactly. On one machine the same each time, given the generator.

    Args:
        features: (n, d), usually of unit length; the index holds them in fp32.
        k: neighbours, less than n.
        generator: draws which samples are checked, and the index's seed.
        checked: samples whose neighbours are found exactly, at O(checked·n·d); at most all.
        wider: neighbours in the graph that is descended, in k + 1, at least 1: more find more and take longer.

    Raises:
        ValueError: if k is not less than n.
        UserError: if pynndescent is not installed.
    """
    n = len(features)
    if not 0 < k < n:
        raise ValueError(f"expected 0 < k < n, got k = {k} and n = {n}")
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    rows = torch.randperm(n, generator=generator)[: min(checked, n)].sort().values
    found = _approximate(features, k, seed, round(wider * (k + 1)))
    return Indexed(found, rows, exact(features, rows, k))


def exact(features: Features, rows: Int[Tensor, "m"], k: int) -> Neighbours:
    """Of these samples among all, at O(m·n·d) in fp64.

    Args:
        features: (n, d).
        rows: (m,) indices of samples.
        k: neighbours, less than n.
    """
    x = features.double() - features.double().mean(0)  # far from the origin the products below lose digits
    squares = x.square().sum(1)
    found = [rows.new_empty(0, k)]
    for part in rows.split(_ROWS):
        apart = torch.addmm(squares[None], x[part], x.T, alpha=-2)  # ‖x − y‖² − ‖x‖²
        apart[torch.arange(len(part)), part] = torch.inf  # a sample is not its own neighbour
        found.append(apart.topk(k, largest=False).indices)
    return _sorted(features, rows, torch.cat(found))


def _approximate(features: Features, k: int, seed: int, sought: int) -> Neighbours:
    n = len(features)
    rows = torch.arange(n)
    if sought >= n:
        return exact(features, rows, k)
    x = (features.double() - features.double().mean(0)).float().cpu().contiguous().numpy()
    with threads_kept():
        graph = library().NNDescent(x, n_neighbors=sought, random_state=seed, n_jobs=torch.get_num_threads())
    found = torch.from_numpy(graph.neighbor_graph[0].astype("int64"))
    indices = _others(found, rows)[:, :k]
    few = (indices < 0).any(1).nonzero()[:, 0]  # those of which it found fewer
    indices[few] = exact(features, few, k).indices
    return _sorted(features, rows, indices)


def _others(found: Int[Tensor, "n more"], rows: Int[Tensor, "n"]) -> Int[Tensor, "n k"]:
    """Without the sample itself, or the last if it is not among them, as of many equal samples; −1 for none found."""
    kept = found != rows[:, None]
    kept[kept.all(1), -1] = False
    return found[kept].view(len(rows), -1)


def _sorted(features: Features, rows: Int[Tensor, "m"], indices: Int[Tensor, "m k"]) -> Neighbours:
    """With their distances, taken anew: of products they are rounded, and of equal samples not 0."""
    distances = [torch.empty(0, indices.shape[1], dtype=torch.float64)]
    for part, near in zip(rows.split(_ROWS // 4), indices.split(_ROWS // 4), strict=True):
        distances.append((features[part][:, None].double() - features[near].double()).norm(dim=2))
    ascending = torch.cat(distances).sort(dim=1, stable=True)
    return Neighbours(indices.gather(1, ascending.indices), ascending.values)


def library() -> Any:
    """The module `pynndescent`.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return importlib.import_module("pynndescent")
    except ImportError as error:
        raise UserError(
            "an index of nearest neighbours needs pynndescent: pip install 'geomlab[index]'"
        ) from error
