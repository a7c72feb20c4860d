"""Measures of 50,000 samples in 512 dimensions, and ways to find their nearest neighbours."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomlab.features import index, large, manifold
from geomlab.features.extraction import normalised
from geomlab.features.similarity import cka
from geomlab.features.streamed import Sums
from geomlab.rng import generator
from side_by_side.meter import clock

N, D, K = 50_000, 512, 20
INNER = 12  # dimensions of the manifold
SMALL = 5_000  # samples at which brute force as it is in the library is timed


def clusters() -> Tensor:
    """50 bent sheets of 12 dimensions, apart, with noise."""
    draw = generator(0, "clusters")
    found = 0.1 * torch.randn(N, D, generator=draw)
    for some in torch.arange(N).split(N // 50):
        z = torch.randn(len(some), INNER, generator=draw)
        frame = torch.randn(INNER, D, generator=draw) / INNER**0.5
        found[some] += torch.randn(D, generator=draw) + (torch.sin(1.5 * z) + 0.3 * z) @ frame
    return found


def manifold_like() -> Tensor:
    """One bent manifold of 12 dimensions with noise."""
    draw = generator(0, "manifold")
    z = torch.randn(N, INNER, generator=draw) @ torch.randn(INNER, 256, generator=draw)
    bent = torch.tanh(1.5 * z / INNER**0.5) @ torch.randn(256, D, generator=draw) / 16
    return bent + 0.05 * torch.randn(N, D, generator=draw)


def noise() -> Tensor:
    """Standard normal."""
    return torch.randn(N, D, generator=generator(0, "noise"))


DATA: dict[str, Callable[[], Tensor]] = {"clusters": clusters, "manifold": manifold_like, "noise": noise}


def many() -> dict[str, Any]:
    """Wall seconds of linear CKA, debiased, of all at once and in batches."""
    x = manifold_like()
    y = x + 0.1 * noise()
    found: dict[str, Any] = {"n": N, "d": D, "threads": torch.get_num_threads()}

    def streamed() -> Tensor:
        parts = list(zip(x.split(1000), y.split(1000), strict=True))
        sums = Sums.of([parts[0][0]], [parts[0][1]])
        for a, b in parts[1:]:
            sums.add([a], [b])
        return sums.cka()

    for name, work in {"at once": lambda: cka(x, y), "in batches": streamed}.items():
        found[name] = min((walled(work) for _ in range(3)), key=lambda one: one["wall_seconds"])
        found[name]["value"] = float(work())
    return found


def neighbours() -> dict[str, Any]:
    """Mutual k-NN, LID and TwoNN by the index, with the exact ones of 1,000 samples; wall and CPU seconds."""
    found: dict[str, Any] = {"n": N, "d": D, "k": K, "threads": torch.get_num_threads()}
    small = normalised(noise()[:500])
    found["compiling"] = walled(lambda: index.indexed(small, K, generator(0, "index")))
    brute = normalised(manifold_like()[:SMALL])
    found["brute force of the library"] = {"n": SMALL, **walled(lambda: manifold.nearest(brute, K))}
    for name, make in DATA.items():
        found[name] = measured(make())
    return found


def measured(x: Tensor) -> dict[str, Any]:
    """Of a sample and of the same with noise of half its spread."""
    y = x + 0.5 * x.std() * torch.randn(N, D, generator=generator(0, "other"))
    unit, bent = normalised(x), normalised(y)
    near: list[index.Indexed] = []
    entry: dict[str, Any] = {
        "index of x": walled(lambda: near.append(index.indexed(unit, K, generator(0, "index")))),
        "index of y": walled(lambda: near.append(index.indexed(bent, K, generator(0, "index")))),
    }
    measures: dict[str, Callable[[], large.Beside]] = {
        "mutual_knn": lambda: large.mutual_knn(*near),
        "lid": lambda: large.lid(near[0]),
        "two_nn": lambda: large.two_nn(unit, near[0], generator(0, "again")),
    }
    for measure, work in measures.items():
        start = clock()
        entry[measure] = asdict(work()) | {"cpu_seconds": clock() - start}
    return entry


def ways() -> dict[str, Any]:
    """CPU seconds of ways to find the 20 nearest, and the share of the 10 and 20 nearest that 1,000 samples get."""
    found: dict[str, Any] = {"n": N, "d": D, "k": K, "threads": torch.get_num_threads()}
    warm = np.random.default_rng(0).normal(size=(500, D)).astype(np.float32)
    start = clock()
    descent(warm, K + 1)
    found["pynndescent, compiling"] = clock() - start
    for name, make in DATA.items():
        x = normalised(make())
        rows = torch.randperm(N, generator=generator(0, "rows"))[:1000]
        truth = index.exact(x, rows, K).indices
        flat = x.float().numpy()
        found[name] = {}
        for way, work in WAYS.items():
            start = clock()
            indices = work(flat)[rows]
            found[name][way] = {
                "seconds": clock() - start,
                **{
                    f"recall at {k}": float(neighbours.shared(indices[:, :k], truth[:, :k]).mean())
                    for k in (10, K)
                },
            }
            print(name, way, found[name][way], flush=True)
    return found


def products(x: np.ndarray) -> Tensor:
    """Of fp32, exactly but for its rounding."""
    every = torch.from_numpy(x)
    found = []
    for rows in torch.arange(len(x)).split(1024):
        apart = -every[rows] @ every.T  # of unit length
        apart[torch.arange(len(rows)), rows] = torch.inf
        found.append(apart.topk(K, largest=False).indices)
    return torch.cat(found)


def descent(x: np.ndarray, sought: int) -> Tensor:
    from pynndescent import NNDescent

    made = NNDescent(x, n_neighbors=sought, random_state=0, n_jobs=torch.get_num_threads())
    return others(made.neighbor_graph[0])


def inverted(x: np.ndarray, cells: int, probed: int) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    made = faiss.IndexIVFFlat(faiss.IndexFlatL2(D), D, cells)
    made.cp.max_points_per_centroid = 64
    made.train(x)
    made.add(x)
    made.nprobe = probed
    return others(made.search(x, K + 1)[1])


def navigable(x: np.ndarray, links: int, building: int, searching: int) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    made = faiss.IndexHNSWFlat(D, links)
    made.hnsw.efConstruction, made.hnsw.efSearch = building, searching
    made.add(x)
    return others(made.search(x, K + 1)[1])


def flat(x: np.ndarray) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    made = faiss.IndexFlatL2(D)
    made.add(x)
    return others(made.search(x, K + 1)[1])


def others(found: np.ndarray) -> Tensor:
    """(n, K) without the sample itself."""
    indices = torch.from_numpy(found.astype(np.int64))
    kept = indices != torch.arange(len(indices))[:, None]
    kept[kept.all(1), -1] = False
    return indices[kept].view(len(indices), -1)[:, :K]


WAYS: dict[str, Callable[[np.ndarray], Tensor]] = {
    "products, fp32": products,
    "faiss, flat": flat,
    "faiss, inverted file, 16 of 448 cells": lambda x: inverted(x, 448, 16),
    "faiss, inverted file, 32 of 448 cells": lambda x: inverted(x, 448, 32),
    "faiss, HNSW 16/40/64": lambda x: navigable(x, 16, 40, 64),
    "faiss, HNSW 32/80/128": lambda x: navigable(x, 32, 80, 128),
    "pynndescent, 21 neighbours": lambda x: descent(x, K + 1),
    "pynndescent, 42 neighbours": lambda x: descent(x, 2 * (K + 1)),
}


def walled(work: Callable[[], Any]) -> dict[str, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), clock()
    work()
    return {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": clock() - cpu}
