"""Small networks and inputs for the tests, in fp64 and seeded."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geomlab.architectures import Network, Preprocessing
from geomlab.data.batches import Batches
from geomlab.measure import Joint
from geomlab.subject import Subject, from_network

CLASSES = 3
SHAPE = (2, 6, 6)  # of an image


class Attention(nn.Module):
    """A transformer block on the pixels of an image, with a stochastic-free eval mode and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(SHAPE[0], 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.flatten(2).transpose(1, 2)[:, ::6])
        return self.head(self.block(tokens).mean(1))


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(SHAPE[0], 3, 3, stride=2),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )


def softmax_regression() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SHAPE[0] * SHAPE[1] * SHAPE[2], CLASSES))


class OfItsGradient(nn.Module):
    """Features that are the derivative of an energy of the image, as of a score network; a convolution inside."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(SHAPE[0], 3, 3), nn.Linear(72, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            x = images.detach().requires_grad_()
            energy = self.convolution(x).tanh().square().sum()
            (slope,) = torch.autograd.grad(energy, x, create_graph=True)
        return self.linear(slope.flatten(1))


class OfItsGradientByFunc(OfItsGradient):
    """The same by torch.func, in which torch has no hooks on what is kept for a derivative."""

    def forward(self, images: Tensor) -> Tensor:
        slope = torch.func.grad(lambda x: self.convolution(x).tanh().square().sum())(images)
        return self.linear(slope.flatten(1))


NETWORKS = {
    "convolution": convolution,
    "attention": Attention,
    "softmax": softmax_regression,
}


class Square(torch.autograd.Function):
    """x², with a derivative that can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * slope


class CutSquare(Square):
    """x², with one that cannot."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        return Square.backward(ctx, slope)


class Bag(nn.Module):
    """torch has no second derivative of its bag of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(5, 72), nn.Linear(72, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1) * self.bag(torch.arange(5).view(1, 5)))


class Custom(nn.Module):
    """With a function of the user's own between two linear maps."""

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.function, self.first, self.last = function, nn.Linear(72, 5), nn.Linear(5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.function.apply(self.first(images.flatten(1))))


def subject(module: nn.Module, dtype: torch.dtype = torch.float64) -> Subject:
    """A seeded network of that form, trained statistics included."""
    rng = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=rng)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.7)
    return from_network(Network(module.eval(), Preprocessing())).to("cpu", dtype)


def batches(n: int = 11, batch_size: int = 4, dtype: torch.dtype = torch.float64) -> Batches:
    """Random images and labels; 11 samples in batches of 4 leave an uneven last one."""
    rng = torch.Generator().manual_seed(2)
    images = torch.rand((n, *SHAPE), generator=rng, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, CLASSES, (n,), generator=rng)
    return Batches(images, labels, batch_size, images, labels, True)


class Kept:
    """Tiles in memory."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, int], dict[str, Any]] = {}

    def read(self, condition: str, number: int) -> dict[str, Any] | None:
        return self.arrays.get((condition, number))

    def write(self, condition: str, number: int, arrays: Mapping[str, Any]) -> None:
        self.arrays[condition, number] = dict(arrays)


def alone(measurement: Joint, network: Subject, inputs: Batches) -> xr.Dataset:
    """A joint measurement under one condition, the clean one."""
    return measurement.together(network, {"clean": inputs}, inputs, Kept())["clean"]


def dense_hessian(network: Subject, inputs: Batches, names: list[str]) -> Tensor:
    """The Hessian of the mean loss by autograd on the flattened parameters, with no code of geomlab's curvature."""
    return torch.autograd.functional.hessian(*flattened(network, inputs, names), vectorize=True)


def second_derivative(network: Subject, inputs: Batches, names: list[str], vector: Tensor) -> float:
    """vᵀHv of the mean loss, in the same way."""
    _, image = torch.autograd.functional.hvp(*flattened(network, inputs, names), vector)
    return float(vector @ image)


def flattened(
    network: Subject, inputs: Batches, names: list[str]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The mean loss as a function of the flattened parameters, and these."""
    shapes = [network.weights[name].shape for name in names]
    flat = torch.cat([network.weights[name].reshape(-1) for name in names])

    def loss(vector: Tensor) -> Tensor:
        pieces = vector.split([shape.numel() for shape in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return nn.functional.cross_entropy(network(inputs.images, weights), inputs.labels)

    return loss, flat
