"""Flatness and alignment in one figure: spectrum, loss slice and feature similarity, a row a checkpoint.

    python figures/flatness_and_alignment.py DIR FOLDER

DIR is a folder that `geomlab demo` or `geomlab analyze` wrote; the figure goes to FOLDER as PDF and PNG. No torch.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import geomlab
from geomlab.plots import alignment, line, select, spectrum, style
from geomlab.plots.scales import choose
from geomlab.results import Results


@style.styled
def draw(results: Results) -> Figure:
    """Three panels a checkpoint, each column on one scale."""
    names = results.checkpoints
    manifest = results.manifests[names[0]]
    settings = manifest["settings"]
    figure = style.new_figure(
        style.PAGE,
        0.9 + 1.75 * len(names),
        f"{settings['data']}, {select.samples(results['accuracy'])} a condition, seed {settings['seed']}, "
        f"budget {settings['budget']}",
    )
    axes = figure.subplots(len(names), 3, squeeze=False, sharex="col", sharey="col")
    spectra = results["curvature"]
    both_ends = [spectra[name].values.ravel() for name in ("eigenvalue", "smallest_eigenvalue")]
    eigenvalues = choose(np.concatenate(both_ends))
    for row, name in zip(axes, names, strict=True):
        curvature, landscape, features = (
            results[measure].sel(checkpoint=name) for measure in ("curvature", "landscape", "features")
        )
        spectrum.plot(curvature, row[0], eigenvalues)
        line.plot(landscape, row[1])
        alignment.plot(features, row[2])
        row[0].set_title(name, loc="left")
        row[1].set_xlabel("step along $d_0$")
    for ax in axes[:-1].ravel():
        ax.set_xlabel("")
    style.legend(figure, style.looks(results.conditions), columns=5)
    return figure


def main(source: str, target: str) -> None:
    """Draw and save."""
    figure = style.settle(draw(geomlab.open(source)))
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("pdf", "png"):
        (folder / f"flatness_and_alignment.{kind}").write_bytes(style.save(figure, kind))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} DIR FOLDER")
    main(sys.argv[1], sys.argv[2])
