from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from geomlab.errors import UserError
from grace.methods import lp_ft
from grace.run import Run

RunOf = Callable[..., Run]
NAMES = ("a", "b", "c")


def objective(weight: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, c: float) -> torch.Tensor:
    return c * F.cross_entropy(features @ weight.T, labels, reduction="sum") + weight.square().sum() / 2


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probe_is_the_minimum_of_its_objective(classes: int) -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=rng, dtype=torch.float64)
    labels = torch.arange(60) % classes
    options = lp_ft.Options(C=0.5, max_iter=1000)
    weight = lp_ft.probe(features, labels, NAMES[:classes], options).requires_grad_(True)
    objective(weight, features, labels, 0.5).backward()
    assert weight.shape == (classes, 5)
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1.5e-4 * 0.5 * 60  # L-BFGS stops at 1e-4 in the mean loss
    assert objective(weight, features, labels, 0.5) < objective(0.9 * weight, features, labels, 0.5)


def test_the_head_is_the_probe_of_every_image_as_it_is(run_of: RunOf) -> None:
    run = run_of("lp-ft", "data.domains=['photo', 'sketch']", "options.C=0.01")
    model, pool = run.model, run.pool
    assert model.head is not None
    batches = list(pool.in_order())
    assert sum(len(batch.labels) for batch in batches) == len(pool) == 2400
    source = pool.source.images("sketch", pool.rows[1], 16)
    assert torch.equal(torch.cat([batch.images for batch in batches])[1200:], source)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), torch.cat(pool.labels))
    scale = model.clip.logit_scale.detach().exp()
    with torch.no_grad():
        features = model.embed(torch.cat([batch.images for batch in batches]).double())
    weight = (model.head.weight.detach() / scale).requires_grad_(True)
    objective(weight, scale * features, torch.cat(pool.labels), 0.01).backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1.5e-4 * 0.01 * 2400
    assert torch.equal(run.anchor["head.weight"], model.head.weight)


def test_what_cannot_be_fitted_is_refused() -> None:
    features, labels = torch.eye(4, dtype=torch.float64), torch.tensor([0, 0, 2, 2])
    with pytest.raises(UserError, match="samples of every class, there is none of 'b'"):
        lp_ft.probe(features, labels, NAMES, lp_ft.Options(C=1, max_iter=100))
    with pytest.raises(UserError, match=r"not converged after 1 iterations; raise options\.max_iter"):
        lp_ft.probe(9 * features, torch.tensor([0, 1, 2, 2]), NAMES, lp_ft.Options(C=1, max_iter=1))
