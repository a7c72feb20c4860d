import pytest
import torch
from torch import nn

from geomlab.architectures import Network, Preprocessing
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.features.axes import channels
from geomlab.features.extraction import extract
from geomlab.subject import Subject, from_network

FIRST, LAST = (2, 3), (1, 2)  # axes of space in N,C,H,W and N,H,W,C


def timm_swin() -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        img_size=32, patch_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=3
    )


def torchvision_swin(width: int = 12) -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer

    return SwinTransformer([4, 4], width, [1, 1], [2, 2], [2, 2], num_classes=3)


def cubic_swin() -> nn.Module:
    return torchvision_swin(8)  # whose first maps are 8 × 8 × 8


def timm_convnext() -> nn.Module:
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 12, 16, 20), num_classes=3)  # the first map is 8 × 8 × 8


def convolutions() -> nn.Module:
    body = [nn.Conv2d(3, 16, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(16, 6, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.Flatten(), nn.LazyLinear(3))


def run(module: nn.Module, size: tuple[int, int] = (32, 32)) -> tuple[Subject, Batches]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.rand(5, 3, *size)
        module(images[:2])
    labels = torch.zeros(5, dtype=torch.long)
    subject = from_network(Network(module.eval(), Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)))
    return subject, Batches(images, labels, 3, images, labels, True)


@pytest.mark.parametrize(
    ("build", "space", "size"),
    [
        (timm_swin, LAST, (32, 32)),
        (torchvision_swin, LAST, (32, 32)),
        (torchvision_swin, LAST, (32, 64)),
        (cubic_swin, LAST, (32, 32)),
        (timm_convnext, FIRST, (32, 32)),
        (timm_convnext, FIRST, (32, 64)),
        (convolutions, FIRST, (32, 32)),  # the second map is 16 × 16 × 16
        (convolutions, FIRST, (32, 48)),
    ],
)
def test_maps_are_averaged_over_space(build, space, size) -> None:  # type: ignore[no-untyped-def]
    subject, batches = run(build(), size)
    layers = subject.layers()
    found = extract(subject, batches, layers)
    seen = 0
    for name, activation in subject.activations(batches.images, layers).items():
        if activation.ndim == 4:
            axes = FIRST if name == "features.0.0" else space  # a Swin's patches come from a convolution
            torch.testing.assert_close(found[name], activation.mean(axes), rtol=1e-4, atol=1e-5)
            seen += 1
    assert seen >= 2


def tensor(*shape: int) -> torch.Tensor:
    return torch.zeros(2, *shape)


@pytest.mark.parametrize(
    ("shape", "module", "image", "axis"),
    [
        ((7, 7, 9), None, (28, 28), 3),
        ((9, 7, 7), None, (28, 28), 1),
        (
            (7, 7, 9),
            nn.Conv2d(1, 1, 1),
            (28, 28),
            3,
        ),  # of a square image, the sizes are surer than the modules
        ((7, 7, 7), nn.Conv2d(1, 1, 1), (28, 28), 1),
        ((7, 7, 7), nn.Linear(1, 1), (28, 28), 3),
        ((7, 14, 96), None, (28, 56), 3),
        ((96, 7, 14), None, (28, 56), 1),
        ((7, 13, 96), None, (28, 56), 3),  # rounded down
        ((7, 14, 28), nn.BatchNorm2d(1), (28, 56), 1),  # both pairs are 1 : 2
        ((7, 14, 28), nn.LayerNorm(1), (28, 56), 3),
    ],
)
def test_the_axis_of_the_channels(
    shape: tuple[int, ...], module: nn.Module | None, image: tuple[int, int], axis: int
) -> None:
    modules = {"block": module} if module else {}
    assert channels({"block": tensor(*shape)}, modules, image) == {"block": axis}


@pytest.mark.parametrize("others", [[(7, 7, 9)], [(9, 7, 7)]])
def test_a_cube_is_like_the_other_layers(others: list[tuple[int, ...]]) -> None:
    found = channels({"cube": tensor(7, 7, 7), "other": tensor(*others[0])}, {}, (28, 28))
    assert found["cube"] == found["other"]


@pytest.mark.parametrize("others", [[], [(9, 7, 7), (7, 7, 9)]])
@pytest.mark.parametrize("shape", [(7, 7, 7), (3, 4, 5)])
def test_an_axis_that_is_not_clear_is_refused(shape: tuple[int, ...], others: list[tuple[int, ...]]) -> None:
    maps = {"block": tensor(*shape), **{str(i): tensor(*other) for i, other in enumerate(others)}}
    with pytest.raises(
        UserError, match=r"layer block gives .* which axis holds the channels is not clear; choose"
    ):
        channels(maps, {}, (28, 28))
