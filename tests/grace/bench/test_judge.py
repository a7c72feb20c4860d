from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geomlab import checkpoint, subject
from geomlab.data import embedded, sources
from geomlab.errors import UserError
from geomlab.subject import Subject
from geomlab.typing import Images, Labels
from grace.bench import apgd
from grace.bench.heldback import HeldBack
from grace.bench.judge import Judge, Scores, drift
from grace.recipe import attack_of, compose
from grace.start import open_pools

JUDGE = Judge("glyphs", 16 / 255, samples=20)


@pytest.fixture(scope="module")
def tuned() -> Subject:
    """The embedded fine-tuned CLIP."""
    return subject.load(checkpoint.read(embedded.checkpoint_path("ft")))


def test_a_sample_counts_under_attack_if_it_withstands_every_one(
    tuned: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Tensor] = {}

    def spoil(network: Subject, images: Images, labels: Labels, **_: object) -> Images:
        """Blank every other image, in place of an attack."""
        seen["images"], seen["labels"] = images, labels
        return images * (torch.arange(len(images)) % 2).view(-1, 1, 1, 1)

    monkeypatch.setattr(apgd, "apgd", spoil)
    weak = replace(JUDGE, eps=1 / 255)
    found, without = weak(tuned), replace(weak, thorough=False)(tuned)
    assert list(found.accuracy) == [
        *(
            "clean",
            "domain:sketch",
            "domain:rendition",
            "domain:negative",
            "domain:rotated",
            "domain:variant",
        ),
        *("pgd-20", "apgd-ce"),
    ]
    assert set(found.n.values()) == {20}
    right = tuned(seen["images"]).argmax(1) == seen["labels"]
    assert found.id == pytest.approx(float(right.double().mean()))
    assert found.ood == pytest.approx(sum(list(found.accuracy.values())[1:6]) / 5)
    assert without.adv == without.accuracy["pgd-20"] == found.accuracy["pgd-20"]
    assert 0 < found.adv < min(found.accuracy["pgd-20"], found.accuracy["apgd-ce"] + 0.051)
    hm = found.harmonic_mean
    assert hm is not None
    assert 3 / hm == pytest.approx(1 / found.id + 1 / found.ood + 1 / found.adv)  # type: ignore[operator]


def test_without_other_domains_ood_is_not_defined() -> None:
    scores = Scores({"clean": 0.5, "pgd-20": 0.25}, {"clean": 4, "pgd-20": 4}, 0.25)
    assert (scores.id, scores.ood, scores.harmonic_mean) == (0.5, None, None)


def test_the_radius_is_the_datas() -> None:
    assert attack_of("glyphs:split=all").eps == 8 / 255
    assert attack_of("folder:x").eps == 4 / 255


def test_held_back_is_what_training_does_not_see() -> None:
    recipe = compose("ft", settings=["data.validation=0.1", "data.domains='all'"])
    source = sources.open_source("glyphs:split=train")
    pool, _ = open_pools(recipe, source, 16, seed=0)
    held = HeldBack(source, 0.1)
    assert held.domains == source.domains
    for domain, rows in zip(pool.domains, pool.rows, strict=True):
        index = source.index(domain)
        assert set(held.index(domain).ids) == set(index.ids) - set(index.ids[rows])
    ids, domain = held.index("sketch").ids, "sketch"
    row = list(source.index(domain).ids).index(ids[7])
    read = held.images(domain, torch.tensor([7]).numpy(), 16)
    assert torch.equal(read, source.images(domain, torch.tensor([row]).numpy(), 16))
    assert held.index(domain).labels[7] == source.index(domain).labels[row]
    with pytest.raises(
        UserError, match=r"glyphs:split=train, photo: no sample is held back .*=1e-05; raise it"
    ):
        HeldBack(source, 1e-5)


def test_drift_is_of_the_image_tower_alone() -> None:
    start = {
        "visual.a": torch.tensor([3.0, 0.0]),
        "visual.count": torch.tensor(7),
        "text": torch.ones(3),
        "visual.b": torch.tensor([[4.0]]),
    }
    end = {
        **start,
        "visual.a": torch.tensor([3.0, 1.0]),
        "visual.count": torch.tensor(9),
        "text": torch.zeros(3),
        "visual.prompts": torch.ones(9),
    }
    assert drift(start, end) == pytest.approx(1 / 5)
    assert drift(start, start) == 0
