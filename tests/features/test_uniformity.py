import math

import pytest
import torch
from scipy.special import iv

from geomlab.features.uniformity import alignment, modality_gap, uniformity
from geomlab.rng import generator
from tests.populations import rotation


def cloud(n: int, d: int, name: str = "cloud") -> torch.Tensor:
    return 0.5 + torch.randn(n, d, generator=generator(0, name), dtype=torch.float64)


def test_alignment_of_known_angles() -> None:
    angle = torch.tensor([0, 0.4, math.pi], dtype=torch.float64)
    x = torch.tensor([[2.0, 0]] * 3).double()
    y = 7 * torch.stack([angle.cos(), angle.sin()], dim=1)
    assert alignment(x, y).tolist() == pytest.approx([0, 2 - 2 * math.cos(0.4), 4], abs=1e-12)
    assert bool(alignment(x, 0 * y).isnan().all())


def test_uniformity_agrees_with_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomlab.features.uniformity._ROWS", 4)
    x = cloud(9, 3)
    u = [row / row.norm() for row in x]
    pairs = [math.exp(-2 * float((u[i] - u[j]).square().sum())) for i in range(9) for j in range(9) if i != j]
    assert float(uniformity(x)) == pytest.approx(math.log(sum(pairs) / 72))


def test_uniformity_of_known_clouds() -> None:
    angle = 2 * math.pi * torch.arange(2000).double() / 2000  # on a circle, E exp(4 cos φ − 4) = e⁻⁴ I₀(4)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    n = len(circle)
    with_itself = (math.exp(-4) * float(iv(0, 4)) * n - 1) / (n - 1)
    assert float(uniformity(circle)) == pytest.approx(math.log(with_itself), rel=1e-9)
    assert float(uniformity(torch.ones(5, 3))) == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0, 0], [-1, 0]])
    assert float(uniformity(opposite)) == pytest.approx(-8)  # −4 n/(n − 1) at n = 2
    assert -4.1 < float(uniformity(cloud(500, 400) - 0.5)) < -3.9
    with pytest.raises(ValueError, match="n >= 2 samples, got 1"):
        uniformity(opposite[:1])
    assert bool(uniformity(torch.zeros(3, 2)).isnan())


def test_the_gap_of_known_means_and_how_an_attack_moves_it() -> None:
    images, texts = torch.tensor([[2.0, 0], [0, 2]]).double(), torch.tensor([[0.0, -3]]).double()
    gap = modality_gap(images, texts)
    assert gap.tolist() == pytest.approx([0.5, 1.5])
    attacked = torch.tensor([[0.0, 1], [0, 1]]).double()
    assert (modality_gap(attacked, texts) - gap).tolist() == pytest.approx([-0.5, 0.5])
    assert bool(modality_gap(0 * images, texts).isnan().all())
    with pytest.raises(ValueError, match="n >= 1 samples on both sides, got 2 and 0"):
        modality_gap(images, texts[:0])


def test_invariances() -> None:
    x, y, q = cloud(30, 5), cloud(30, 5, "other"), rotation(5)
    order = torch.randperm(30, generator=generator(0, "order"))
    torch.testing.assert_close(alignment(3 * x @ q, 0.1 * y @ q), alignment(x, y))
    torch.testing.assert_close(alignment(x[order], y[order]), alignment(x, y)[order])
    torch.testing.assert_close(uniformity(3 * x[order] @ q), uniformity(x))
    torch.testing.assert_close(modality_gap(3 * x @ q, y[order] @ q), modality_gap(x, y) @ q)
