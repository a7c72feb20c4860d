"""AWP, SAM and ASAM: the ascent by hand, the gradient at the moved weights, and nothing left behind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from grace import methods, sharpness
from grace.batches import Batch
from grace.run import Run

RunOf = Callable[..., Run]
NAMES = ["asam", "awp", "sam"]


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_layers_by_hand() -> None:
    """Of each weight 1 % of its own length; vectors stay, and so does what has no gradient."""
    weights = {"w": vector(3, 0).view(1, 2), "kernel": vector(3, 4).view(1, 1, 1, 2)}
    gradients = {"w": vector(0, 5).view(1, 2), "kernel": vector(6, 8).view(1, 1, 1, 2)}
    weights |= {"still": vector(1, 1).view(2, 1), "bias": vector(1)}
    gradients |= {"still": vector(0, 0).view(2, 1), "bias": vector(7)}
    moved = sharpness.layers(weights, gradients, 0.01)
    assert list(moved) == ["w", "kernel", "still"]
    torch.testing.assert_close(moved["w"], vector(0, 0.03).view(1, 2))
    torch.testing.assert_close(moved["kernel"], vector(0.03, 0.04).view(1, 1, 1, 2))
    assert not moved["still"].any()


def test_the_sphere_by_hand() -> None:
    moved = sharpness.sphere({"a": vector(3), "b": vector(0, 4)}, 0.5)
    torch.testing.assert_close(moved["a"], vector(0.3))
    torch.testing.assert_close(moved["b"], vector(0, 0.4))
    assert not sharpness.sphere({"a": vector(0)}, 0.5)["a"].any()


def test_the_ellipsoid_by_hand() -> None:
    """T = (2, 1, 4) at η = 1, T g = (6, 0, 8), ‖T g‖ = 10, v = ρ T² g/‖T g‖."""
    weights, gradients = {"a": vector(-1), "b": vector(0, 3)}, {"a": vector(3), "b": vector(0, 2)}
    moved = sharpness.ellipsoid(weights, gradients, 0.5, 1.0)
    torch.testing.assert_close(moved["a"], vector(0.5 * 4 * 3 / 10))
    torch.testing.assert_close(moved["b"], vector(0, 0.5 * 16 * 2 / 10))
    scaled = [moved["a"] / 2, moved["b"] / vector(1, 4)]
    assert torch.cat(scaled).norm().item() == pytest.approx(0.5)  # on the ball's edge


def naive(run: Run, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The gradient at the moved weights, by writing them into the model and undoing it."""
    weights, before = run.weights, {name: weight.detach().clone() for name, weight in run.weights.items()}

    def backward() -> dict[str, Tensor]:
        run.model.zero_grad()
        F.cross_entropy(run.model.logits(images), labels).backward()
        return {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None}

    first, options, name = backward(), run.options, run.recipe.method
    everything = torch.cat([gradient.flatten() for gradient in first.values()])
    sizes = torch.cat([(weights[key].detach().abs() + 0.01).flatten() for key in first])
    with torch.no_grad():
        for key, weight in weights.items():
            g = first[key]
            if name == "sam":
                weight += options.rho * g / everything.norm()
            elif name == "asam":
                weight += options.rho * (weight.abs() + 0.01) ** 2 * g / (sizes * everything).norm()
            elif weight.ndim > 1:
                weight += options.gamma * weight.norm() * g / g.norm()
    found = backward()
    with torch.no_grad():
        for key, weight in weights.items():
            weight.copy_(before[key])
    run.model.zero_grad()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_at_the_moved_weights(
    run_of: RunOf, batch: Batch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(name)
    images = batch.images
    if name == "awp":
        images = run.craft_against(images, batch.labels)
        monkeypatch.setattr(Run, "craft_against", lambda self, *args: images)
    expected = naive(run, images, batch.labels)
    before = {key: weight.detach().clone() for key, weight in run.weights.items()}
    terms = methods.get(name).loss(run, batch)
    found = run.gradient(sum(terms.values()))  # type: ignore[arg-type]
    assert set(found) == set(expected)
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-6, atol=1e-10)
    assert all(torch.equal(before[key], weight) for key, weight in run.weights.items())
    still = F.cross_entropy(run.model.logits(images), batch.labels)
    assert next(iter(terms.values())) > still  # the weights were moved uphill


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_restored_where_an_exception_flies(
    run_of: RunOf, batch: Batch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = ["attack.steps=1"] if name == "awp" else []
    run = run_of(name, *extra)
    before = {key: (id(weight), weight.detach().clone()) for key, weight in run.model.named_parameters()}
    calls, at = 0, Run.at

    def broken(self: Run, weights: dict[str, Tensor], function: Callable[[], Tensor]) -> Tensor:
        def fails() -> Tensor:
            function()
            assert not torch.equal(next(iter(weights.values())), next(iter(run.weights.values())))
            raise KeyboardInterrupt

        nonlocal calls
        calls += 1
        return at(self, weights, fails)

    monkeypatch.setattr(Run, "at", broken)
    with pytest.raises(KeyboardInterrupt):
        methods.get(name).loss(run, batch)
    assert calls == 1
    for key, weight in run.model.named_parameters():
        assert (id(weight), weight.grad) == (before[key][0], None)
        assert torch.equal(weight, before[key][1])
