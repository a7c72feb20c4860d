"""TeCoA, FARE, PMG-AFT, LAAT, LoRA-AT and VPT-PMG-AFT against naive formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from grace import methods
from grace.batches import Batch
from grace.methods import laat, vpt_pmg_aft
from grace.model import Model
from grace.run import Run

RunOf = Callable[..., Run]
EPS, FEW = 16 / 255, "attack.steps=3"


def crafted(
    run: Run, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], Tensor, Callable]:  # type: ignore[type-arg]
    """The loss's terms, the attacked images, and what the attack raised."""
    seen: list[object] = []
    craft = Run.craft

    def watched(self: Run, images: Tensor, loss: Callable) -> Tensor:  # type: ignore[type-arg]
        seen[:] = [craft(self, images, loss), loss]
        return seen[0]  # type: ignore[return-value]

    monkeypatch.setattr(Run, "craft", watched)
    terms = dict(methods.get(run.recipe.method).loss(run, batch))
    attacked, raised = seen
    return terms, attacked, raised  # type: ignore[return-value]


def move(run: Run) -> None:
    """Away from the start, so that the model and its original differ."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in run.weights.values():
            weight.add_(0.02 * torch.randn(weight.shape, generator=rng, dtype=weight.dtype))


def encode(model: Model, images: Tensor) -> Tensor:
    return model.clip.encode_image((images - 0.5) / 0.25)


def log_probabilities(model: Model, images: Tensor) -> Tensor:
    features = encode(model, images)
    assert isinstance(model.head, nn.Linear)
    scores = features / features.norm(dim=1, keepdim=True) @ model.head.weight.T
    return scores - scores.exp().sum(1, keepdim=True).log()


def entropy(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    found = log_probabilities(model, images)
    return -torch.stack([found[i, label] for i, label in enumerate(labels.tolist())]).mean()


def check_terms(run: Run, terms: dict[str, Tensor], naive: dict[str, Tensor]) -> None:
    """Each term is the naive one, and so is the gradient of their sum in what trains."""
    assert set(terms) == set(naive)
    for name, term in terms.items():
        torch.testing.assert_close(term, naive[name], rtol=1e-10, atol=1e-12)
    of, to = (run.gradient(torch.stack(list(some.values())).sum()) for some in (terms, naive))
    assert any(bool(gradient.abs().max() > 1e-6) for gradient in of.values())
    for name, gradient in of.items():
        torch.testing.assert_close(gradient, to[name], rtol=1e-6, atol=1e-9)


def check_attack(attacked: Tensor, raised: Callable, batch: Batch) -> None:  # type: ignore[type-arg]
    assert (attacked - batch.images).abs().max() <= EPS + 1e-12
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert raised(attacked).mean() > raised(batch.images).mean()


@pytest.mark.parametrize("name", ["tecoa", "lora-tecoa", "lora-at"])
def test_cross_entropies(run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run = run_of(name, FEW)
    move(run)
    terms, attacked, raised = crafted(run, batch, monkeypatch)
    check_attack(attacked, raised, batch)
    naive = {"adversarial": entropy(run.model, attacked, batch.labels)}
    if name == "lora-at":
        naive["clean"] = entropy(run.model, batch.images, batch.labels)
    check_terms(run, terms, naive)
    torch.testing.assert_close(raised(attacked).mean(), terms["adversarial"])


def test_fare_is_the_distance_to_the_start(
    run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("fare", FEW)
    assert run.original is not None
    start = encode(run.model, batch.images).detach()
    move(run)
    terms, attacked, raised = crafted(run, batch, monkeypatch)
    check_attack(attacked, raised, batch)
    naive = (encode(run.model, attacked) - start).pow(2).sum(1)
    check_terms(run, terms, {"distance": naive.mean()})
    torch.testing.assert_close(raised(attacked), naive)


def test_fare_attacks_the_start_too(run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the gradient at δ = 0 is zero, the random start finds one."""
    run = run_of("fare", FEW)
    terms, attacked, raised = crafted(run, batch, monkeypatch)
    assert raised(batch.images).max() < 1e-20  # rounding
    drawn = run.rng("attack")
    begin = batch.images + EPS * (
        2 * torch.rand(batch.images.shape, generator=drawn, dtype=torch.float64) - 1
    )
    assert terms["distance"] > 1.5 * raised(begin.clamp(0, 1)).mean()
    check_attack(attacked, raised, batch)


def divergence(of: Tensor, to: Tensor) -> Tensor:
    return torch.stack([(of[i].exp() * (of[i] - to[i])).sum() for i in range(len(of))]).mean()


@pytest.mark.parametrize("name", ["pmg-aft", "vpt-pmg-aft"])
def test_pmg_aft_is_guided_by_the_start_and_by_clean_images(
    run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = run_of(name, "options.original=0.5", "options.clean=2", FEW)
    start = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
    move(run)
    terms, attacked, raised = crafted(run, batch, monkeypatch)
    check_attack(attacked, raised, batch)
    assert run.original is not None
    adversarial, clean = (log_probabilities(run.model, images) for images in (attacked, batch.images))
    original = log_probabilities(run.original, attacked)
    naive = {
        "adversarial": entropy(run.model, attacked, batch.labels),
        "kl_original": 0.5 * divergence(original, adversarial),
        "kl_clean": 2 * divergence(clean, adversarial),
    }
    check_terms(run, terms, naive)
    if name == "pmg-aft":
        run.model.load_state_dict(start)
        torch.testing.assert_close(original, log_probabilities(run.model, attacked))
    else:
        assert not any("prompts" in key for key in run.original.state_dict())


def test_pmg_aft_without_its_guides_is_tecoa(run_of: RunOf, batch: Batch) -> None:
    run = run_of("pmg-aft", "options.original=0", "options.clean=0", FEW)
    found, tecoa = (methods.get(name).loss(run, batch) for name in ("pmg-aft", "tecoa"))
    assert {key: term.item() for key, term in found.items()} == {"adversarial": tecoa["adversarial"].item()}


def test_laat_is_cross_entropy_on_its_anchors_and_a_cosine(
    run_of: RunOf, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("laat", "options.beta=3", FEW)
    move(run)
    terms, attacked, raised = crafted(run, batch, monkeypatch)
    check_attack(attacked, raised, batch)
    clean, adversarial = encode(run.model, batch.images), encode(run.model, attacked)
    cosine = torch.cosine_similarity(clean, adversarial, dim=1)
    task = entropy(run.model, batch.images, batch.labels)
    check_terms(run, terms, {"task": task, "distance": 3 * (1 - cosine).mean()})
    torch.testing.assert_close(raised(attacked), 1 - cosine)


def test_laats_anchors_have_no_direction_in_common(run_of: RunOf) -> None:
    run = run_of("laat")
    assert run.model.head is not None
    anchors, before = run.model.head.weight.detach(), run.model.zero_shot_weight()
    scale = run.model.clip.logit_scale.detach().exp()
    torch.testing.assert_close(anchors.norm(dim=1), scale.expand(10))
    assert (anchors @ before.mean(0)).abs().max() < 1e-9 * scale**2

    def spread(rows: Tensor) -> Tensor:
        return torch.pdist(rows / scale).mean()

    assert spread(anchors) > 1.15 * spread(before)
    two = laat.expand(torch.tensor([[3.0, 4.0], [4.0, 3.0]]))
    torch.testing.assert_close(two, 5 * torch.tensor([[-1.0, 1.0], [1.0, -1.0]]) / 2**0.5)


def test_prompts_are_drawn_in_their_range() -> None:
    drawn = vpt_pmg_aft.initial(50, 64, 16, torch.Generator().manual_seed(0))
    bound = (6 / (3 * 16 + 64)) ** 0.5
    assert drawn.shape == (50, 64)
    assert drawn.abs().max() <= bound
    assert drawn.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
