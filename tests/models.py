"""Small networks in float64, inputs for them, and the dense derivatives they are checked against."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from geomlab import clip
from geomlab.architectures import Network, Preprocessing
from geomlab.data.batches import Batches
from geomlab.subject import Subject, from_network

CLASSES, SIDE = 3, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Build in float64 and eval mode, with every parameter and buffer drawn from an own generator."""
    with torch.random.fork_rng(devices=[]):
        module = build().double().eval()
    draw = rng(1)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64) * 0.4
            with torch.no_grad():
                tensor.copy_(noise.exp() if name.endswith("running_var") else noise)
    return module


def subject_of(module: nn.Module) -> Subject:
    """The module as a subject; images are normalised by a mean and a deviation that are not trivial."""
    return from_network(Network(module, Preprocessing(None, (0.4,), (0.3,))), name="small")


def softmax_regression() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, CLASSES)))


def mlp() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 5), nn.Tanh(), nn.Linear(5, CLASSES))
    )


def cnn() -> nn.Module:
    """Convolutions with BatchNorm, whose running statistics are not those of the data."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.GELU(),
            nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Tanh(),
            nn.Flatten(), nn.Linear(8, CLASSES),
        )
    )  # fmt: skip


class Vit(nn.Module):
    """One block of nn.MultiheadAttention on patches, without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 4, 2, 2)
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        logits: Tensor = self.head(tokens.mean(1))
        return logits


def vit() -> nn.Module:
    return seeded(Vit)


def clip_classifier() -> nn.Module:
    """open_clip's own image tower with a linear head; images have three channels."""
    config = {
        "embed_dim": 4,
        "vision_cfg": {
            "image_size": SIDE,
            "patch_size": 2,
            "width": 4,
            "layers": 1,
            "head_width": 2,
            "mlp_ratio": 1.0,
        },  # fmt: skip
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 4, "heads": 2, "layers": 1},
    }
    return seeded(lambda: clip.ClipClassifier(clip.build(config).visual, torch.zeros(CLASSES, 4)))


class OneUnused(nn.Module):
    """Softmax regression beside a parameter that no loss uses and a buffer of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(2, 3))
        self.used = nn.Linear(SIDE * SIDE, CLASSES)
        self.register_buffer("count", torch.tensor(3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.used(images.flatten(1))
        return logits


class Noisy(nn.Module):
    """Draws anew in every pass, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIDE * SIDE, CLASSES)
        self.draw = rng()

    def forward(self, images: Tensor) -> Tensor:
        noise = torch.randn(images.shape, generator=self.draw, dtype=images.dtype)
        logits: Tensor = self.linear((images + noise).flatten(1))
        return logits


def inputs(n: int = 10, batch_size: int = 4, *, channels: int = 1, seed: int = 0) -> Batches:
    """Random images in [0, 1]; the last batch is uneven. They are their own clean counterpart."""
    draw = rng(seed)
    images = torch.rand(n, channels, SIDE, SIDE, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (n,), generator=draw)
    return Batches(images, labels, batch_size, images, labels, True)


def mean_loss(subject: Subject, batches: Batches, flat: Tensor, names: list[str]) -> Tensor:
    """The mean cross-entropy as a function of one flat vector, without geomlab's flattening, batches or calls."""
    weights, at = dict(subject.weights), 0
    for name in names:
        shape = weights[name].shape
        weights[name] = flat[at : at + shape.numel()].reshape(shape)
        at += shape.numel()
    images = (batches.images - subject.preprocessing.mean[0]) / subject.preprocessing.std[0]
    logits = functional_call(subject.module, {**weights, **subject.buffers}, (images,))
    return F.cross_entropy(logits, batches.labels)


def flat_weights(subject: Subject, names: list[str]) -> Tensor:
    return torch.cat([subject.weights[name].reshape(-1) for name in names])


def dense_gradient(subject: Subject, batches: Batches, names: list[str]) -> Tensor:
    flat = flat_weights(subject, names).requires_grad_()
    (found,) = torch.autograd.grad(mean_loss(subject, batches, flat, names), flat)
    return found


def dense_hessian(subject: Subject, batches: Batches, names: list[str]) -> Tensor:
    """By double backward, one row at a time."""
    with sdpa_kernel(SDPBackend.MATH):
        found: Tensor = torch.autograd.functional.hessian(
            lambda flat: mean_loss(subject, batches, flat, names), flat_weights(subject, names)
        )
    return found
