"""Networks and data to compare on, the same for every method."""

import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import geomlab
from geomlab.architectures import Network, Preprocessing
from geomlab.data.batches import Batches
from geomlab.data.condition import parse_conditions
from geomlab.data.embedded import checkpoint_path
from geomlab.data.sources import open_source
from geomlab.rng import generator
from geomlab.subject import Subject, from_network

HALF = (0.5, 0.5, 0.5)


class Normalised(nn.Module):
    """A subject as the others want it: a module with its weights inside."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.inner = deepcopy(subject.module).requires_grad_(True)
        self.normalise = subject._normalise

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(self.normalise(images))


@dataclass(frozen=True, eq=False)
class Case:
    """A network at a point, and inputs in one batch."""

    name: str
    subject: Subject
    batches: Batches

    @property
    def names(self) -> list[str]:
        return list(self.subject.weights)

    @property
    def dim(self) -> int:
        return sum(tensor.numel() for tensor in self.subject.weights.values())

    def module(self) -> nn.Module:
        """A copy that a peer may do with what it likes."""
        return Normalised(self.subject)

    def data(self) -> tuple[Tensor, Tensor]:
        return self.batches.images, self.batches.labels


def embedded(images: int) -> tuple[Subject, Batches]:
    """The embedded ViT, fine-tuned, on rendered digits; of more than there are, in other domains too, mixed."""
    subject = geomlab.load(checkpoint_path("ft"))
    source = open_source("glyphs:split=all")
    domains = ["clean", *(f"domain:{name}" for name in source.domains[1:])]
    conditions = parse_conditions(domains, source, n=images, seed=0, batch_size=images)
    found = [conditions[0].realise(subject)]
    for condition in conditions[1:]:
        if sum(map(len, found)) < images:
            found.append(condition.realise(subject))
    if len(found) == 1:
        return subject, found[0]
    mixed = torch.randperm(sum(map(len, found)), generator=generator(0, "glyphs"))[:images]
    every = (torch.cat([one.images for one in found]), torch.cat([one.labels for one in found]))
    return subject, in_one_batch(*(side[mixed] for side in every))


def resnet20(images: int) -> tuple[Subject, Batches]:
    """A trained CIFAR-10 ResNet-20 on images of its training set ($GEOMLAB_SHARED)."""
    sys.path[:0] = [str(Path(__file__).parents[2])]  # for the tests' ResNet-20
    from tests import resnet20 as network

    folder = network.shared()
    if folder is None:
        raise SystemExit("the CIFAR data is not here: set GEOMLAB_SHARED, or leave resnet20 out of --cases")
    subject = geomlab.load(folder / "data" / "resnet20-12fca82f.th", model="tests.resnet20:build")
    every, labels = network.cifar()
    chosen = torch.randperm(len(every), generator=generator(0, "cifar"))[:images]
    return subject, in_one_batch(every[chosen], torch.from_numpy(labels)[chosen])


def vit_b32(images: int) -> tuple[Subject, Batches]:
    """ViT-B/32 at random weights, random images and labels."""
    return vit(images, "vit_base_patch32_224", size=224)


def vit(images: int, name: str, *, size: int, **options: object) -> tuple[Subject, Batches]:
    """A network of timm at random weights, random images and labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model(name, num_classes=10, pretrained=False, img_size=size, **options)
    subject = from_network(Network(module, Preprocessing(size, HALF, HALF)), name=name)
    random = generator(0, "images")
    pictures = torch.rand(images, 3, size, size, generator=random)
    return subject, in_one_batch(pictures, torch.randint(0, 10, (images,), generator=random))


def in_one_batch(images: Tensor, labels: Tensor) -> Batches:
    return Batches(images, labels, len(labels), images, labels, True)


NETWORKS = {"embedded": embedded, "resnet20": resnet20, "vit-b32": vit_b32}


def build(name: str, device: str) -> Case:
    """A case by its name, NETWORK-IMAGES."""
    network, _, images = name.rpartition("-")
    if network not in NETWORKS or not images.isdigit():
        raise SystemExit(f"no case '{name}'; expected NETWORK-IMAGES with one of {', '.join(NETWORKS)}")
    subject, batches = NETWORKS[network](int(images))
    if len(batches) != int(images):
        raise SystemExit(f"{name}: there are only {len(batches)} images")
    subject = subject.to(device, torch.float32)
    return Case(name, subject, batches.to(subject.device, torch.float32))
