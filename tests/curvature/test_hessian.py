import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pyhessian
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from geomlab import clip, params
from geomlab.architectures import Network, Preprocessing
from geomlab.clip import WordTokenizer
from geomlab.curvature.finite_difference import of_risk
from geomlab.curvature.gauss_newton import GaussNewton
from geomlab.curvature.hessian import Hessian
from geomlab.curvature.risk_operator import is_cut
from geomlab.data.batches import Batches
from geomlab.errors import UserError
from geomlab.linalg.lanczos import eigenpairs
from geomlab.linalg.operator import Dense
from geomlab.linalg.trace import together, traces
from geomlab.risk import sample_losses
from geomlab.rng import generator
from geomlab.subject import Subject, from_network
from tests import models


@pytest.fixture(params=models.NETWORKS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return models.NETWORKS[request.param]()


def test_product_eigenvalues_and_traces_agree_with_a_dense_hessian(module: nn.Module) -> None:
    subject, batches = models.subject(module), models.batches()
    names = list(subject.weights)
    dense = models.dense_hessian(subject, batches, names)
    hessian = Hessian(subject, batches, names)
    vectors = torch.randn(hessian.dim, 3, generator=generator(0, "v"), dtype=torch.float64)
    torch.testing.assert_close(hessian.matmat(vectors), dense @ vectors)

    top, bottom = eigenpairs(hessian, 4, generator(0, "start"), tolerance=1e-8)
    truth = torch.linalg.eigvalsh(dense).flip(0)
    assert top.status == "converged"
    torch.testing.assert_close(top.values, truth[:4], rtol=1e-7, atol=1e-10)
    assert float(bottom.values[0]) == pytest.approx(float(truth[-1]), abs=1e-2 * float(truth[0]))

    sizes = [subject.weights[name].numel() for name in names]
    found = traces(
        hessian, generator(0, "p"), probes=400, blocks=sizes, vectors=top.vectors, images=top.images
    )
    diagonal = [float(part.sum()) for part in dense.diagonal().split(sizes)]
    assert abs(found.trace.value - float(dense.trace())) < 4 * found.trace.stderr + 1e-10
    assert abs(found.squared_frobenius.value - float(dense.square().sum())) < (
        4 * found.squared_frobenius.stderr + 1e-10
    )
    for block, value in zip(found.blocks, diagonal, strict=True):
        assert abs(block.value - value) < 5 * block.stderr + 1e-10


def test_softmax_regression_has_its_closed_form() -> None:
    subject, batches = models.subject(models.softmax_regression()), models.batches(40, 16)
    names = list(subject.weights)
    x = batches.images.flatten(1)
    p = subject(batches.images).softmax(1)
    shares = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weight = torch.einsum("ncd,ni,nj->cidj", shares, x, x).reshape(3 * x.shape[1], -1) / len(x)
    hessian = Hessian(subject, batches, names)
    vector = torch.randn(weight.shape[0], generator=generator(0, "v"), dtype=torch.float64)
    padded = torch.cat([vector, torch.zeros(3, dtype=torch.float64)])
    torch.testing.assert_close(hessian.matvec(padded)[: len(vector)], weight @ vector)
    # An equal shift of all biases changes no probability.
    shift = torch.cat([torch.zeros_like(vector), torch.ones(3, dtype=torch.float64)])
    torch.testing.assert_close(hessian.matvec(shift), torch.zeros_like(shift))
    # Rank at most (C − 1)(d + 1): convex, and no more than that many positive eigenvalues.
    spectrum = torch.linalg.eigvalsh(models.dense_hessian(subject, batches, names))
    assert int((spectrum > 1e-10).sum()) <= 2 * (x.shape[1] + 1)
    assert float(spectrum[0]) > -1e-10


class ScaleFree(nn.Module):
    """Logits that do not depend on the length of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 72))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ (self.weight / self.weight.norm()).T


def test_scale_invariant_loss_has_no_slope_along_itself_and_curves_by_its_gradient() -> None:
    subject = models.subject(ScaleFree())
    hessian = Hessian(subject, models.batches(), ["weight"])
    theta = subject.weights["weight"].reshape(-1)
    assert float(theta @ hessian.gradient) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(hessian.matvec(theta), -hessian.gradient)


def test_agrees_with_pyhessian_on_a_copy() -> None:
    subject = models.subject(models.convolution(), torch.float32)
    batches = models.batches(24, 24, torch.float32)
    hessian = Hessian(subject, batches, list(subject.weights))
    top, _ = eigenpairs(hessian, 2, generator(0, "start"))
    copy = deepcopy(subject.module).requires_grad_(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Using backward\(\) with create_graph=True")
        peer = pyhessian.hessian(
            copy, nn.CrossEntropyLoss(), data=(batches.images, batches.labels), cuda=False
        )
    values, _ = peer.eigenvalues(maxIter=500, tol=1e-6, top_n=2)
    assert top.values.tolist() == pytest.approx(values, rel=1e-3)
    # Its test divides by the running trace: where a first probe is negative, a tolerance of 0 would end it at once.
    trace = peer.trace(maxIter=400, tol=-torch.inf)
    spread = torch.tensor(trace).std() / len(trace) ** 0.5
    found = traces(hessian, generator(0, "p"), probes=200)
    assert abs(found.trace.value - sum(trace) / len(trace)) < 4 * (found.trace.stderr + float(spread))


def test_memory_changes_the_time_and_not_the_numbers(module: nn.Module) -> None:
    subject, batches = models.subject(module), models.batches()
    names = list(subject.weights)
    kept, recomputed = Hessian(subject, batches, names), Hessian(subject, batches, names, memory=0)
    assert (kept.kept, recomputed.kept) == (len(batches), 0)
    v = torch.randn(kept.dim, generator=generator(0, "v"), dtype=torch.float64)
    torch.testing.assert_close(kept.matvec(v), recomputed.matvec(v))
    torch.testing.assert_close(kept.matvec(v), kept.matvec(v), rtol=0, atol=0)


@pytest.mark.parametrize("samples", range(12))
def test_every_memory_budget_counts_every_batch_once(samples: int) -> None:
    """Batches of 4, 4 and 3: room for the last one alone must not make it stand for one before it."""
    subject, batches = models.subject(models.convolution()), models.batches()
    names = list(subject.weights)
    whole = Hessian(subject, batches, names)
    some = Hessian(subject, batches, names, memory=whole.graph_bytes.of(samples, -(-samples // 4)))
    assert some.kept == (11 if samples == 11 else 4 * (samples // 4))
    v = torch.randn(whole.dim, generator=generator(0, "v"), dtype=torch.float64)
    torch.testing.assert_close(some.matvec(v), whole.matvec(v))


@pytest.mark.parametrize("operator", [Hessian, GaussNewton])
@given(size=st.integers(1, 11), seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_symmetric_linear_and_blind_to_the_split_into_batches(
    operator: type[Hessian | GaussNewton], size: int, seed: int
) -> None:
    subject = models.subject(models.convolution())
    names = list(subject.weights)
    whole, split = (operator(subject, models.batches(11, n), names) for n in (11, size))
    u, v = torch.randn(2, whole.dim, generator=generator(seed, "uv"), dtype=torch.float64)
    assert float(u @ whole.matvec(v)) == pytest.approx(float(v @ whole.matvec(u)), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(split.matvec(2 * u - v), 2 * whole.matvec(u) - whole.matvec(v))


def test_a_subset_of_the_parameters_is_a_block_and_unused_ones_are_zero() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Parameter(torch.ones(5))
            self.net = models.softmax_regression()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net(images)

    subject, batches = models.subject(Unused()), models.batches()
    names = ["net.1.bias", "spare"]
    dense = models.dense_hessian(subject, batches, ["net.1.bias"])
    hessian = Hessian(subject, batches, names)
    torch.testing.assert_close(hessian.matvec(torch.eye(8).double()[0])[:3], dense[:, 0])
    assert not hessian.matvec(torch.ones(8).double())[3:].any()
    alone = Hessian(subject, batches, ["spare"])
    assert not alone.matvec(torch.ones(5).double()).any()


def test_the_network_is_left_alone() -> None:
    subject = models.subject(models.Attention())
    before, state = params.digest(subject.weights), torch.get_rng_state()
    Hessian(subject, models.batches(), list(subject.weights)).matvec(
        torch.ones(sum(w.numel() for w in subject.weights.values())).double()
    )
    assert params.digest(subject.weights) == before
    assert all(parameter.grad is None for parameter in subject.module.parameters())
    assert not any(child.training for child in subject.module.modules())
    assert torch.equal(state, torch.get_rng_state())


class Noisy(nn.Module):
    """Random even in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images + torch.rand(len(images), 1, 1, 1, dtype=images.dtype))


def test_a_network_that_does_not_repeat_itself_is_refused() -> None:
    subject = models.subject(Noisy())
    with pytest.raises(UserError, match="must be deterministic"):
        Hessian(subject, models.batches(), list(subject.weights))


class WeakDropout(nn.Module):
    """Dropout of a hundredth that eval mode does not switch off."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.net, self.gain = models.softmax_regression(), gain

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.gain * self.net(nn.functional.dropout(images, 0.01, training=True))


def overfit(subject: Subject, batches: Batches) -> Batches:
    """The labels are what the network says, and the quarter of the samples it is surest of is left."""
    with torch.random.fork_rng():
        first, second = subject(batches.images).topk(2).values.unbind(1)
        sure = (first - second).topk(len(first) // 4).indices
        return replace(batches, images=batches.images[sure], labels=subject(batches.images[sure]).argmax(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gain", [0.05, 30.0])
def test_weak_dropout_is_refused_where_the_mean_loss_hides_it(gain: float, dtype: torch.dtype) -> None:
    """Averaged over many samples, or next to nothing in an overfit network."""
    subject, batches = models.subject(WeakDropout(gain), dtype), models.batches(1000, 256, dtype)
    if gain > 1:
        batches = overfit(subject, batches)
    for seed in range(5):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            losses = [float(sample_losses(subject, batches).loss.mean()) for _ in range(2)]
            assert abs(losses[0] - losses[1]) < 1e-3 * max(losses[0], 1e-3)
            with pytest.raises(UserError, match="must be deterministic"):
                Hessian(subject, batches, list(subject.weights))


class Masked(nn.Module):
    """A class that is never meant."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.softmax_regression()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(self.net(images), (0, 1), value=-torch.inf)


@pytest.mark.parametrize("build", [*models.NETWORKS.values(), Masked])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gain", [0.0, 1e-3, 1.0, 30.0])
def test_rounding_is_no_dice(build: Callable[[], nn.Module], dtype: torch.dtype, gain: float) -> None:
    """Weights of no size, hardly any, some, and so large that the network is overfit to its own words."""
    subject = models.subject(build(), dtype)
    subject = subject.at({name: gain * weight for name, weight in subject.weights.items()})
    batches = overfit(subject, models.batches(160, 16, dtype))
    assert Hessian(subject, batches, list(subject.weights)).dim > 0


class Kink(nn.Module):
    """At gate = 0 the loss and its gradient are finite, and the second derivative is not."""

    def __init__(self) -> None:
        super().__init__()
        self.base = models.softmax_regression()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.base(images)
        return logits * (1 + self.gate**1.5)


def test_a_second_derivative_that_is_not_finite_is_refused() -> None:
    subject = models.subject(Kink())
    subject = subject.at({"gate": torch.zeros_like(subject.weights["gate"])})
    hessian = Hessian(subject, models.batches(), list(subject.weights))
    with pytest.raises(UserError, match="second derivative of the loss is NaN or infinite"):
        hessian.matvec(torch.ones(hessian.dim, dtype=hessian.dtype))


def test_a_loss_that_overflows_is_refused() -> None:
    subject = models.subject(models.softmax_regression())
    huge = subject.at({"1.weight": torch.full_like(subject.weights["1.weight"], torch.inf)})
    with pytest.raises(UserError, match="not finite"):
        Hessian(huge, models.batches(), list(huge.weights))


@pytest.mark.parametrize("memory", [0, 1e9])
def test_a_function_that_cuts_the_second_derivative_is_refused(memory: float) -> None:
    subject, batches = models.subject(models.Custom(models.CutSquare)), models.batches()
    with pytest.raises(UserError, match=r"once_differentiable, so it has no Hessian; write [^\n]*$"):
        Hessian(subject, batches, list(subject.weights), memory=memory)
    after = ["last.weight", "last.bias"]  # no derivative of theirs goes through it
    dense = models.dense_hessian(subject, batches, after)
    v = torch.ones(len(dense), dtype=torch.float64)
    torch.testing.assert_close(Hessian(subject, batches, after).matvec(v), dense @ v)


def test_a_function_that_does_not_cut_it_passes() -> None:
    subject, batches = models.subject(models.Custom(models.Square)), models.batches()
    names = list(subject.weights)
    dense = models.dense_hessian(subject, batches, names)
    v = torch.ones(len(dense), dtype=torch.float64)
    torch.testing.assert_close(Hessian(subject, batches, names).matvec(v), dense @ v)


def test_the_search_for_a_cut_passes_each_node_once() -> None:
    w = torch.ones(2, requires_grad=True)
    doubled = w
    for _ in range(2000):  # 2²⁰⁰⁰ paths
        doubled = (doubled + doubled) / 2
    assert not is_cut((doubled, w))


def vision_transformer() -> Network:
    """Of timm, at the size of a test: patches, a class token, layer norms, GELU."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model(
            "vit_tiny_patch16_224", img_size=8, patch_size=4, in_chans=2, embed_dim=8, depth=2, num_heads=2,
            num_classes=models.CLASSES,
        )  # fmt: skip
    return Network(module, Preprocessing())


def zero_shot_clip() -> Network:
    """The image tower of a CLIP with its zero-shot head; in two channels, as the inputs of the tests."""
    words = ["a", "drawing", "of", "cat", "dog", "owl"]
    tokenize = WordTokenizer(words, 8)
    config = {
        "embed_dim": 6,
        "vision_cfg": {"image_size": 6, "layers": 2, "width": 8, "head_width": 4, "patch_size": 3},
        "text_cfg": {"context_length": 8, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = clip.build(config).eval()
        network.visual.conv1 = nn.Conv2d(2, 8, 3, stride=3, bias=False)
    head = clip.zero_shot_head(network, tokenize, words[3:], ["a drawing of a {}"])
    return Network(clip.ClipClassifier(network.visual, head), Preprocessing())


@pytest.mark.parametrize(
    ("build", "size", "part"),
    [
        (vision_transformer, 8, r"^blocks\.0\.attn|norm|cls_token|^head"),
        (zero_shot_clip, 6, r"resblocks\.0\.attn|ln_|class_embedding|^visual\.proj|^head"),
    ],
)
def test_transformers_of_timm_and_open_clip_agree_with_a_dense_hessian(
    build: Callable[[], Network], size: int, part: str
) -> None:
    subject = from_network(build()).to("cpu", torch.float64)
    images = torch.rand(7, 2, size, size, generator=generator(0, "images"), dtype=torch.float64)
    batches = replace(models.batches(7, 3), images=images, clean=images)
    names = params.select(subject.weights, part)
    dense = models.dense_hessian(subject, batches, names)
    vectors = torch.randn(len(dense), 3, generator=generator(0, "v"), dtype=torch.float64)
    for memory in (0, 1e9):
        hessian = Hessian(subject, batches, names, memory=memory)
        torch.testing.assert_close(hessian.matmat(vectors), dense @ vectors)
    differences = of_risk(subject, batches, names)
    for column in vectors.unbind(1):
        product = differences.product(column)
        assert float((product.image - dense @ column).norm()) <= product.error


@pytest.mark.parametrize("operator", [Hessian, GaussNewton])
@pytest.mark.parametrize(("memory", "forwards"), [(1e9, 0), (0, 3)])
def test_several_products_recompute_each_batch_once(
    operator: type[Hessian | GaussNewton], memory: float, forwards: int
) -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    matrix = operator(subject, batches, list(subject.weights), memory=memory)
    calls: list[int] = []
    handle = subject.module.register_forward_pre_hook(lambda *_: calls.append(1))
    vectors = torch.randn(matrix.dim, 5, generator=generator(0, "v"), dtype=torch.float64)
    images = matrix.matmat(vectors)
    assert len(calls) == forwards
    columns = [matrix.matvec(column) for column in vectors.unbind(1)]
    assert len(calls) == 6 * forwards
    handle.remove()
    torch.testing.assert_close(images, torch.stack(columns, 1))


@given(seed=st.integers(0, 100), order=st.permutations(range(6)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_parameters_permutes_the_entries(seed: int, order: list[int]) -> None:
    subject, batches = models.subject(models.convolution()), models.batches()
    names = list(subject.weights)
    v = torch.randn(sum(w.numel() for w in subject.weights.values()), generator=generator(seed, "v")).double()
    pieces = params.unflatten(v, subject.weights)
    other = {names[i]: pieces[names[i]] for i in order}
    for operator in (Hessian, GaussNewton):
        expected = params.unflatten(operator(subject, batches, names).matvec(v), subject.weights)
        found = operator(subject, batches, list(other)).matvec(params.flatten(other))
        torch.testing.assert_close(found, params.flatten({name: expected[name] for name in other}))


@given(seed=st.integers(0, 100), rows=st.permutations(range(11)))
@settings(max_examples=15, deadline=None)
def test_batch_norm_in_eval_mode_is_the_convolution_it_folds_into(seed: int, rows: list[int]) -> None:
    """And so it does not matter which samples share a batch."""
    subject, batches = models.subject(models.convolution()), models.batches()
    conv, norm, *rest = subject.module
    assert isinstance(norm, nn.BatchNorm2d)
    fused = nn.Sequential(torch.nn.utils.fuse_conv_bn_eval(conv, norm), nn.Identity(), *rest)
    folded = from_network(Network(fused, Preprocessing())).to("cpu", torch.float64)
    names = ["4.weight", "4.bias"]  # what both have; of the convolution w' = γw/σ, so its share is another
    shuffled = replace(batches, images=batches.images[rows], labels=batches.labels[rows])
    v = torch.randn(39, generator=generator(seed, "v"), dtype=torch.float64)
    product = Hessian(subject, batches, names).matvec(v)
    torch.testing.assert_close(Hessian(folded, batches, names).matvec(v), product)
    torch.testing.assert_close(Hessian(subject, shuffled, names).matvec(v), product)
    # The chain rule for a bias: b' = γb/σ + const, a linear map, so H_b = diag(γ/σ) H_b' diag(γ/σ).
    scale = subject.weights["1.weight"] / (norm.running_var + norm.eps).sqrt()
    within = Hessian(subject, batches, ["0.bias"]).matvec(v[:3])
    torch.testing.assert_close(within, scale * Hessian(folded, batches, ["0.bias"]).matvec(scale * v[:3]))


@pytest.mark.slow
@pytest.mark.parametrize(("probes", "least", "most"), [(10, 0.8, 0.95), (30, 0.88, 0.99), (100, 0.9, 0.99)])
def test_few_probes_of_a_small_network_tell_too_little_of_its_norm(
    probes: int, least: float, most: float
) -> None:
    """Its products scatter with a long tail (docs/measures.md); what is missed lies above the interval."""
    network = nn.Sequential(nn.Conv2d(2, 2, 3, stride=3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    subject, batches = models.subject(network), models.batches(40, 40)
    a = models.dense_hessian(subject, batches, list(subject.weights))
    top, bottom = eigenpairs(Dense(a), 5, generator(0, "lanczos"))
    deflated = dict(zip(("vectors", "images"), together(top, bottom), strict=True))
    truth, inside, above = float(a.square().sum()), 0, 0
    for seed in range(400):
        found = traces(Dense(a), generator(seed, "t"), probes=probes, **deflated).squared_frobenius
        low, high = found.interval
        inside += low <= truth <= high
        above += high < truth
    assert least <= inside / 400 <= most
    assert above >= 400 - inside - 12
