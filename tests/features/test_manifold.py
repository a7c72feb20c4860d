import math

import pytest
import torch

from geomlab.features.manifold import gram_volume, lid, nearest
from geomlab.rng import generator


def cloud(n: int, d: int, ambient: int = 0) -> torch.Tensor:
    """A Gaussian cloud of dimension d, in more ambient dimensions if asked for."""
    x = torch.randn(n, d, generator=generator(0, "cloud"), dtype=torch.float64)
    return torch.nn.functional.pad(x, (0, max(0, ambient - d)))


def test_lid_agrees_with_a_loop() -> None:
    x, k = cloud(50, 3), 6
    for i, found in enumerate(lid(x, k).tolist()):
        distances = sorted(math.dist(x[i], x[j]) for j in range(50) if j != i)[:k]
        assert found == pytest.approx(-1 / (sum(math.log(r / distances[-1]) for r in distances) / k))


@pytest.mark.parametrize("d", [2, 5])
def test_lid_finds_the_dimension_of_a_cloud_in_a_larger_space(d: int) -> None:
    dimension = lid(cloud(3000, d, ambient=20), 20)
    assert float(dimension.mean()) == pytest.approx(d, rel=0.15)


def test_lid_leaves_duplicates_out() -> None:
    x = cloud(40, 3)
    doubled = torch.cat([x, x])
    assert bool(torch.isfinite(lid(doubled, 8)).all())
    assert bool(torch.isnan(lid(torch.ones(10, 3).double(), 4)).all())


def test_nearest_distances_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomlab.features.manifold._ROWS", 7)
    x = cloud(30, 4)
    whole = (x[:, None] - x).norm(dim=2).sort(dim=1).values[:, 1:4]
    torch.testing.assert_close(nearest(x, 3), whole)


@pytest.mark.parametrize("k", [1, 10])
def test_lid_needs_neighbours(k: int) -> None:
    with pytest.raises(ValueError, match="1 < k < n"):
        lid(cloud(10, 2), k)


def test_gram_volume_of_known_triples() -> None:
    e = torch.eye(3).double()
    assert gram_volume(e[:1], 2 * e[1:2], e[2:]).tolist() == pytest.approx([1.0])
    assert gram_volume(e[:1], e[:1], e[2:]).tolist() == pytest.approx([0.0])
    leaning = torch.tensor([[0.0, math.cos(0.4), math.sin(0.4)]]).double()
    assert gram_volume(e[:1], e[1:2], leaning).tolist() == pytest.approx([math.sin(0.4)])
