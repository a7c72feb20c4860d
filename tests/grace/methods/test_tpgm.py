from collections.abc import Callable

import pytest
import torch

from geomlab.errors import UserError
from grace.methods import tpgm
from grace.recipe import compose
from grace.run import Run
from grace.start import start_run

RunOf = Callable[..., Run]


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_projection_by_hand() -> None:
    anchor = {"far": vector(1, 1), "near": vector(0, 2), "still": vector(5)}
    weights = {"far": vector(4, 5), "near": vector(0.6, 2.8), "still": vector(5)}  # 5, 1 and 0 away
    radii = {"far": vector(2).squeeze(), "near": vector(3).squeeze(), "still": vector(0).squeeze()}
    found = tpgm.project(anchor, weights, radii)
    torch.testing.assert_close(found["far"], vector(1 + 2 * 3 / 5, 1 + 2 * 4 / 5))
    torch.testing.assert_close(found["near"], vector(0.6, 2.8))
    assert torch.equal(found["still"], vector(5))


def test_radii_fall_where_the_move_hurts_and_grow_where_it_helps(run_of: RunOf) -> None:
    """The head's move makes it worse on all data, against another that makes it better."""
    run = run_of("tpgm", "options.iterations=8", "options.lr=0.3")
    head = run.weights["head.weight"]
    better: set[bool] = set()
    for sign in (1.0, -1.0):
        with torch.no_grad():
            head.copy_(run.anchor["head.weight"] * (1 + sign * 0.1))
        length = (head - run.anchor["head.weight"]).norm().item()
        losses = {
            share: _loss(run, {"head.weight": run.anchor["head.weight"] * (1 + sign * 0.1 * share)})
            for share in (0.4, 0.6)
        }
        radii = tpgm.learn_radii(run)
        better.add(losses[0.6] < losses[0.4])
        expected = length if losses[0.6] < losses[0.4] else 0.0
        assert radii["head.weight"].item() == pytest.approx(expected, abs=0.1 * length)
        assert radii["visual.proj"].item() == 0  # did not move
        assert all(weight.grad is None for weight in run.weights.values())
    assert better == {True, False}


def _loss(run: Run, weights: dict[str, torch.Tensor]) -> float:
    assert run.validation is not None
    batch = run.validation.batch(0)
    images = batch.images.double()
    with torch.no_grad():
        scores = run.at(weights, lambda: run.model.logits(images))
    return float(torch.nn.functional.cross_entropy(scores, batch.labels))


def test_finish_projects_by_the_radii(run_of: RunOf, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("tpgm")
    with torch.no_grad():
        for weight in run.weights.values():
            weight.add_(0.01)
    monkeypatch.setattr(
        tpgm, "learn_radii", lambda run: dict.fromkeys(run.weights, torch.tensor(0.05, dtype=torch.float64))
    )
    tpgm.finish(run)
    for name, weight in run.weights.items():
        moved = min(0.05, 0.01 * weight.numel() ** 0.5)
        assert (weight - run.anchor[name]).norm().item() == pytest.approx(moved, rel=1e-9)


def test_it_needs_samples_held_back() -> None:
    with pytest.raises(UserError, match=r"tpgm learns its radii on held-back .*; set data\.validation=0\.1"):
        start_run(compose("tpgm", settings=["data.validation=0"]), None, 0)
