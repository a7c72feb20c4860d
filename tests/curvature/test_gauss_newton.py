from collections.abc import Callable

import pytest
import torch
from torch import nn

from geomlab import params
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.differentiable import plain_attention
from geomlab.errors import UserError
from geomlab.linalg.lanczos import eigenpairs
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models


@pytest.fixture(params=models.NETWORKS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return models.NETWORKS[request.param]()


def jacobian(subject: Subject, batches: Batches) -> torch.Tensor:
    """(n, C, dim) of the logits, by autograd on the flattened parameters."""
    flat = params.flatten(subject.weights)

    def logits(vector: torch.Tensor) -> torch.Tensor:
        with plain_attention():
            return subject(batches.images, params.unflatten(vector, subject.weights))

    found: torch.Tensor = torch.autograd.functional.jacobian(logits, flat)
    return found


def dense(subject: Subject, batches: Batches) -> torch.Tensor:
    """The mean over samples of Jᵀ(diag p − ppᵀ)J."""
    j = jacobian(subject, batches)
    p = subject(batches.images).softmax(1)
    s = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("nci,ncd,ndj->ij", j, s, j) / len(batches)


@pytest.mark.parametrize("memory", [0, 1e9])
def test_product_loss_and_gradient_agree_with_the_dense_matrix(module: nn.Module, memory: float) -> None:
    subject, batches = models.subject(module), models.batches()
    names = list(subject.weights)
    matrix = GaussNewton(subject, batches, names, memory=memory)
    truth = dense(subject, batches)
    vectors = torch.randn(matrix.dim, 3, generator=generator(0, "v"), dtype=torch.float64)
    for _ in range(2):  # kept graphs serve again
        torch.testing.assert_close(matrix.matmat(vectors), truth @ vectors)
    hessian = Hessian(subject, batches, names)
    assert matrix.loss == pytest.approx(hessian.loss)
    torch.testing.assert_close(matrix.gradient, hessian.gradient)
    assert matrix.kept == (len(batches) if memory else 0)


@pytest.mark.parametrize("memory", [0, 1e9])
@pytest.mark.parametrize("build", [models.OfItsGradient, models.OfItsGradientByFunc])
def test_of_a_network_that_takes_a_derivative_itself(build: Callable[[], nn.Module], memory: float) -> None:
    subject, batches = models.subject(build()), models.batches()
    names = list(subject.weights)
    matrix = GaussNewton(subject, batches, names, memory=memory)
    hessian = Hessian(subject, batches, names, memory=memory)
    v = torch.randn(matrix.dim, generator=generator(0, "v"), dtype=torch.float64)
    torch.testing.assert_close(matrix.matvec(v), dense(subject, batches) @ v)
    torch.testing.assert_close(hessian.matvec(v), models.dense_hessian(subject, batches, names) @ v)
    torch.testing.assert_close(matrix.gradient, hessian.gradient)


def test_it_is_the_fisher_information(module: nn.Module) -> None:
    """The mean over samples and over labels drawn from the network of gg^T."""
    subject, batches = models.subject(module), models.batches()
    logits = subject(batches.images)
    p, j = logits.softmax(1), jacobian(subject, batches)
    slopes = p[:, None, :] - torch.eye(models.CLASSES, dtype=torch.float64)  # (n, label, C)
    g = torch.einsum("nlc,nci->nli", slopes, j)
    fisher = torch.einsum("nl,nli,nlj->ij", p, g, g) / len(batches)
    matrix = GaussNewton(subject, batches, list(subject.weights))
    v = torch.randn(matrix.dim, generator=generator(1, "v"), dtype=torch.float64)
    torch.testing.assert_close(matrix.matvec(v), fisher @ v)


def test_of_a_network_linear_in_its_parameters_it_is_the_hessian() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    names = list(subject.weights)
    dim = sum(w.numel() for w in subject.weights.values())
    v = torch.randn(dim, generator=generator(0, "v"), dtype=torch.float64)
    torch.testing.assert_close(
        GaussNewton(subject, batches, names).matvec(v), Hessian(subject, batches, names).matvec(v)
    )


def test_no_eigenvalue_is_negative_and_the_rank_is_bounded(module: nn.Module) -> None:
    subject, batches = models.subject(module), models.batches()
    matrix = GaussNewton(subject, batches, list(subject.weights))
    k = len(batches) * (models.CLASSES - 1) + 1
    top, bottom = eigenpairs(matrix, k, generator(0, "start"), tolerance=1e-8)
    assert float(bottom.values[0]) > -1e-12 * float(top.values[0])
    assert float(top.values[-1]) < 1e-12 * float(top.values[0])


class Spare(nn.Module):
    """With a parameter that the logits do not use, and a class that is never meant."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.ones(5))
        self.net = models.softmax_regression()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(self.net(images), (0, 1), value=-torch.inf)


def test_unused_parameters_are_zero_and_masked_classes_change_nothing() -> None:
    subject, batches = models.subject(Spare()), models.batches()
    plain = models.subject(models.softmax_regression())
    plain = plain.at({name: subject.weights[f"net.{name}"] for name in plain.weights})
    matrix = GaussNewton(subject, batches, list(subject.weights))
    v = torch.randn(matrix.dim, generator=generator(0, "v"), dtype=torch.float64)
    product = matrix.matvec(v)
    assert not product[:5].any()
    torch.testing.assert_close(product[5:], dense(plain, batches) @ v[5:])
    assert not GaussNewton(subject, batches, ["spare"]).matvec(v[:5]).any()


@pytest.mark.parametrize(("function", "cut"), [(models.CutSquare, True), (models.Square, False)])
def test_a_function_that_hides_its_derivative_is_refused(
    function: type[torch.autograd.Function], cut: bool
) -> None:
    subject, batches = models.subject(models.Custom(function)), models.batches()

    def product() -> torch.Tensor:
        matrix = GaussNewton(subject, batches, list(subject.weights))
        return matrix.matvec(torch.ones(matrix.dim, dtype=torch.float64))

    if cut:
        with pytest.raises(UserError, match="once_differentiable, so it has no Gauss-Newton product"):
            product()
    else:
        truth = dense(subject, batches)
        torch.testing.assert_close(product(), truth.sum(1))


@pytest.mark.parametrize("build", [*models.NETWORKS.values(), Spare])
def test_single_precision(build: Callable[[], nn.Module]) -> None:
    subject, batches = models.subject(build(), torch.float32), models.batches(dtype=torch.float32)
    double = models.subject(build())
    v = torch.randn(sum(w.numel() for w in subject.weights.values()), generator=generator(0, "v"))
    single = GaussNewton(subject, batches, list(subject.weights)).matvec(v)
    exact = GaussNewton(double, models.batches(), list(double.weights)).matvec(v.double())
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()))
