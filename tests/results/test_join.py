"""Cells of other sizes and networks, opened together."""

from pathlib import Path

import numpy as np
import xarray as xr

from geomlab.results import open_results
from geomlab.results.store import _join
from tests.synthetic import N, accuracy, curvature, write_folder


def layered(layers: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {"x": ("layer", np.arange(len(layers)) * 1.0), "warnings": "[]"}, coords={"layer": layers}
    )


def test_layers_keep_the_order_of_the_network() -> None:
    joined = _join(
        {
            "a": {"clean": layered(["b.2", "b.10", "features"])},
            "b": {"clean": layered(["z", "b.2", "features"])},
        }
    )
    assert list(joined["layer"].values) == ["z", "b.2", "b.10", "features"]
    assert joined["x"].sel(checkpoint="b", layer="features").item() == 2.0


def test_cells_of_other_sizes_join() -> None:
    rng = np.random.default_rng(0)
    few = accuracy("domain:sketch", rng, 1.0, n=N - 7)
    joined = _join({"a": {"clean": accuracy("clean", rng, 1.0), "domain:sketch": few}})
    assert joined.sizes["sample"] == N
    assert int(joined["label"].sel(checkpoint="a", condition="domain:sketch").isnull().sum()) == 7
    fewer = curvature("pgd", rng, 1.0).isel(eigen=slice(4))
    assert _join({"a": {"clean": curvature("clean", rng, 1.0), "pgd": fewer}}).sizes["eigen"] == 10


def test_a_cell_that_is_not_there_yet_is_left_out(tmp_path: Path) -> None:
    results = open_results(write_folder(tmp_path, measurements=["curvature"], without=[("curvature", "pgd")]))
    assert "pgd" not in results["curvature"]["condition"].values
    assert "pgd" in results.conditions
