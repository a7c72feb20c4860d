import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from geomlab.devices import out_of_memory
from geomlab.errors import UserError
from geomlab.measure import Accuracy, Curvature, FeatureGeometry, Landscape
from geomlab.measure.trial import try_derivatives
from geomlab.risk import value_and_gradient
from tests import models


class Checkpointed(nn.Module):
    """Its convolution keeps as much with other weights, so torch does not notice that it is recomputed with those."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(models.SHAPE[0], 3, 3), nn.Conv2d(3, 3, 3)
        self.head = nn.Linear(12, models.CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        inner = checkpoint(self.second, self.first(images).tanh(), use_reentrant=False)
        return self.head(inner.tanh().flatten(1))


class PartlyUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = models.softmax_regression(), nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.used(images)


class Draining(nn.Module):
    """Memory runs out as soon as a graph is kept."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.layers, self.error = models.softmax_regression(), error

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        if logits.requires_grad:
            raise self.error
        return logits


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_a_function_without_a_second_derivative_is_for_finite_differences(matrix: str) -> None:
    subject, batches = models.subject(models.Bag()), models.batches()
    advice = r"_embedding_bag_backward.* is not implemented.*; use --matrix finite-difference, which needs"
    with pytest.raises(UserError, match=f"a second derivative in its weights failed.*{advice}"):
        try_derivatives(Curvature(matrix=matrix), subject, batches)
    for able in (Curvature(matrix="finite-difference"), Curvature("^head", matrix=matrix), FeatureGeometry()):
        try_derivatives(able, subject, batches)


def test_a_direction_needs_the_derivatives_that_make_it() -> None:
    subject, batches = models.subject(models.Bag()), models.batches()
    for axes in (("random", "gradient"), ("eigenvector:1", "random")):
        with pytest.raises(UserError, match=r"choose another --direction than gradient and eigenvector"):
            try_derivatives(Landscape(axes=axes), subject, batches)
    try_derivatives(Landscape(axes=("adversarial", "random:layer")), subject, batches)


def test_a_checkpoint_that_would_give_a_gradient_of_another_point() -> None:
    subject, batches = models.subject(Checkpointed()), models.batches()
    moved = {name: weight + 0.1 for name, weight in subject.weights.items()}
    there = subject.at(moved).to("cpu", torch.float64)  # in whose module these weights are as well
    wrong, right = (value_and_gradient(one, batches, moved)[1]["first.weight"] for one in (subject, there))
    assert not torch.allclose(wrong, right, rtol=1e-2)
    for matrix in ("hessian", "finite-difference"):
        with pytest.raises(UserError, match=r"do not see the weights.*leave torch\.utils\.checkpoint out"):
            try_derivatives(Curvature(matrix=matrix), subject, batches)


@pytest.mark.parametrize("subspace", ["full", "^unused"])
def test_weights_that_are_not_used_are_no_obstacle(subspace: str) -> None:
    subject, batches = models.subject(PartlyUsed()), models.batches()
    for matrix in ("hessian", "gauss-newton", "finite-difference"):
        try_derivatives(Curvature(subspace, matrix=matrix), subject, batches)


class Frozen(nn.Module):
    """A backbone under no_grad, as of a linear probe."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(72, 5), nn.Linear(5, models.CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(images.flatten(1)).tanh()
        return self.head(features)


@pytest.mark.parametrize("measurement", [Curvature, FeatureGeometry])
def test_weights_whose_gradient_is_cut_off_are_refused(
    measurement: type[Curvature | FeatureGeometry],
) -> None:
    """Zero would pass for flat there. The weights of the head are no matter of theirs."""
    subject, batches = models.subject(Frozen()), models.batches()
    with pytest.raises(
        UserError, match=r"change with backbone\.weight and have no gradient in it; take no_grad"
    ):
        try_derivatives(measurement(subspace="full"), subject, batches)
    try_derivatives(measurement(subspace="^head"), subject, batches)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError(), RuntimeError("can't allocate memory: …")], ids=repr
)
def test_running_out_of_memory_is_not_the_network_s_fault(error: Exception) -> None:
    subject, batches = models.subject(Draining(error)), models.batches()
    with pytest.raises(type(error)) as caught:
        try_derivatives(Curvature(), subject, batches)
    assert out_of_memory(caught.value)
    for able in (Accuracy(), Landscape()):
        try_derivatives(able, subject, batches)
