"""Against autograd on flattened parameters and dense Hessians, with no code of `geomlab.curvature`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geomlab import params
from geomlab.curvature.sharpness import Sharpness, adaptive_sam, average_case, m_sharpness, sam
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models

Measure = Callable[[Subject, Batches, list[str]], Sharpness]


def grouped(subject: Subject, batches: Batches, names: list[str]) -> Sharpness:
    return m_sharpness(subject, batches, names, generator(0, "groups"), m=3)


def averaged(subject: Subject, batches: Batches, names: list[str]) -> Sharpness:
    return average_case(subject, batches, names, generator(0, "probes"), rho=0.5, probes=4)


MEASURES: dict[str, Measure] = {"sam": sam, "asam": adaptive_sam, "m": grouped, "average": averaged}


@pytest.fixture(params=MEASURES)
def measure(request: pytest.FixtureRequest) -> Measure:
    return MEASURES[request.param]


@pytest.fixture(params=models.NETWORKS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return models.subject(models.NETWORKS[request.param]())


def losses(subject: Subject, batches: Batches, names: list[str], theta: Tensor) -> Tensor:
    """(n,) at flattened parameters."""
    pieces = theta.split([subject.weights[name].numel() for name in names])
    weights = {n: p.view_as(subject.weights[n]) for n, p in zip(names, pieces, strict=True)}
    return F.cross_entropy(subject(batches.images, weights), batches.labels, reduction="none")


def flat(subject: Subject, names: list[str]) -> Tensor:
    return torch.cat([subject.weights[name].reshape(-1) for name in names])


def slope(subject: Subject, batches: Batches, names: list[str]) -> Tensor:
    theta = flat(subject, names).requires_grad_()
    return torch.autograd.grad(losses(subject, batches, names, theta).mean(), theta)[0]


def rows(batches: Batches, index: Tensor) -> Batches:
    return replace(batches, images=batches.images[index], labels=batches.labels[index])


def naive(subject: Subject, batches: Batches, names: list[str], rho: float, adaptive: bool) -> Tensor:
    """(n,) rises of the samples."""
    theta, g = flat(subject, names), slope(subject, batches, names)
    t = theta.abs() if adaptive else torch.ones_like(theta)
    step = rho * t**2 * g / (t * g).norm()
    with torch.no_grad():
        return losses(subject, batches, names, theta + step) - losses(subject, batches, names, theta)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("rho", [0.01, 0.7])
def test_sam_and_its_error_agree_with_a_naive_version(subject: Subject, adaptive: bool, rho: float) -> None:
    batches = models.batches()
    for names in (list(subject.weights), list(subject.weights)[1:3]):
        found = (adaptive_sam if adaptive else sam)(subject, batches, names, rho=rho)
        truth = naive(subject, batches, names, rho, adaptive)
        torch.testing.assert_close(found.samples, truth, rtol=1e-9, atol=1e-13)
        assert found.value == pytest.approx(float(truth.mean()), rel=1e-9)
        assert found.stderr == pytest.approx(float(truth.std()) / 11**0.5, rel=1e-9)
        assert (found.status, found.gradients, found.forwards) == ("measured", 1, 3)


def test_a_small_step_rises_by_slope_and_curvature(subject: Subject) -> None:
    batches, names, rho = models.batches(), list(subject.weights), 1e-5
    hessian = models.dense_hessian(subject, batches, names)
    g, theta = slope(subject, batches, names), flat(subject, names)
    length = float(g.norm())
    second = rho**2 / 2 * float(g @ hessian @ g) / length**2
    assert abs(second) > 1e-12
    # What is left is of third order, and rounding, 1e-16.
    assert sam(subject, batches, names, rho=rho).value - rho * length == pytest.approx(second, rel=1e-3)
    assert adaptive_sam(subject, batches, names, rho=rho).value == pytest.approx(
        rho * float((theta * g).norm()), rel=1e-3
    )


def relu(scale: float) -> Subject:
    """Its first layer, biases included, times `scale`, a number a node, and its second divided by them."""
    subject = models.subject(
        nn.Sequential(nn.Flatten(), nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, models.CLASSES))
    )
    nodes = scale ** torch.linspace(-1, 2, 6, dtype=torch.float64)
    w = subject.weights
    return subject.at(
        {
            "1.weight": w["1.weight"] * nodes[:, None],
            "1.bias": w["1.bias"] * nodes,
            "3.weight": w["3.weight"] / nodes,
        }
    )


def test_adaptive_sharpness_does_not_change_where_the_function_does_not() -> None:
    batches = models.batches()
    before, after = relu(1.0), relu(10.0)
    torch.testing.assert_close(before(batches.images), after(batches.images))
    names = list(before.weights)
    ours = [adaptive_sam(s, batches, names).value for s in (before, after)]
    assert ours[0] == pytest.approx(ours[1], rel=1e-10)
    plain = [sam(s, batches, names).value for s in (before, after)]
    assert abs(plain[0] / plain[1] - 1) > 0.2


def test_groups_of_all_samples_are_sam_and_groups_of_one_are_samples(subject: Subject) -> None:
    batches, names = models.batches(), list(subject.weights)
    n = len(batches)
    whole = m_sharpness(subject, batches, names, generator(0, "g"), m=n)
    assert whole.value == pytest.approx(sam(subject, batches, names).value, rel=1e-9)
    assert whole.stderr != whole.stderr  # one group has no spread
    single = m_sharpness(subject, batches, names, generator(0, "g"), m=1)
    alone = [sam(subject, rows(batches, torch.tensor([i])), names).value for i in range(n)]
    assert sorted(single.samples.tolist()) == pytest.approx(sorted(alone), rel=1e-9, abs=1e-13)
    assert single.stderr == pytest.approx(
        float(torch.tensor(alone, dtype=torch.float64).std()) / n**0.5, rel=1e-9
    )
    assert single.value > whole.value  # single samples agree less on a direction


def test_groups_are_disjoint_and_a_last_smaller_one_is_dropped() -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    names = list(subject.weights)
    found = m_sharpness(subject, batches, names, generator(0, "g"), m=4, rho=0.3)
    groups = torch.randperm(11, generator=generator(0, "g"))[:8].view(2, 4)
    truth = torch.stack(
        [naive(subject, rows(batches, group), names, 0.3, adaptive=False).mean() for group in groups]
    )
    torch.testing.assert_close(found.samples, truth, rtol=1e-9, atol=1e-13)
    assert found.value == pytest.approx(float(truth.mean()))
    assert found.stderr == pytest.approx(float(truth.std()) / 2**0.5)
    assert (found.gradients, found.forwards) == pytest.approx((8 / 11, 2 + 8 / 11))


def test_each_pair_of_probes_sees_the_curvature_along_it_and_their_mean_the_trace(subject: Subject) -> None:
    batches, names, rho = models.batches(), list(subject.weights), 1e-4
    hessian = models.dense_hessian(subject, batches, names)
    dim = len(hessian)
    found = average_case(subject, batches, names, generator(0, "z"), rho=rho, probes=400)
    rng = generator(0, "z")
    for rise in found.samples[:5].tolist():
        z = torch.cat([torch.randn(w.shape, generator=rng).reshape(-1) for w in subject.weights.values()])
        z = z.double() / dim**0.5
        # What is linear in ρz would be a thousand times as much.
        assert rise == pytest.approx(rho**2 / 2 * float(z @ hessian @ z), rel=1e-3, abs=1e-14)
    truth = rho**2 / 2 * float(hessian.trace()) / dim
    assert found.value == pytest.approx(truth, abs=4 * found.stderr)
    assert found.stderr < 0.3 * abs(truth)
    assert found.stderr == pytest.approx(float(found.samples.std()) / 20)
    assert (found.gradients, found.forwards) == (0, 802)


@pytest.mark.parametrize("size", [1, 5, 11])
def test_blind_to_the_split_into_batches(measure: Measure, size: int) -> None:
    subject = models.subject(models.convolution())
    names = list(subject.weights)
    whole, split = (measure(subject, models.batches(11, n), names) for n in (11, size))
    torch.testing.assert_close(split.samples, whole.samples, rtol=1e-8, atol=1e-13)
    assert split.value == pytest.approx(whole.value, rel=1e-8)


def test_the_network_and_the_random_state_are_left_alone(measure: Measure) -> None:
    subject = models.subject(models.Attention())
    before, state = params.digest(subject.weights), torch.get_rng_state()
    assert measure(subject, models.batches(), list(subject.weights)).status == "measured"
    assert params.digest(subject.weights) == before == params.digest(dict(subject.module.named_parameters()))
    assert all(parameter.grad is None for parameter in subject.module.parameters())
    assert not any(child.training for child in subject.module.modules())
    assert torch.equal(state, torch.get_rng_state())


class Spare(nn.Module):
    """With a parameter that the loss does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.net = nn.Parameter(torch.ones(5)), models.softmax_regression()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


@pytest.mark.parametrize("measure", [sam, adaptive_sam, grouped])
def test_a_gradient_of_zero_has_no_direction(measure: Measure) -> None:
    subject = models.subject(Spare())
    found = measure(subject, models.batches(), ["spare"])
    assert found.value != found.value
    assert found.stderr != found.stderr
    assert "no direction" in found.status


def test_weights_of_zero_have_no_adaptive_direction_but_a_plain_one() -> None:
    subject = models.subject(models.softmax_regression())
    subject = subject.at({"1.bias": torch.zeros(3, dtype=torch.float64)})
    assert "no direction" in adaptive_sam(subject, models.batches(), ["1.bias"]).status
    assert sam(subject, models.batches(), ["1.bias"]).status == "measured"


def test_fitted_groups_count_as_zero_and_are_said() -> None:
    """So sure of three samples that their gradient is zero even in float64."""
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    images = batches.images.clone()
    images[:3] *= 1e5
    labels = batches.labels.clone()
    labels[:3] = subject(images[:3]).argmax(1)
    batches, names = replace(batches, images=images, labels=labels), list(subject.weights)
    assert not slope(subject, rows(batches, torch.arange(3)), names).any()
    found = m_sharpness(subject, batches, names, generator(0, "g"), m=1)
    assert "3 of 11 groups have a gradient of zero and count as 0" in found.status
    assert int((found.samples == 0).sum()) == 3
    assert found.value == pytest.approx(float(found.samples.mean()))


def test_a_rise_below_rounding_is_said() -> None:
    subject, batches = (
        models.subject(models.convolution(), torch.float32),
        models.batches(dtype=torch.float32),
    )
    names = list(subject.weights)
    tiny = partial(average_case, subject, batches, names, rho=1e-4)
    assert "not told from rounding" in tiny(generator(0, "z")).status
    # That it is lost: float64 tells what it is, and float32 is off by a good part of it.
    precise = models.subject(models.convolution())
    truth = average_case(precise, models.batches(), names, generator(0, "z"), rho=1e-4)
    assert truth.status == "measured"
    assert abs(tiny(generator(0, "z")).value - truth.value) > 0.1 * abs(truth.value)
    assert average_case(subject, batches, names, generator(0, "z"), rho=1.0).status == "measured"


class Cliff(nn.Module):
    """Finite where the gate is 0, and −∞ beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.gate = models.softmax_regression(), nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.base(images)
        return torch.where(self.gate.abs() > 0.3, torch.inf, 1.0) * (1 + self.gate) * logits


def test_a_loss_that_is_not_finite_at_the_end_of_the_step_is_refused() -> None:
    subject, batches = models.subject(Cliff()), models.batches()
    subject = subject.at({"gate": torch.zeros(1, dtype=torch.float64)})
    assert sam(subject, batches, ["gate"], rho=0.2).status == "measured"
    with pytest.raises(UserError, match=r"moved by rho = 0.5 is NaN or infinite for 11 of 11 samples; take"):
        sam(subject, batches, ["gate"], rho=0.5)
    with pytest.raises(UserError, match=r"moved by rho = 5 is NaN"):
        average_case(subject, batches, ["gate"], generator(0, "z"), rho=5)


def test_a_loss_that_is_not_finite_here_is_refused(measure: Measure) -> None:
    subject = models.subject(models.softmax_regression())
    huge = subject.at({"1.weight": torch.full_like(subject.weights["1.weight"], torch.inf)})
    with pytest.raises(UserError, match="the loss is NaN or infinite for 11 of 11 samples"):
        measure(huge, models.batches(), list(huge.weights))


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(F.dropout(images, 0.01, training=True))


def test_a_network_that_does_not_repeat_itself_is_refused(measure: Measure) -> None:
    subject = models.subject(Noisy())
    names = list(subject.weights)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with pytest.raises(UserError, match="must be deterministic"):
            measure(subject, models.batches(), names)


def test_what_cannot_be_asked_for() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    names, rng = list(subject.weights), generator(0, "g")
    for wrong in (
        partial(sam, rho=0.0),
        partial(adaptive_sam, rho=-1.0),
        partial(m_sharpness, generator=rng, rho=0.0),
        partial(average_case, generator=rng, rho=float("nan")),
    ):
        with pytest.raises(ValueError, match="expected rho > 0"):
            wrong(subject, batches, names)
    with pytest.raises(ValueError, match="expected m >= 1"):
        m_sharpness(subject, batches, names, rng, m=0)
    with pytest.raises(ValueError, match="expected probes >= 1"):
        average_case(subject, batches, names, rng, probes=0)
    with pytest.raises(UserError, match=r"groups of 12 needs as many samples, got 11"):
        m_sharpness(subject, batches, names, rng, m=12)
