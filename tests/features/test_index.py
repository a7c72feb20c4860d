import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from geomlab.errors import UserError
from geomlab.features.dimension import two_nn
from geomlab.features.extraction import normalised
from geomlab.features.index import Indexed, exact, indexed
from geomlab.features.intervals import jackknifed, with_interval
from geomlab.features.large import Beside
from geomlab.features.large import lid as large_lid
from geomlab.features.large import mutual_knn as large_mutual_knn
from geomlab.features.large import two_nn as large_two_nn
from geomlab.features.manifold import lid
from geomlab.features.neighbours import mutual_knn, shared
from geomlab.rng import generator
from tests.populations import rotation


def cloud(n: int = 1500, dimensions: int = 4, seed: int = 0) -> torch.Tensor:
    """Clusters of few dimensions in 24, unit length."""
    draw = generator(seed, "cloud")
    centres = torch.randn(6, 24, generator=draw, dtype=torch.float64)
    inner = torch.rand(n, dimensions, generator=draw, dtype=torch.float64) @ rotation(24)[:dimensions]
    return normalised(centres[torch.arange(n) % 6] + inner)


def made(x: torch.Tensor, k: int = 20, **options: float) -> Indexed:
    return indexed(x, k, generator(0, "index"), checked=300, **options)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_exact_neighbours_are_those_of_scikit_learn(offset: float) -> None:
    x, rows = cloud(200) + offset, torch.tensor([3, 11, 199])
    distances, indices = (
        NearestNeighbors(n_neighbors=6, algorithm="brute").fit(x - offset).kneighbors(x[rows] - offset)
    )
    found = exact(x, rows, 5)
    assert found.indices.tolist() == indices[:, 1:].tolist()
    torch.testing.assert_close(
        found.distances, torch.from_numpy(distances[:, 1:]), rtol=0, atol=1e-9 + 1e-9 * offset
    )


def noise(n: int = 2000) -> torch.Tensor:
    """No manifold: an index finds few neighbours."""
    return normalised(torch.randn(n, 200, generator=generator(0, "noise"), dtype=torch.float64))


def test_the_index_finds_neighbours_and_says_what_it_missed() -> None:
    near = made(cloud())
    whole = exact(cloud(), torch.arange(1500), 20)
    assert torch.equal(near.exact.indices, whole.indices[near.rows])
    assert len(near.rows.unique()) == 300
    assert float(shared(near.found.indices, whole.indices).mean()) > 0.99
    few, whole = made(noise(), k=5, wider=1), exact(noise(), torch.arange(2000), 5)
    true = shared(few.found.indices, whole.indices)
    assert float(true.mean()) < 0.9
    assert torch.equal(few.recall, true[few.rows])
    assert abs(float(few.recall.mean() - true.mean())) < 4 * float(few.recall.std()) / 300**0.5


def test_a_graph_of_all_is_exact() -> None:
    x = cloud(400)
    near, whole = made(x, wider=100), exact(x, torch.arange(400), 20)
    torch.testing.assert_close(near.found.distances, whole.distances)
    assert float(near.recall.min()) == 1


def test_the_same_generator_gives_the_same_neighbours_and_checked_samples() -> None:
    x = cloud()
    first, again = made(x), made(x)
    assert torch.equal(first.found.indices, again.found.indices)
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, indexed(x, 20, generator(1, "index"), checked=300).rows)


def test_of_many_equal_samples_the_distances_are_zero_and_none_is_its_own_neighbour() -> None:
    x = cloud(100)[:4].repeat(50, 1)
    near = made(x, k=5)
    assert float(near.found.distances.max()) == 0
    assert not bool((near.found.indices == torch.arange(200)[:, None]).any())
    assert not bool((near.exact.indices == near.rows[:, None]).any())


def test_what_the_index_leaves_open_is_found_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    from pynndescent import NNDescent

    x = cloud()
    whole = NNDescent.neighbor_graph.fget

    def with_gaps(graph: NNDescent) -> tuple[np.ndarray, np.ndarray]:
        indices, distances = whole(graph)
        indices = indices.copy()
        indices[7, 3:] = -1
        return indices, distances

    monkeypatch.setattr(NNDescent, "neighbor_graph", property(with_gaps))
    expected = exact(x, torch.tensor([7]), 20)
    found = made(x).found
    assert found.indices[7].tolist() == expected.indices[0].tolist()
    torch.testing.assert_close(found.distances[7], expected.distances[0])


def test_the_measures_are_the_exact_ones_where_the_index_misses_nothing() -> None:
    x, y = cloud(), cloud(seed=1) + 2 * cloud()
    a, b = (made(normalised(f), wider=100) for f in (x, y))
    found = large_mutual_knn(a, b)
    assert found.value == pytest.approx(float(mutual_knn(x, y)))
    assert found.exact == pytest.approx(float(shared(*(s.exact.indices[:, :10] for s in (a, b))).mean()))
    assert large_lid(a).value == pytest.approx(float(lid(x, 20).mean()), rel=1e-9)
    assert large_lid(a).exact == pytest.approx(float(lid(x, 20)[a.rows].mean()), rel=1e-9)
    assert large_two_nn(x, a, generator(0, "again")).value == pytest.approx(float(two_nn(x)), rel=1e-9)
    for beside in (found, large_lid(a), large_two_nn(x, a, generator(0, "again"))):
        assert (beside.off, beside.recall) == (pytest.approx(0, abs=1e-9), 1)
        assert abs(beside.value - beside.exact) < 4 * (beside.stderr + beside.exact_stderr)
        assert beside.exact_stderr > 0


def test_the_errors_are_those_of_neighbours_looked_for_anew_without_each_group() -> None:
    x, y = cloud(), cloud(seed=1) + 2 * cloud()
    a, b = (made(normalised(f), wider=100) for f in (x, y))
    expected = float(with_interval(mutual_knn, x, y).stderr)
    assert large_mutual_knn(a, b).stderr == pytest.approx(expected, rel=1e-9)
    expected = float(jackknifed(lambda rows: two_nn(x[rows]), len(x)).stderr)
    assert large_two_nn(x, a, generator(0, "again")).stderr == pytest.approx(expected, rel=1e-9)
    assert large_lid(a).stderr == pytest.approx(float(lid(x, 20).std()) / 1500**0.5, rel=1e-9)


def test_an_index_that_misses_neighbours_is_told_by_the_checked_samples() -> None:
    x = noise()
    found = large_lid(made(x, k=5, wider=1))
    assert found.recall < 0.9
    assert found.value - float(lid(x, 5).mean()) == pytest.approx(found.off, rel=0.5)
    assert found.off < 0


def test_two_nn_counts_equal_samples_once() -> None:
    x = cloud()
    doubled = torch.cat([x, x[:500]])
    found = large_two_nn(doubled, made(doubled), generator(0, "again"))
    assert found.value == pytest.approx(float(two_nn(doubled)), rel=0.02)
    assert isinstance(found, Beside)


def test_what_is_refused() -> None:
    x = cloud(60)
    with pytest.raises(ValueError, match="0 < k < n, got k = 60 and n = 60"):
        made(x, k=60)
    one, some = made(x, k=1), made(x, k=5)
    with pytest.raises(ValueError, match="k >= 2 neighbours, got 1"):
        large_lid(one)
    with pytest.raises(ValueError, match="k >= 2 neighbours, got 1"):
        large_two_nn(x, one, generator(0, "again"))
    with pytest.raises(ValueError, match="0 < k <= 5, the neighbours that were looked for, got k = 10"):
        large_mutual_knn(some, some)
    with pytest.raises(ValueError, match="of which the same were checked"):
        large_mutual_knn(some, indexed(x, 5, generator(0, "index"), checked=20), k=5)


def test_without_pynndescent_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    with pytest.raises(UserError, match=r"needs pynndescent: pip install 'geomlab\[index\]'"):
        made(cloud(60))
