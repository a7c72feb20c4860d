from collections.abc import Callable
from copy import deepcopy

import pyhessian
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from geomlab.curvature.hessian import Hessian
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.trace import traces
from geomlab.params import by_layer, digest
from tests import models

NETWORKS = [models.softmax_regression, models.mlp, models.cnn, models.vit, models.clip_classifier]
KEEP_NOTHING = 0.0


def batches_for(build: Callable[[], nn.Module]) -> Batches:
    return models.inputs(channels=3 if build is models.clip_classifier else 1)


def as_matrix(hessian: Hessian) -> Tensor:
    return hessian.matmat(torch.eye(hessian.dim, dtype=hessian.dtype))


@pytest.mark.parametrize("build", NETWORKS)
def test_spectrum_and_traces_are_those_of_the_dense_hessian(build: Callable[[], nn.Module]) -> None:
    subject, batches = models.subject_of(build()), batches_for(build)
    layers = by_layer(subject.weights)
    names = [name for members in layers.values() for name in members]
    dense = models.dense_hessian(subject, batches, names)
    hessian = Hessian(subject, batches, names)
    torch.testing.assert_close(as_matrix(hessian), dense)
    torch.testing.assert_close(hessian.gradient, models.dense_gradient(subject, batches, names))
    flat = models.flat_weights(subject, names)
    assert hessian.loss == pytest.approx(float(models.mean_loss(subject, batches, flat, names)))

    top, bottom = eigenpairs(hessian, 4, models.rng(), tolerance=1e-8)
    exact = torch.linalg.eigvalsh(dense)
    torch.testing.assert_close(top.values, exact.flip(0)[:4])
    assert top.status == "converged"
    # The iteration does not wait for the smallest one: it is an upper bound, and the exact value where it converged.
    assert float(bottom.values[0]) >= float(exact[0]) - 1e-12
    assert bottom.status != "converged" or float(bottom.values[0]) == pytest.approx(float(exact[0]))

    sizes = [sum(subject.weights[name].numel() for name in members) for members in layers.values()]
    blocks = [block.trace() for block in _diagonal_blocks(dense, sizes)]
    everything, _ = eigenpairs(hessian, hessian.dim, models.rng(), tolerance=1e-10)
    # With a complete basis nothing is left to chance, for one probe as for many.
    full = traces(
        hessian, models.rng(), probes=1, blocks=sizes, vectors=everything.vectors, images=everything.images
    )
    assert full.trace.value == pytest.approx(float(dense.trace()))
    assert full.squared_frobenius.value == pytest.approx(float(dense.square().sum()))
    torch.testing.assert_close(
        torch.tensor([block.value for block in full.blocks], dtype=torch.float64), torch.stack(blocks)
    )


def _diagonal_blocks(matrix: Tensor, sizes: list[int]) -> list[Tensor]:
    rows = matrix.split(sizes)
    return [row.split(sizes, dim=1)[i] for i, row in enumerate(rows)]


def test_softmax_regression_has_its_closed_form() -> None:
    subject, batches = models.subject_of(models.softmax_regression()), models.inputs(n=30)
    names = ["1.weight", "1.bias"]
    x = torch.cat([(batches.images.flatten(1) - 0.4) / 0.3, torch.ones(30, 1)], dim=1)
    weight = torch.cat([subject.weights["1.weight"], subject.weights["1.bias"][:, None]], dim=1)
    p = (x @ weight.T).softmax(1)
    gauss_newton = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    d, c = x.shape[1], models.CLASSES
    exact = torch.einsum("nij,na,nb->iajb", gauss_newton, x, x) / len(x)
    order = [i * d + a for i in range(c) for a in range(d - 1)] + [i * d + d - 1 for i in range(c)]
    exact = exact.reshape(c * d, c * d)[order][:, order]
    hessian = Hessian(subject, batches, names)
    torch.testing.assert_close(as_matrix(hessian), exact)
    # Rank at most (C - 1) d with the bias among the d; adding the same to every bias changes nothing.
    found, _ = eigenpairs(hessian, hessian.dim, models.rng(), tolerance=1e-10)
    assert len(found.values) == hessian.dim
    assert int((found.values > 1e-10).sum()) == (c - 1) * d
    shift = torch.zeros(hessian.dim, dtype=torch.float64)
    shift[-c:] = 1
    torch.testing.assert_close(hessian.matvec(shift), torch.zeros_like(shift))


class ScaleInvariant(nn.Module):
    """Logits depend on the direction of one vector of weights only."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(models.CLASSES * models.SIDE**2))

    def forward(self, images: Tensor) -> Tensor:
        unit = self.theta / self.theta.norm()
        return 5 * images.flatten(1) @ unit.view(models.CLASSES, -1).T


def test_scale_invariance_makes_h_theta_minus_the_gradient() -> None:
    subject, batches = models.subject_of(models.seeded(ScaleInvariant)), models.inputs()
    hessian = Hessian(subject, batches, ["theta"])
    theta = subject.weights["theta"]
    assert abs(float(theta @ hessian.gradient)) < 1e-12
    assert float(hessian.gradient.norm()) > 1e-2
    torch.testing.assert_close(hessian.matvec(theta), -hessian.gradient)


class TwoFactors(nn.Module):
    """Logits (a·b·x, 0): the curvature at a logit of zero is known."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        logit = self.a * self.b * images.mean((1, 2, 3))
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


def test_two_factors_have_their_closed_form() -> None:
    module = models.seeded(TwoFactors)
    subject = models.subject_of(module)
    a, b = subject.weights["a"], subject.weights["b"]
    batches = models.inputs(n=6)
    labels = torch.zeros(6, dtype=torch.long)
    batches = Batches(batches.images, labels, 4, batches.images, labels, True)
    x = ((batches.images - 0.4) / 0.3).mean((1, 2, 3))
    # L = mean softplus(-abx), so L' = -mean x(1-s) and L'' = mean x² s(1-s) in the product ab.
    s = (a * b * x).sigmoid()
    first, second = -(x * (1 - s)).mean(), (x.square() * s * (1 - s)).mean()
    exact = torch.stack([b * b * second, a * b * second + first, a * b * second + first, a * a * second])
    torch.testing.assert_close(as_matrix(Hessian(subject, batches, ["a", "b"])), exact.view(2, 2))


@pytest.mark.parametrize("build", [models.cnn, models.vit])
def test_kept_and_recomputed_graphs_agree(build: Callable[[], nn.Module]) -> None:
    subject, batches = models.subject_of(build()), models.inputs()
    names = list(subject.weights)
    kept, anew = Hessian(subject, batches, names), Hessian(subject, batches, names, memory=KEEP_NOTHING)
    assert (kept.kept, anew.kept) == (10, 0)
    assert torch.equal(as_matrix(kept), as_matrix(anew))
    assert torch.equal(kept.gradient, anew.gradient)


def test_every_memory_budget_gives_the_same_product() -> None:
    subject, batches = models.subject_of(models.mlp()), models.inputs(n=11)
    names = list(subject.weights)
    whole = Hessian(subject, batches, names)
    vector = torch.randn(whole.dim, generator=models.rng(), dtype=torch.float64)
    each = whole._bytes_per_sample()
    kept = set()
    for samples in range(
        13
    ):  # with room for 7 the second batch does not fit, and the third, smaller one would
        part = Hessian(subject, batches, names, memory=samples * each + 1)
        kept.add(part.kept)
        torch.testing.assert_close(part.matvec(vector), whole.matvec(vector))
    assert kept == {0, 4, 8, 11}


@given(batch_size=st.integers(1, 12), seed=st.integers(0, 9))
def test_batches_count_by_their_size(batch_size: int, seed: int) -> None:
    subject = models.subject_of(models.mlp())
    names = list(subject.weights)
    split, whole = (
        Hessian(subject, models.inputs(n=11, batch_size=size, seed=seed), names) for size in (batch_size, 11)
    )
    vector = torch.randn(whole.dim, generator=models.rng(seed), dtype=torch.float64)
    torch.testing.assert_close(split.matvec(vector), whole.matvec(vector))
    torch.testing.assert_close(split.gradient, whole.gradient)
    assert split.loss == pytest.approx(whole.loss)


@given(seed=st.integers(0, 99), scale=st.floats(-3, 3))
def test_products_are_linear_and_symmetric(seed: int, scale: float) -> None:
    hessian = Hessian(models.subject_of(models.vit()), models.inputs(), ["attention.in_proj_weight"])
    u, v = torch.randn(2, hessian.dim, generator=models.rng(seed), dtype=torch.float64)
    torch.testing.assert_close(
        hessian.matvec(u + scale * v), hessian.matvec(u) + scale * hessian.matvec(v), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(u @ hessian.matvec(v), v @ hessian.matvec(u), rtol=1e-9, atol=1e-12)


def test_some_of_the_parameters_are_a_block_in_the_order_asked_for() -> None:
    subject, batches = models.subject_of(models.cnn()), models.inputs()
    names = ["7.bias", "0.weight", "4.weight"]
    torch.testing.assert_close(
        as_matrix(Hessian(subject, batches, names)), models.dense_hessian(subject, batches, names)
    )


@pytest.mark.parametrize("names", [["idle", "used.weight"], ["idle"]])
@pytest.mark.parametrize("memory", [KEEP_NOTHING, 1e9])
def test_parameters_that_are_not_used_have_zero_rows(names: list[str], memory: float) -> None:
    subject = models.subject_of(models.seeded(models.OneUnused))
    hessian = Hessian(subject, models.inputs(), names, memory=memory)
    matrix = as_matrix(hessian)
    assert not matrix[:6].any()
    assert not matrix[:, :6].any()
    assert not hessian.gradient[:6].any()
    assert bool(matrix[6:, 6:].any()) == (len(names) == 2)


def test_the_callers_module_and_randomness_are_left_alone() -> None:
    module = models.cnn().train()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before, state = deepcopy(module.state_dict()), torch.get_rng_state()
    subject = models.subject_of(module)
    own = subject.digest
    hessian = Hessian(subject, models.inputs(), list(subject.weights))
    top, _ = eigenpairs(hessian, 2, models.rng())
    traces(hessian, models.rng(), probes=2, vectors=top.vectors, images=top.images)
    assert digest(module.state_dict()) == digest(before)
    assert all(child.training for child in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(module[0].weight.grad, torch.ones_like(module[0].weight))
    assert all(p.grad is None for name, p in module.named_parameters() if name != "0.weight")
    assert torch.equal(torch.get_rng_state(), state)
    assert digest({**subject.weights, **subject.buffers}) == own.partition("-")[0]
    assert all(tensor.grad is None and not tensor.requires_grad for tensor in subject.weights.values())
    assert not any(child.training for child in subject.module.modules())


def test_a_network_that_draws_in_its_passes_is_refused() -> None:
    subject = models.subject_of(models.seeded(models.Noisy))
    with pytest.raises(UserError, match="two passes over the data gave the losses"):
        Hessian(subject, models.inputs(), ["linear.weight"])


def test_a_loss_that_is_not_finite_is_refused() -> None:
    subject = models.subject_of(models.mlp())
    broken = subject.at({"1.bias": torch.full_like(subject.weights["1.bias"], torch.nan)})
    with pytest.raises(UserError, match="the loss or its gradient is not finite; try --dtype float64"):
        Hessian(broken, models.inputs(), ["1.weight"])


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")  # pyhessian's way to get a gradient
def test_pyhessian_agrees() -> None:
    module, batches = models.vit().float(), models.inputs(n=40, batch_size=40)
    images = batches.images.float()
    subject = models.subject_of(module)
    hessian = Hessian(subject, batches.to(subject.device, torch.float32), list(subject.weights))
    top, bottom = eigenpairs(hessian, 2, models.rng())
    assert abs(float(bottom.values[0])) < float(top.values[1])  # its power iteration goes by the modulus
    found = traces(hessian, models.rng(), probes=50, vectors=top.vectors, images=top.images)

    # It sets eval, fills .grad, draws from the global generator, and knows nothing of attention.
    with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
        torch.manual_seed(0)
        rival = pyhessian.hessian(
            deepcopy(module), nn.CrossEntropyLoss(), data=((images - 0.4) / 0.3, batches.labels), cuda=False
        )
        values, _ = rival.eigenvalues(maxIter=500, tol=1e-5, top_n=2)
        samples = torch.tensor(rival.trace(maxIter=200, tol=0), dtype=torch.float64)
    # It stops where two iterations differ by its tolerance, which is not yet the distance to the eigenvalue.
    assert top.values.tolist() == pytest.approx(values, rel=5e-3)
    error = (found.trace.stderr**2 + float(samples.var() / len(samples))) ** 0.5
    assert abs(found.trace.value - float(samples.mean())) < 4 * error
    assert error < 0.1 * found.trace.value
