"""What is light stays light, and what draws needs no torch."""

import subprocess
import sys

import pytest

from tests.cli import ROOT, environment

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n"


def python(code: str) -> str:
    """Run code in a fresh interpreter and give its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["geomlab", "geomlab.cli", "grace.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'matplotlib', 'xarray', 'plotly', 'sklearn', 'open_clip', 'transformers', 'datasets', 'pyarrow'}"
    assert python(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_a_network_that_is_no_clip_is_measured_without_open_clip() -> None:
    """It would take half the time that a small analysis does."""
    heavy = "{'open_clip', 'timm', 'transformers', 'datasets'}"
    code = f"import sys, geomlab.study, geomlab.data.sources; print(sorted({heavy} & set(sys.modules)))"
    assert python(code).strip() == "[]"


def test_drawing_imports_without_torch() -> None:
    python(
        WITHOUT_TORCH
        + "import geomlab, geomlab.plots, geomlab.results, geomlab.render, geomlab.tables, geomlab.cli"
    )


def test_public_names_are_there_and_others_are_refused() -> None:
    import geomlab

    for name in geomlab.__all__:
        assert callable(getattr(geomlab, name))
    assert dir(geomlab) == sorted(geomlab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'analyse'; it has"):
        _ = geomlab.analyse
