from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geomlab import checkpoint
from geomlab.data import embedded, sources
from grace import loop, methods
from grace import model as models
from grace.batches import Batch, Pool
from grace.model import Model
from grace.recipe import compose
from grace.run import Run
from grace.start import open_pools


@pytest.fixture
def model() -> Model:
    """The embedded zero-shot CLIP in float64."""
    found = checkpoint.read(embedded.checkpoint_path("zero-shot"))
    return models.from_checkpoint(found, None).double().eval()


@pytest.fixture
def run_of(model: Model) -> Callable[..., Run]:
    """Method and settings -> a run of the embedded CLIP in float64, prepared for its first step, in train mode."""

    def make(name: str, *settings: str) -> Run:
        recipe = compose(name, settings=["optimisation.batch_size=40", *settings])
        source = sources.open_source(recipe.data.train)
        pool, validation = open_pools(recipe, source, 16, seed=3)
        steps = recipe.optimisation.steps(pool.steps_per_epoch)
        run = Run(model, recipe, pool, validation, steps)
        loop.prepare(run, methods.get(name))
        model.train()
        return run

    return make


@pytest.fixture
def batch() -> Batch:
    """Forty training images of five domains, in float64."""
    source = sources.open_source("glyphs:split=train")
    drawn = Pool(source, source.domains[:5], 16, 40, shift=1, flip=False, seed=3).batch(0)
    return Batch(drawn.images.double(), drawn.labels, drawn.domains)


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    """Arguments of a run of three steps."""
    settings = ["optimisation.max_steps=3", "optimisation.batch_size=32", "optimisation.warmup=1"]
    return ["--out", str(tmp_path / "run"), *(part for text in settings for part in ("--set", text))]


@pytest.fixture(autouse=True)
def _global_randomness_is_left_alone() -> object:
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state()), "the global generator was used"
