from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geomlab.data import sources
from geomlab.data.glyphs import Glyphs
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.rng import generator
from grace import methods
from grace.batches import Pool, augment, training_domains
from grace.recipe import compose

TRAIN = sources.open_source("glyphs:split=train")


def test_an_epoch_shows_every_sample_at_most_once_and_orders_differ() -> None:
    pool = Pool(TRAIN, ("photo", "sketch"), None, 100, shift=0, flip=False, seed=0)
    assert (len(pool), pool.steps_per_epoch) == (2400, 24)
    batches = [pool.batch(step) for step in range(24)]
    pictures = torch.cat([batch.images for batch in batches]).flatten(1)
    assert len(torch.unique(pictures, dim=0)) == 2400
    assert all(len(batch.labels) == len(batch.domains) == 100 for batch in batches)
    assert not torch.equal(pool.batch(24).images, batches[0].images)
    other = Pool(TRAIN, ("photo", "sketch"), None, 100, shift=0, flip=False, seed=1)
    assert not torch.equal(other.batch(0).images, batches[0].images)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    pool = Pool(TRAIN, ("photo",), None, 64, shift=2, flip=True, seed=5)
    later = pool.batch(30)
    pool.batch(3)
    assert torch.equal(pool.batch(30).images, later.images)


def test_labels_and_domains_belong_to_their_images() -> None:
    pool = Pool(TRAIN, ("photo", "negative"), None, 256, shift=0, flip=False, seed=0)
    batch = pool.batch(0)
    for domain in ("photo", "negative"):
        index = TRAIN.index(domain)
        known = TRAIN.images(domain, torch.arange(1200).numpy(), None).flatten(1)
        chosen = torch.tensor([name == domain for name in batch.domains])
        where = torch.cdist(batch.images[chosen].flatten(1).double(), known.double()).argmin(dim=1)
        assert torch.equal(batch.labels[chosen], torch.from_numpy(index.labels)[where])


def test_a_pool_smaller_than_a_batch_gives_what_there_is() -> None:
    pool = Pool(TRAIN, ("photo",), None, 5000, shift=0, flip=False, seed=0)
    assert pool.steps_per_epoch == 1
    assert len(pool.batch(0).labels) == 1200


def test_a_source_is_listed_once_however_many_steps_are_taken() -> None:
    class Listed(Glyphs):
        listings = 0

        def list_samples(self, domain: str) -> Index:
            self.listings += 1
            return super().list_samples(domain)

    source = Listed("train")
    pool = Pool(source, ("photo", "sketch"), None, 50, shift=0, flip=False, seed=0)
    for step in range(5):
        pool.batch(step)
        source.index("photo")
    assert (len(pool), source.listings) == (2400, 2)


def test_augment_moves_whole_pixels() -> None:
    images = torch.zeros(500, 1, 5, 5)
    images[:, :, 2, 2] = 1
    moved = augment(images, 1, False, generator(0, "test"))
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(500))
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert torch.equal(augment(images, 0, False, generator(0, "test")), images)


def test_augment_mirrors_half() -> None:
    images = torch.arange(4.0).expand(1000, 1, 4, 4)
    mirrored = augment(images, 0, True, generator(0, "test"))[:, 0, 0, 0] == 3
    assert 400 < int(mirrored.sum()) < 600


@pytest.mark.parametrize("name", methods.names())
def test_no_shipped_recipe_trains_on_the_held_out_domain(name: str) -> None:
    data = compose(name).data
    domains = training_domains(sources.open_source(data.train), data.domains, data.held_out)
    assert domains
    assert "variant" not in domains


@pytest.mark.parametrize("name", methods.names())
def test_shipped_recipes_reach_their_peak_on_the_embedded_data(name: str) -> None:
    recipe = compose(name)
    domains = training_domains(TRAIN, recipe.data.domains, recipe.data.held_out)
    pool = Pool(TRAIN, domains, 16, recipe.optimisation.batch_size, shift=1, flip=False, seed=0)
    assert recipe.optimisation.steps(pool.steps_per_epoch) > 5 * recipe.optimisation.warmup


def test_training_domains() -> None:
    assert training_domains(TRAIN, "id", ()) == ("photo",)
    assert training_domains(TRAIN, "all", ("variant",)) == TRAIN.domains[:-1]
    assert training_domains(TRAIN, ["sketch"], ()) == ("sketch",)
    for wanted in (["variant"], ["sculpture"], []):
        with pytest.raises(
            UserError, match=r"cannot train on (variant|sculpture|none); it has photo, sketch"
        ):
            training_domains(TRAIN, wanted, ("variant",))


def damaged(folder: Path, names: Sequence[str]) -> Source:
    """A folder of 12 images of two classes, of which some are none."""
    rng = np.random.default_rng(0)
    for number in range(12):
        place = folder / f"class{number % 2}" / f"{number:02}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
        if place.name in names:
            place.write_bytes(b"no image")
    return sources.open_source(f"folder:{folder}")


def test_what_cannot_be_read_is_named_once_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = damaged(tmp_path, ["00.png", "05.png"])
    pool = Pool(source, source.domains, 8, 12, shift=0, flip=False, seed=0)
    for step in range(3):
        batch = pool.batch(step)
        assert len(batch.images) == len(batch.labels) == len(batch.domains) == 10
    (only,) = pool.in_order()
    assert only.labels.tolist() == [0] * 5 + [1] * 5
    whole = sources.open_source(f"folder:{tmp_path}")
    good = np.array([1, 2, 3, 4, 5, 6, 7, 9, 10, 11])  # 00 is the first of its class, 05 the third of its own
    assert torch.equal(only.images, whole.images(whole.domains[0], good, 8))
    assert len(pool.example) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line.startswith("left out of training: ") for line in told)
    assert {name for name in ("00.png", "05.png") if any(name in line for line in told)} == {
        "00.png",
        "05.png",
    }


def test_more_than_the_source_passes_over_end_training(tmp_path: Path) -> None:
    damaged(tmp_path, ["00.png", "05.png"])
    source = sources.open_source(f"folder:{tmp_path},skip=1")
    pool = Pool(source, source.domains, 8, 12, shift=0, flip=False, seed=0)
    with pytest.raises(UserError, match="more than 1 images"):
        pool.batch(0)


def test_a_batch_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    source = damaged(tmp_path, [f"{number:02}.png" for number in range(12)])
    pool = Pool(source, source.domains, 8, 4, shift=0, flip=False, seed=0)
    with pytest.raises(UserError, match=r"no images in|no image of the batch"):
        pool.batch(0)
    with pytest.raises(UserError, match="no images in"):
        _ = pool.example
