from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import geomlab
from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.curvature.second_opinion import (
    Difference,
    SecondOpinion,
    checked,
    differences,
    pyhessian_eigenvalues,
)
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.errors import UserError
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense, Operator
from geomlab.rng import generator
from geomlab.subject import Subject
from tests import models


def largest(dense: Tensor, k: int) -> list[float]:
    """The k of largest magnitude, in descending order."""
    values = torch.linalg.eigvalsh(dense)
    return sorted(values[values.abs().argsort(descending=True)[:k]].tolist(), reverse=True)


def ours_of(operator: Operator, k: int) -> tuple[Eigenpairs, Eigenpairs]:
    return eigenpairs(operator, k, generator(0, "start"), bottom=2, both=True, max_products=400)


@pytest.mark.parametrize("network", models.NETWORKS)
@pytest.mark.parametrize("size", [4, 11])
def test_it_finds_the_eigenvalues_of_largest_magnitude(network: str, size: int) -> None:
    """Of one batch and of several, the last one uneven."""
    subject, batches = models.subject(models.NETWORKS[network]()), models.batches(11, size)
    names = list(subject.weights)
    hessian = Hessian(subject, batches, names)
    theirs = pyhessian_eigenvalues(subject, batches, names, 3, tolerance=1e-7, max_iterations=3000)
    theirs = checked(theirs, hessian)
    dense = models.dense_hessian(subject, batches, names)
    assert theirs.values.tolist() == pytest.approx(largest(dense, 3), rel=1e-4)
    truth = (dense @ theirs.vectors - theirs.vectors * theirs.values).norm(dim=0)
    torch.testing.assert_close(theirs.residuals, truth, rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(theirs.vectors.norm(dim=0), torch.ones(3).double())
    assert float(theirs.residuals.max()) < 1e-2
    assert theirs.seconds > 0
    looser = replace(theirs, tolerance=1e-3)
    assert verdicts(differences(*ours_of(hessian, 3), looser)) == ["agrees"] * 3


def test_the_embedded_checkpoint() -> None:
    subject = geomlab.load(checkpoint_path("ft"))
    conditions = parse_conditions(["clean"], open_source("glyphs"), n=12, seed=0, batch_size=8)
    batches = conditions[0].realise(subject)
    names = [name for name in subject.weights if "resblocks.0" in name or name == "visual.proj"]
    hessian = Hessian(subject, batches, names)
    ours = ours_of(hessian, 4)
    theirs = checked(pyhessian_eigenvalues(subject, batches, names, 2, tolerance=1e-4), hessian)
    assert verdicts(differences(*ours, replace(theirs, tolerance=1e-3))) == ["agrees"] * 2
    # At the tolerance it was asked for it is off: how little a value changes is no bound of its error.
    strict = differences(*ours, theirs)
    assert strict[1].verdict == "theirs is off"
    assert strict[1].allowed


def test_the_network_and_the_random_state_are_left_alone_and_it_repeats() -> None:
    subject, batches = models.subject(models.Attention()), models.batches()
    names = list(subject.weights)
    before = params.digest({**subject.weights, **subject.buffers})
    state = torch.get_rng_state()
    first = pyhessian_eigenvalues(subject, batches, names, 2)
    torch.rand(3)
    again = pyhessian_eigenvalues(subject, batches, names, 2)
    other = pyhessian_eigenvalues(subject, batches, names, 2, seed=1)
    torch.testing.assert_close(first.vectors, again.vectors, rtol=0, atol=0)
    assert not torch.equal(first.vectors, other.vectors)
    torch.set_rng_state(state)
    pyhessian_eigenvalues(subject, batches, names, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert params.digest({**subject.weights, **subject.buffers}) == before
    for parameter in subject.module.parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad
    assert all(tensor.grad is None and not tensor.requires_grad for tensor in subject.weights.values())
    assert not any(child.training for child in subject.module.modules())


class Spare(nn.Module):
    """With a parameter that the loss does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = models.convolution(), nn.Parameter(torch.ones(5))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


@pytest.mark.parametrize("size", [4, 11])
def test_a_subset_of_the_parameters_in_any_order_and_away_from_the_module_s_own(size: int) -> None:
    subject, batches = models.subject(Spare()), models.batches(11, size)
    subject = subject.at({name: 1.3 * weight for name, weight in subject.weights.items()})
    names = ["net.4.bias", "spare", "net.0.weight"]
    theirs = pyhessian_eigenvalues(subject, batches, names, 2, tolerance=1e-7, max_iterations=3000)
    dense = models.dense_hessian(subject, batches, ["net.4.bias", "net.0.weight"])
    assert theirs.values.tolist() == pytest.approx(largest(dense, 2), rel=1e-4)
    assert not theirs.vectors[3:8].any()
    used = torch.cat([theirs.vectors[:3], theirs.vectors[8:]])
    assert float((dense @ used - used * theirs.values).norm()) < 1e-2 * float(theirs.values[0])
    assert theirs.status == "not checked"
    assert bool(theirs.residuals.isnan().all())


class LowRank(nn.Module):
    """A weight W + BA, as LoRA's, for `torch.nn.utils.parametrize`."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.lora_a = nn.Parameter(torch.ones(2, columns))
        self.lora_b = nn.Parameter(torch.ones(rows, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.lora_b @ self.lora_a


def test_parametrized_weights() -> None:
    module = models.softmax_regression()
    parametrize.register_parametrization(module[1], "weight", LowRank(3, 72))
    subject, batches = models.subject(module), models.batches()
    names = params.select(subject.weights, "lora")
    assert len(names) == 2
    theirs = pyhessian_eigenvalues(subject, batches, names, 2, tolerance=1e-7, max_iterations=3000)
    dense = models.dense_hessian(subject, batches, names)
    assert theirs.values.tolist() == pytest.approx(largest(dense, 2), rel=1e-4)


@pytest.mark.parametrize("size", [4, 11])
def test_products_are_counted(size: int) -> None:
    subject, batches = models.subject(models.convolution()), models.batches(11, size)
    found = pyhessian_eigenvalues(subject, batches, list(subject.weights), 2, tolerance=0, max_iterations=7)
    assert found.products == 14


def test_a_hessian_of_zero_has_vectors_of_zero_and_no_proof() -> None:
    subject, batches = models.subject(Spare()), models.batches()
    hessian = Hessian(subject, batches, ["spare"])
    theirs = checked(pyhessian_eigenvalues(subject, batches, ["spare"], 1), hessian)
    assert theirs.values.tolist() == [0]
    assert theirs.residuals.tolist() == [torch.inf]


def test_too_few_iterations_are_told_from_agreement() -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    names = list(subject.weights)
    hessian = Hessian(subject, batches, names)
    theirs = checked(pyhessian_eigenvalues(subject, batches, names, 3, max_iterations=2), hessian)
    truth = largest(models.dense_hessian(subject, batches, names), 3)
    wrong = [abs(a - b) > 2e-3 * b for a, b in zip(theirs.values.tolist(), truth, strict=True)]
    assert any(wrong)
    found = differences(*ours_of(hessian, 3), theirs)
    assert [d.verdict == "theirs is off" for d in found] == wrong
    assert "residuals not within 0.001" in theirs.status


class Logistic(nn.Module):
    """Logits θx and −θx, x one-hot: a diagonal Hessian whose entries are the squares of the images' lengths."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, images: Tensor) -> Tensor:
        z = images.flatten(1) @ self.weight
        return torch.stack([z, -z], dim=1)


def diagonal(entries: Sequence[float]) -> tuple[Subject, Batches]:
    """At θ = 0 each image adds 4·¼·x² to its own entry."""
    subject = models.subject(Logistic(len(entries)))
    subject = subject.at({"weight": torch.zeros(len(entries), dtype=torch.float64)})
    lengths = (torch.tensor(entries, dtype=torch.float64) * len(entries)).sqrt()
    images = torch.diag(lengths)[:, None, None, :]
    labels = torch.zeros(len(entries), dtype=torch.int64)
    return subject, Batches(images, labels, len(entries), images, labels, True)


def test_a_clustered_spectrum_is_where_pyhessian_is_off() -> None:
    entries = [1.0, 0.99975, 0.9995, *torch.linspace(0.97, 0.01, 60).tolist()]
    subject, batches = diagonal(entries)
    hessian = Hessian(subject, batches, ["weight"])
    torch.testing.assert_close(
        hessian.matvec(torch.ones(63).double()), torch.tensor(entries, dtype=torch.float64)
    )
    theirs = checked(pyhessian_eigenvalues(subject, batches, ["weight"], 3), hessian)
    top, bottom = ours_of(hessian, 3)
    assert top.values.tolist() == pytest.approx(entries[:3], abs=1e-6)
    found = differences(top, bottom, theirs)
    assert verdicts(found) == ["theirs is off"] * 3
    # It stopped by its own tolerance, and an eigenvalue does lie within each residual.
    assert theirs.products < 300
    for value, residual in zip(theirs.values.tolist(), theirs.residuals.tolist(), strict=True):
        assert min(abs(value - entry) for entry in entries) <= residual
        assert residual > 1e-3 * value


def pairs(matrix: Tensor, values: list[float], residual: float = 0.0) -> Eigenpairs:
    """Ours, of a diagonal matrix."""
    k = len(values)
    vectors = torch.stack([(matrix.diagonal() == value).double() for value in values], dim=1)
    found = torch.tensor(values, dtype=torch.float64)
    residuals = torch.full((k,), residual, dtype=torch.float64)
    return Eigenpairs(
        found, vectors, vectors * found, residuals, torch.ones(k, dtype=torch.bool), "converged", 9
    )


def unchecked(matrix: Tensor, vectors: list[Tensor]) -> SecondOpinion:
    """Theirs, with Rayleigh quotients for values."""
    stacked = torch.stack([vector / vector.norm() for vector in vectors], dim=1)
    values = (stacked * (matrix @ stacked)).sum(0)
    return SecondOpinion(values, stacked, torch.full_like(values, torch.nan), 1e-3, "not checked", 9, 0.0)


def opinion(matrix: Tensor, vectors: list[Tensor]) -> SecondOpinion:
    return checked(unchecked(matrix, vectors), Dense(matrix))


def verdicts(found: list[Difference]) -> list[str]:
    return [difference.verdict for difference in found]


def test_who_is_off() -> None:
    matrix = torch.diag(torch.tensor([5.0, 4, 3, 1, -2, -4.5], dtype=torch.float64))
    e = list(torch.eye(6, dtype=torch.float64))
    top, bottom = pairs(matrix, [5, 4, 3]), pairs(matrix, [-4.5])
    right = [e[0], e[1], e[5]]
    assert verdicts(differences(top, bottom, opinion(matrix, right))) == ["agrees"] * 3
    # Ours without 4: a proof, with or without an error of our own.
    for residual in (0.0, 0.1):
        lacking = pairs(matrix, [5, 3, 1], residual)
        found = differences(lacking, bottom, opinion(matrix, right))
        assert verdicts(found) == ["agrees", "ours missed one", "agrees"]
        assert not found[1].allowed
    # Ours without −4.5, which is below our lowest.
    assert verdicts(differences(top, pairs(matrix, [-2]), opinion(matrix, right)))[2] == "ours missed one"
    # A mixture, whose residual says that it is no eigenvector.
    mixed = opinion(matrix, [e[0], e[1] + 0.3 * e[3], e[5]])
    found = differences(top, bottom, mixed)
    assert verdicts(found) == ["agrees", "theirs is off", "agrees"]
    assert found[1].residual > abs(found[1].difference) > 0.1
    assert found[1].allowed
    # An eigenvector, of an eigenvalue that is not among the three largest in magnitude.
    assert verdicts(differences(top, bottom, opinion(matrix, [e[0], e[1], e[4]])))[2] == "theirs is off"
    # Three that are, of which we looked for fewer.
    fewer = differences(pairs(matrix, [5, 4]), pairs(matrix, [-4.5]), opinion(matrix, [e[0], e[1], e[2]]))
    assert verdicts(fewer)[2] == "theirs is off"  # −4.5 is larger
    wide = differences(
        pairs(matrix, [5, 4]), pairs(matrix, [-4.5, -4.5]), opinion(matrix, [e[0], e[1], e[5], e[2]])
    )
    assert verdicts(wide)[3] == "theirs is off"


def plain(values: list[float], residual: float) -> Eigenpairs:
    """Ours, by their values alone."""
    found, none = torch.tensor(values, dtype=torch.float64), torch.zeros(0, len(values)).double()
    residuals = torch.full_like(found, residual)
    return Eigenpairs(found, none, none, residuals, torch.ones(len(values), dtype=torch.bool), "", 0)


def theirs_of(values: list[float], residuals: list[float]) -> SecondOpinion:
    none = torch.zeros(0, len(values)).double()
    return SecondOpinion(
        torch.tensor(values).double(), none, torch.tensor(residuals).double(), 1e-3, "", 0, 0.0
    )


def test_one_value_that_is_off_leaves_the_others_with_their_matches() -> None:
    theirs = theirs_of([5.3113, 5.1355, 4.0284, 0.97862, 0.73062], [0.059, 0.19, 0.077, 0.014, 0.013])
    top = plain([5.3193, 4.0263, 0.97987, 0.73015, 1e-8], 1e-6)
    found = differences(top, plain([-1e-9], 1e-6), theirs)
    assert [one.ours for one in found] == [5.3193, 5.3193, 4.0263, 0.97987, 0.73015]
    assert found[1].verdict == "theirs is off"
    assert all(one.allowed for one in found)


def test_as_many_as_can_are_matched() -> None:
    """Each at the limit of what it allows, rather than two exactly and one not at all."""
    found = differences(
        plain([3.0, 2.9971, 2.9942], 0), plain([-1.0], 0), theirs_of([3.0029, 3.0, 2.9971], [0.00295] * 3)
    )
    assert verdicts(found) == ["agrees"] * 3
    assert all(one.allowed for one in found)


def test_a_proof_outweighs_a_tolerance() -> None:
    found = differences(plain([3.0], 1e-9), plain([-1.0], 0), theirs_of([3.001], [1e-6]))
    assert (found[0].verdict, found[0].allowed) == ("ours missed one", False)


def test_loose_values_that_we_did_not_search_for_are_not_off() -> None:
    """Of an indefinite Hessian, of which we have one end's first only."""
    theirs = theirs_of([-25.25, -25.73, -34.16, -35.99, -53.27], [0.75, 0.61, 0.74, 0.81, 0.5])
    found = differences(plain([0.708, 0.264, 0.175, 0.035, -0.0098], 1e-6), plain([-53.35], 1e-6), theirs)
    assert verdicts(found) == ["not searched by ours"] * 4 + ["theirs is off"]
    assert [one.allowed for one in found] == [False] * 4 + [True]


def test_what_neither_can_tell() -> None:
    matrix = torch.diag(torch.tensor([5.0, 4, -4.2, -6, 1], dtype=torch.float64))
    e = list(torch.eye(5, dtype=torch.float64))
    top, bottom = pairs(matrix, [5, 4]), pairs(matrix, [-6])
    # −4.2 is larger in magnitude than 4, and lies between what we searched.
    found = differences(top, bottom, opinion(matrix, [e[0], e[2], e[3]]))
    assert verdicts(found) == ["agrees", "not searched by ours", "agrees"]
    # The same vector twice, or a copy that we lack.
    twice = differences(top, bottom, opinion(matrix, [e[0], e[0]]))
    assert verdicts(twice) == ["agrees", "undecided"]
    unproven = differences(top, bottom, unchecked(matrix, [e[0], e[2], e[3]]))
    assert verdicts(unproven) == ["agrees", "undecided", "agrees"]
    assert not any(difference.allowed for difference in unproven)
    # An error of our own covers a difference.
    loose = replace(top, residuals=torch.full((2,), 0.3, dtype=torch.float64))
    assert verdicts(differences(loose, bottom, opinion(matrix, [e[0], e[1] + 0.2 * e[0]]))) == ["agrees"] * 2


def test_a_dimension_as_small_as_what_was_asked_for() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1, -3], dtype=torch.float64))
    e = list(torch.eye(3, dtype=torch.float64))
    found = differences(pairs(matrix, [2, 1, -3]), pairs(matrix, [-3]), opinion(matrix, e))
    assert verdicts(found) == ["agrees"] * 3
    with pytest.raises(ValueError, match="at least as many eigenvalues of ours as of theirs, got 1 and 3"):
        differences(pairs(matrix, [2]), pairs(matrix, [2]), opinion(matrix, e))


def test_what_cannot_be_asked_for() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches()
    for k, iterations in ((0, 1), (4, 1), (1, 0)):
        with pytest.raises(ValueError, match="expected 1 <= k <= 3 and max_iterations >= 1"):
            pyhessian_eigenvalues(subject, batches, ["1.bias"], k, max_iterations=iterations)


def test_eigenvalues_that_are_not_finite_are_refused() -> None:
    subject = models.subject(models.softmax_regression())
    huge = subject.at({"1.weight": torch.full_like(subject.weights["1.weight"], torch.inf)})
    with pytest.raises(UserError, match="pyhessian gives eigenvalues"):
        pyhessian_eigenvalues(huge, models.batches(), list(huge.weights), 1)
