from collections.abc import Callable

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from geomlab import checkpoint
from geomlab.data import embedded
from geomlab.errors import UserError
from geomlab.rng import generator
from grace import lora
from grace.run import Run


def initialised(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def open_clip_tower() -> nn.Module:
    vision = open_clip.CLIPVisionCfg(image_size=16, patch_size=4, width=32, layers=2, head_width=16)
    return open_clip.model._build_vision_tower(16, vision)  # type: ignore[no-any-return]


def resnet_tower() -> nn.Module:
    vision = open_clip.CLIPVisionCfg(image_size=32, width=8, layers=(1, 1, 1, 1))  # type: ignore[arg-type]
    network = open_clip.model._build_vision_tower(16, vision)
    for name, weight in network.named_parameters():
        if name.endswith("bn3.weight"):  # begins at zero, where no gradient passes a block
            weight.data.fill_(1.0)
    return network  # type: ignore[no-any-return]


def timm_vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5)  # type: ignore[no-any-return]


NETWORKS = {
    "open_clip ViT": (open_clip_tower, r"^transformer\.", 16, 2 * 4),
    "open_clip ResNet": (resnet_tower, r"^(layer\d|attnpool)\.", 32, 4 * 4 + 4),
    "timm ViT": (timm_vit, r"^blocks\.", 32, 2 * 4),
    "torchvision ResNet": (torchvision.models.resnet18, r"^(layer\d|fc)", 32, 16 + 3 + 1),
    "linear": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU(), nn.Linear(6, 4)),
        "",
        8,
        2,
    ),
}


@pytest.fixture(params=NETWORKS)
def adapted(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, Tensor, int]:
    """The base network, the same with adapters, images, and how many weights have one."""
    make, pattern, size, count = NETWORKS[request.param]
    base, network = initialised(make), initialised(make)
    names = lora.attach(network, pattern, rank=3, rng=generator(0, "test"))
    assert len(names) == count
    images = torch.rand(2, 3, size, size, generator=generator(1, "test"))
    return base, network, images, count


def perturb(network: nn.Module) -> None:
    """Give every B random entries; else an adapter does nothing."""
    rng = generator(2, "test")
    for name, factor in lora.factors(network).items():
        if name.endswith("lora_B"):
            factor.data.copy_(0.05 * torch.randn(factor.shape, generator=rng))


def test_at_the_start_the_network_is_the_base_model_exactly(
    adapted: tuple[nn.Module, nn.Module, Tensor, int],
) -> None:
    base, network, images, _ = adapted
    with torch.no_grad():
        assert torch.equal(network(images), base(images))


def test_merging_keeps_the_function_and_gives_back_a_plain_network(
    adapted: tuple[nn.Module, nn.Module, Tensor, int],
) -> None:
    base, network, images, _ = adapted
    perturb(network)
    state = lora.plain_state(network)
    with torch.no_grad():
        before = network(images)
        assert (before - base(images)).abs().max() > 1e-3 * before.abs().max()
        lora.merge(network)
        torch.testing.assert_close(network(images), before, rtol=1e-5, atol=1e-6)
    assert not lora.factors(network)
    merged = network.state_dict()
    assert set(merged) == set(base.state_dict()) == set(state)
    assert all(torch.equal(tensor, merged[name]) for name, tensor in state.items())
    base.load_state_dict(state)  # strict


def test_merging_a_state_dict_is_merging_the_network(
    adapted: tuple[nn.Module, nn.Module, Tensor, int],
) -> None:
    base, network, _, _ = adapted
    perturb(network)
    merged = lora.merged(base.state_dict(), lora.factors(network), 1.0)
    lora.merge(network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=0)


def test_every_factor_gets_a_gradient_and_the_base_none(
    adapted: tuple[nn.Module, nn.Module, Tensor, int],
) -> None:
    _, network, images, count = adapted
    network.requires_grad_(False)
    perturb(network)
    for factor in lora.factors(network).values():
        factor.requires_grad_(True)
    network(images).square().sum().backward()
    factors = lora.factors(network)
    assert len(factors) == 2 * count
    assert all(factor.grad is not None and factor.grad.abs().max() > 0 for factor in factors.values())
    assert all(weight.grad is None for weight in lora.base_weights(network).values())


def test_q_k_and_v_have_updates_of_their_own() -> None:
    network = initialised(open_clip_tower)
    lora.attach(network, "in_proj", rank=2, rng=generator(0, "test"))
    a, b = lora.factors(network)["transformer.resblocks.0.attn.in_proj_weight.lora_A"], None
    b = lora.factors(network)["transformer.resblocks.0.attn.in_proj_weight.lora_B"]
    assert (tuple(a.shape), tuple(b.shape)) == ((3, 2, 32), (3, 32, 2))
    before = lora.base_weights(network)["transformer.resblocks.0.attn.in_proj_weight"]
    b.data[1].fill_(1.0)  # k alone
    change = lora.merged_weights(network)["transformer.resblocks.0.attn.in_proj_weight"] - before
    assert change[:32].abs().max() == change[64:].abs().max() == 0
    torch.testing.assert_close(change[32:64], torch.ones(32, 2) @ a[1], rtol=0, atol=1e-6)
    assert torch.linalg.matrix_rank(change[32:64]) == 1


def test_a_kernel_is_a_matrix_of_its_outputs_and_its_window() -> None:
    conv = initialised(lambda: nn.Conv2d(2, 5, 3))
    lora.attach(conv, "weight", rank=2, scale=0.5, rng=generator(0, "test"))
    factors = lora.factors(conv)
    assert {name: tuple(factor.shape) for name, factor in factors.items()} == {
        "weight.lora_A": (1, 2, 18),
        "weight.lora_B": (1, 5, 2),
    }
    factors["weight.lora_B"].data.fill_(2.0)
    expected = 0.5 * 2 * factors["weight.lora_A"][0].sum(0).reshape(2, 3, 3)
    change = lora.merged_weights(conv)["weight"] - lora.base_weights(conv)["weight"]
    torch.testing.assert_close(change, expected.expand(5, -1, -1, -1), rtol=1e-5, atol=1e-6)


def test_a_is_uniform_and_comes_from_the_generator() -> None:
    weight = torch.zeros(8, 100)
    first, again, other = (lora.LowRank(weight, 50, rng=generator(seed, "test")).lora_A for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0.099 < first.abs().max() <= 0.1  # 1/√100
    assert first.mean().abs() < 0.005


def test_grouped_convolutions_and_embeddings_are_left_alone() -> None:
    network = initialised(lambda: nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Embedding(3, 4)))
    with pytest.raises(UserError, match=r"lora\.targets '' finds none of the 0 weights \(none\)"):
        lora.attach(network, "", rank=1, rng=generator(0, "test"))


def test_targets_that_cannot_be_used_are_refused() -> None:
    network = initialised(open_clip_tower)
    with pytest.raises(
        UserError, match=r"'blocks\$' finds none of the 9 weights \(conv1.weight, transformer"
    ):
        lora.attach(network, "blocks$", rank=1, rng=generator(0, "test"))
    with pytest.raises(UserError, match=r"lora\.targets '\(' is not a regular expression"):
        lora.attach(network, "(", rank=1, rng=generator(0, "test"))


def test_adapters_of_another_model_do_not_merge() -> None:
    network = initialised(open_clip_tower)
    lora.attach(network, "mlp", rank=2, rng=generator(0, "test"))
    factors = lora.factors(network)
    name = "transformer.resblocks.0.mlp.c_fc.weight"
    for wrong in ({}, {name: torch.zeros(3, 3)}, {name: torch.zeros(32)}):
        with pytest.raises(
            UserError, match=r"the adapter of 'transformer.resblocks.0.mlp.c_fc.weight' does not fit"
        ):
            lora.merged(wrong, factors, 1.0)
    with pytest.raises(UserError, match="does not fit these weights"):
        lora.merged(lora.plain_state(network), {f"{name}.lora_A": factors[f"{name}.lora_A"]}, 1.0)


def test_default_targets_are_attention_and_mlp_of_the_image_tower(run_of: Callable[..., Run]) -> None:
    run = run_of("lora-ft")
    blocks = [f"visual.transformer.resblocks.{i}" for i in range(4)]
    parts = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    weights = [f"{block}.{part}" for block in blocks for part in parts]
    assert sorted(lora.base_weights(run.model.clip)) == sorted(weights)
    assert sorted(run.weights) == sorted(f"{name}.lora_{factor}" for name in weights for factor in "AB")
    base = checkpoint.read(embedded.checkpoint_path("zero-shot")).tensors
    assert set(run.model.tensors()) == {*base, "head.weight"}
