"""The whole test run checks array shapes and types, so the hook comes before geomlab is first imported."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests import typecheck

typecheck.install("geomlab", "grace")
settings.register_profile("geomlab", deadline=None, derandomize=True)
settings.load_profile("geomlab")

pytest_plugins = ["tests.synthetic"]

LONGEST = (
    *("test_real_input.py", "test_resume.py", "test_render.py", "features/test_index.py", "test_bound.py"),
    *("grace/bench/test_processes.py", "test_out.py", "grace/test_resume.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker waits for one at the end; pytest sorts its arguments itself."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from the user's cache or left there."""
    os.environ["GEOMLAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare state_dict that fits `tests.factories:model`."""
    from tests import factories

    path = tmp_path_factory.mktemp("weights") / "net.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(factories.model().state_dict(), path)
    return path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out all pictures, for tests that do not look at them: they are most of a small analysis."""
    monkeypatch.setattr("geomlab.render.folder.pictures", lambda _: ())


@pytest.fixture
def unfiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures' files alone; the report has its pictures."""
    monkeypatch.setattr("geomlab.render.folder._write_figures", lambda *_: ())
