import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geomlab import params
from geomlab.curvature.finite_difference import FiniteDifference, of_risk
from geomlab.curvature.hessian import Hessian
from geomlab.errors import UserError
from geomlab.linalg.lanczos import eigenpairs
from geomlab.rng import generator
from geomlab.subject import Subject
from geomlab.typing import Params, Vector
from tests import models

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def smooth_attention() -> nn.Module:
    module = models.Attention()
    module.block.activation = nn.functional.gelu
    module.block.activation_relu_or_gelu = 2
    return module


SMOOTH = {"convolution": models.convolution, "softmax": models.softmax_regression, "gelu": smooth_attention}
FORMS = {**SMOOTH, "relu": models.Attention}


@cache
def points(name: str, dtype: torch.dtype) -> list[tuple[Subject, Tensor, dict[str, Tensor]]]:
    """Of a form of network at several points: it, its Hessian and `directions`."""
    subjects = networks(FORMS[name], dtype, 4)
    hessians = [exact(subject, dtype) for subject in subjects]
    return [(one, hessian, directions(hessian)) for one, hessian in zip(subjects, hessians, strict=True)]


def networks(build: Callable[[], nn.Module], dtype: torch.dtype, seeds: int) -> list[Subject]:
    """Networks of one form at several points, of weights small and large."""
    start = models.subject(build())
    found = []
    for seed in range(seeds):
        rng = generator(seed, "point")
        weights = {
            name: (0.5 + 0.3 * seed) * w + 0.1 * torch.randn(w.shape, generator=rng, dtype=w.dtype)
            for name, w in start.weights.items()
        }
        found.append(start.at(weights).to("cpu", dtype))
    return found


def exact(subject: Subject, dtype: torch.dtype) -> Tensor:
    """The Hessian of these very weights and inputs, in fp64."""
    inputs = models.batches(40, 16, dtype).to(torch.device("cpu"), torch.float64)
    return models.dense_hessian(subject.to("cpu", torch.float64), inputs, list(subject.weights))


def directions(hessian: Tensor) -> dict[str, Tensor]:
    """Three vectors of each kind, as columns."""
    _, vectors = torch.linalg.eigh(hessian)
    drawn = torch.randn(len(hessian), 3, generator=generator(0, "random"), dtype=torch.float64)
    return {"random": drawn, "largest": vectors[:, -3:], "smallest": vectors[:, :3]}


def ratios(name: str, dtype: torch.dtype) -> dict[str, list[float]]:
    """True error over its estimate, for each kind of vector."""
    found: dict[str, list[float]] = {}
    for subject, hessian, vectors in points(name, dtype):
        operator = of_risk(subject, models.batches(40, 16, dtype), list(subject.weights))
        for kind, columns in vectors.items():
            for column in columns.to(dtype).unbind(1):
                product = operator.product(column)
                error = float((product.image.double() - hessian @ column.double()).norm())
                found.setdefault(kind, []).append(error / product.error)
    return found


@pytest.mark.parametrize("name", SMOOTH)
@BOTH
def test_the_estimate_is_above_the_true_error_and_not_far(name: str, dtype: torch.dtype) -> None:
    for kind, found in ratios(name, dtype).items():
        assert min(found) > 0.03, (kind, found)
        assert max(found) < 1.1, (kind, found)


@BOTH
def test_kinks_are_stepped_around_or_told(dtype: torch.dtype) -> None:
    """ReLU, where the second derivatives leave out what a step across a kink sees."""
    found = ratios("relu", dtype)
    everything = [ratio for of_a_kind in found.values() for ratio in of_a_kind]
    assert sum(ratio > 1.5 for ratio in everything) <= 2, found
    assert max(everything) < 30, found


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 3e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name", SMOOTH)
def test_errors_are_small_beside_the_largest_eigenvalue(
    name: str, dtype: torch.dtype, relative: float
) -> None:
    for subject, hessian, vectors in points(name, dtype)[:3]:
        operator = of_risk(subject, models.batches(40, 16, dtype), list(subject.weights))
        columns = torch.cat([*vectors.values()], 1)
        columns = columns / columns.norm(dim=0)
        off = (operator.matmat(columns.to(dtype)).double() - hessian @ columns).norm(dim=0)
        assert float(off.max()) < relative * float(torch.linalg.eigvalsh(hessian).abs().max())


def test_a_step_for_random_vectors_is_wrong_along_the_top_eigenvector_and_says_so() -> None:
    """What FACTS.md measured: 0.1 is good enough for random vectors in fp32, and there alone."""
    (subject,) = networks(smooth_attention, torch.float32, 1)
    hessian = exact(subject, torch.float32)
    batches = models.batches(40, 16, torch.float32)
    fixed = of_risk(subject, batches, list(subject.weights), step=0.1)
    adapted = of_risk(subject, batches, list(subject.weights))
    top = torch.linalg.eigh(hessian)[1][:, -1]

    def error(operator: FiniteDifference) -> tuple[float, float]:
        product = operator.product(top.float())
        return float((product.image.double() - hessian @ top).norm()), product.error

    (rough, told), (fine, _) = error(fixed), error(adapted)
    assert rough > 50 * fine
    assert rough < told < 30 * rough


def test_two_gradients_a_product_once_the_step_fits() -> None:
    (subject,) = networks(models.convolution, torch.float64, 1)
    calls = 0
    batches = models.batches(40, 16)
    inner = of_risk(subject, batches, list(subject.weights))

    def counted(weights: Params) -> tuple[float, Vector]:
        nonlocal calls
        calls += 1
        return inner._gradient(weights)

    operator = FiniteDifference(counted, subject.weights)
    assert calls == operator.gradients == 4
    spent = []
    for seed in range(20):
        v = torch.randn(operator.dim, generator=generator(seed, "v"), dtype=torch.float64)
        spent.append(operator.product(v).gradients)
    assert calls == operator.gradients == 4 + sum(spent)
    assert max(spent) <= 8
    assert spent[3:] == [2] * 17


def test_eigenvalues_are_within_their_errors_of_the_true_ones() -> None:
    (subject,) = networks(models.convolution, torch.float64, 1)
    for dtype, k in ((torch.float32, 3), (torch.float64, 3)):
        at = subject.to("cpu", dtype)
        truth = torch.linalg.eigvalsh(exact(at, dtype)).flip(0)
        operator = of_risk(at, models.batches(40, 16, dtype), list(at.weights))
        top, _ = eigenpairs(operator, k, generator(0, "start"))
        assert top.status == "converged"
        for value, vector, expected in zip(top.values, top.vectors.unbind(1), truth, strict=False):
            product = operator.product(vector)
            residual = float((product.image.double() - value * vector.double()).norm())
            # ‖Hv − λv‖ is at most the residual and the product's error; an eigenvalue is no farther than that.
            assert abs(float(value - expected)) <= residual + product.error
            assert residual + product.error < 3e-3 * abs(float(value))


def test_any_kernel_will_do() -> None:
    """A function that cannot be differentiated twice."""
    subject, batches = models.subject(models.Custom(models.CutSquare)), models.batches()
    names = list(subject.weights)
    with pytest.raises(UserError, match="once_differentiable"):
        Hessian(subject, batches, names)
    twin = models.subject(models.Custom(models.Square))
    dense = models.dense_hessian(twin, batches, names)
    operator = of_risk(subject, batches, names)
    v = torch.randn(operator.dim, generator=generator(0, "v"), dtype=torch.float64)
    product = operator.product(v)
    assert float((product.image - dense @ v).norm()) <= product.error < 1e-7 * float((dense @ v).norm())


def test_loss_and_gradient_are_the_hessian_s_and_unused_parameters_are_zero() -> None:
    subject, batches = models.subject(models.Attention()), models.batches()
    names = [name for name in subject.weights if "norm" in name or "head" in name]
    differences, hessian = of_risk(subject, batches, names), Hessian(subject, batches, names)
    assert differences.inputs == hessian.inputs == "held fixed"
    assert (differences.dim, differences.dtype) == (hessian.dim, hessian.dtype)
    assert differences.loss == pytest.approx(hessian.loss)
    torch.testing.assert_close(differences.gradient, hessian.gradient)
    zero = differences.product(torch.zeros(hessian.dim, dtype=torch.float64))
    assert (zero.error, zero.gradients) == (0, 0)
    assert not zero.image.any()


@given(seed=st.integers(0, 1000), length=st.sampled_from([1e-8, 1.0, 1e8]), size=st.integers(1, 11))
@settings(max_examples=25, deadline=None)
def test_symmetric_linear_and_blind_to_the_split_within_its_errors(
    seed: int, length: float, size: int
) -> None:
    subject = models.subject(models.convolution())
    names = list(subject.weights)
    one, other = (of_risk(subject, models.batches(11, n), names) for n in (11, size))
    u, v = torch.randn(2, one.dim, generator=generator(seed, "uv"), dtype=torch.float64)
    along_u, along_v, both = one.product(u), one.product(v), other.product(length * (2 * u - v))
    slack = along_u.error * float(v.norm()) + along_v.error * float(u.norm())
    assert abs(float(v @ along_u.image - u @ along_v.image)) <= slack
    expected = 2 * along_u.image - along_v.image
    bound = both.error / length + 2 * along_u.error + along_v.error
    assert float((both.image / length - expected).norm()) <= bound < 1e-6 * float(expected.norm())


def linear_regression(n: int = 50, dim: int = 6) -> tuple[FiniteDifference, Tensor]:
    """‖Xw − y‖²/n, and its Hessian (2/n)XᵀX."""
    x = torch.randn(n, dim, generator=generator(0, "x"), dtype=torch.float64)
    y = torch.randn(n, generator=generator(0, "y"), dtype=torch.float64)

    def gradient(weights: Params) -> tuple[float, Vector]:
        off = x @ weights["w"] - y
        return float(off @ off) / n, 2 / n * x.T @ off

    start = {"w": torch.randn(dim, generator=generator(0, "w"), dtype=torch.float64)}
    return FiniteDifference(gradient, start), 2 / n * x.T @ x


def test_linear_regression_has_its_closed_form() -> None:
    operator, hessian = linear_regression()
    for column in torch.eye(6, dtype=torch.float64):
        product = operator.product(column)
        assert float((product.image - hessian @ column).norm()) <= product.error < 1e-9
    top, bottom = eigenpairs(operator, 3, generator(0, "start"), tolerance=1e-8)
    truth = torch.linalg.eigvalsh(hessian).flip(0)
    torch.testing.assert_close(top.values, truth[:3], rtol=1e-8, atol=0)
    assert float(bottom.values[-1]) == pytest.approx(float(truth[-1]), rel=1e-8)


def test_a_quadratic_loss_lets_the_step_grow_to_its_limit() -> None:
    operator, _ = linear_regression()
    v = torch.ones(6, dtype=torch.float64)
    steps = [operator.product(v).step for _ in range(8)]
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(0.1 * float(params.flatten(operator._like).norm()))


@pytest.mark.parametrize("a", [0.3, 1.0, 5.0])
def test_two_factors_at_a_minimum_have_the_eigenvalues_zero_and_the_sum_of_squares(a: float) -> None:
    """½(ab − 1)² at ab = 1."""

    def gradient(weights: Params) -> tuple[float, Vector]:
        x, y = weights["a"], weights["b"]
        off = x * y - 1
        return float(off**2) / 2, torch.cat([off * y, off * x])

    def one(value: float) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    operator = FiniteDifference(gradient, {"a": one(a), "b": one(1 / a)})
    matrix = torch.tensor([[a**-2, 1.0], [1.0, a**2]], dtype=torch.float64)
    for column in torch.eye(2, dtype=torch.float64):
        product = operator.product(column)
        assert float((product.image - matrix @ column).norm()) <= product.error
    top, bottom = eigenpairs(operator, 1, generator(0, "start"))
    assert float(top.values[0]) == pytest.approx(a**2 + a**-2, rel=1e-7)
    assert float(bottom.values[0]) == pytest.approx(0, abs=1e-7 * float(top.values[0]))


def test_a_network_that_does_not_repeat_itself_is_refused() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = models.softmax_regression()

        def forward(self, images: Tensor) -> Tensor:
            return self.net(nn.functional.dropout(images, 0.01, training=True))

    for dtype in (torch.float32, torch.float64):
        subject = models.subject(Noisy(), dtype)
        batches = models.batches(1000, 256, dtype)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            with pytest.raises(UserError, match="must be deterministic"):
                of_risk(subject, batches, list(subject.weights))


@pytest.mark.parametrize("gain", [0.0, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("build", models.NETWORKS.values())
@BOTH
def test_rounding_is_no_dice(build: Callable[[], nn.Module], dtype: torch.dtype, gain: float) -> None:
    subject = models.subject(build(), dtype)
    subject = subject.at({name: gain * weight for name, weight in subject.weights.items()})
    operator = of_risk(subject, models.batches(160, 16, dtype), list(subject.weights))
    assert math.isfinite(operator.product(torch.ones(operator.dim, dtype=dtype)).error)


def test_what_is_not_finite_is_refused_at_the_point_and_beside_it() -> None:
    def gradient(weights: Params) -> tuple[float, Vector]:
        w = weights["w"]
        return float(w.sqrt().sum()), 0.5 / w.sqrt()

    for at, said in ((-1.0, "not finite at the point; try"), (1e-9, r"not finite 0\.1 from the point")):
        with pytest.raises(UserError, match=said):
            FiniteDifference(gradient, {"w": torch.full((3,), at)}, step=0.1, name="net").matvec(
                torch.ones(3)
            )


def test_the_network_is_left_alone() -> None:
    subject = models.subject(models.Attention())
    before, state = params.digest(subject.weights), torch.get_rng_state()
    operator = of_risk(subject, models.batches(), list(subject.weights))
    operator.matvec(torch.ones(operator.dim).double())
    assert params.digest(subject.weights) == before
    assert all(parameter.grad is None for parameter in subject.module.parameters())
    assert torch.equal(state, torch.get_rng_state())


@BOTH
@pytest.mark.parametrize("small", [1e-8, 1e-6, 1e-4])
def test_weights_that_are_small_beside_the_others_have_products_as_good(
    small: float, dtype: torch.dtype
) -> None:
    """A step among them goes by what the whole network changes over, not by their own size."""
    start = models.subject(models.convolution())
    subject = start.at({"0.bias": small * torch.ones_like(start.weights["0.bias"])}).to("cpu", dtype)
    batches = models.batches(40, 16, dtype)
    operator = of_risk(subject, batches, ["0.bias"])
    exactly = Hessian(subject.to("cpu", torch.float64), batches.to(subject.device, torch.float64), ["0.bias"])
    for unit in torch.eye(operator.dim, dtype=dtype):
        found, truth = operator.product(unit), exactly.matvec(unit.double())
        off = float((found.image - truth).norm())
        assert off <= (1e-2 if dtype == torch.float32 else 1e-5) * float(truth.norm())
        assert off <= 1.5 * found.error
