import subprocess
import sys

import matplotlib as mpl
import pytest

from geomlab.plots import style


def test_a_condition_has_the_colour_of_its_kind() -> None:
    looks = style.looks(["clean", "pgd", "domain:sketch", "corruption:gaussian_noise", "fgsm"])
    assert looks["clean"].color == style.BLUE
    assert looks["pgd"].color == style.VERMILLION
    assert looks["domain:sketch"].color == style.GREEN
    assert len({look.color for look in looks.values()}) == 5
    assert len({(look.marker, str(look.dash)) for look in looks.values()}) == 5


def test_there_is_a_look_for_any_number_of_conditions() -> None:
    looks = style.looks([f"domain:{i}" for i in range(20)])
    assert len(looks) == 20
    assert looks["domain:19"].marker in style.MARKERS


def test_the_callers_settings_come_back() -> None:
    before = dict(mpl.rcParams)
    style.save(style.styled(style.new_figure)(3.0, 2.0, "x"), "png")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("kind", ["pdf", "png", "svg"])
def test_a_figure_saves_as_the_same_bytes(kind: str) -> None:
    def draw() -> bytes:
        figure = style.styled(style.new_figure)(3.0, 2.0, "title $5")
        figure.subplots().plot([1, 2], [3, 4])
        return style.save(figure, kind)

    assert draw() == draw()


def test_a_notebook_shows_a_figure() -> None:
    assert style.styled(style.new_figure)(1.0, 1.0)._repr_png_().startswith(b"\x89PNG")


def test_drawing_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import geomlab.plots, geomlab.results, geomlab.render;"
        "from geomlab.plots import accuracy, alignment, layers, line, plane, spectrum;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
