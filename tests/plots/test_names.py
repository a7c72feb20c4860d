import pytest

from geomlab.plots.names import shorten

BLOCKS = "visual.transformer.resblocks"


@pytest.mark.parametrize(
    ("names", "short", "path"),
    [
        (
            ["visual.conv1", f"{BLOCKS}.0.attn", f"{BLOCKS}.10.attn", "head"],
            ["visual.conv1", "0.attn", "10.attn", "head"],
            BLOCKS,
        ),
        (["model.stem", "model.head"], ["stem", "head"], "model"),
        (["a.0.x", "b.0.x"], ["a.0.x", "b.0.x"], ""),
        (["conv", "head"], ["conv", "head"], ""),
        (["v.blocks.0", "0"], ["v.blocks.0", "0"], ""),
        (["only.one"], ["only.one"], ""),
        ([], [], ""),
    ],
)
def test_names_lose_the_path_they_share(names: list[str], short: list[str], path: str) -> None:
    assert shorten(names) == (short, path)
