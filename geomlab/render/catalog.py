"""Which pictures there are, what each means, and of which measurement it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.figure import Figure

from geomlab.plots import (
    accuracy,
    alignment,
    bound,
    classes,
    clouds,
    density,
    layers,
    line,
    matrices,
    measures,
    paths,
    plane,
    projection,
    projection3d,
    projection_html,
    sampling,
    sanity,
    select,
    spectrum,
    subspaces,
    surface,
    variance,
    volumes,
)
from geomlab.results import Results


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Attributes:
        name: of its files.
        section: of the report.
        measurement: whose results it shows.
        variable: without which there is nothing to show.
        title: a few words.
        caption: what one sees and how to read it.
        figure: the paper's version.
        interactive: the browser's version; None where another kind's shows the same.
    """

    name: str
    section: str
    measurement: str
    variable: str
    title: str
    caption: str
    figure: Callable[[xr.Dataset, str], Figure]
    interactive: Callable[[xr.Dataset, str], go.Figure] | None


BANDS = "Bands are 95 %."
STILL = "The line across is where features would be that did not move."


def _curves(name: str, variable: str, group: measures.Group, caption: str) -> Kind:
    figure, interactive = (partial(f, group=group) for f in (alignment.figure, alignment.interactive))
    return Kind(name, "Features", "features", variable, group.title, caption, figure, interactive)


def _matrices(name: str, matrix: matrices.Matrix, caption: str) -> Kind:
    figure, interactive = (partial(f, matrix=matrix) for f in (matrices.figure, matrices.interactive))
    return Kind(name, "Features", "features", matrix.variable, matrix.title, caption, figure, interactive)


KINDS = (
    Kind(
        "accuracy",
        "Accuracy",
        "accuracy",
        "accuracy",
        accuracy.TITLE,
        "Fraction of correct answers with its 95 % Wilson interval, and mean cross-entropy with its 95 % "
        "interval, symmetric in the logarithm. An attack is run against the network itself, so that each network "
        "has its own adversarial inputs.",
        accuracy.figure,
        accuracy.interactive,
    ),
    Kind(
        "sanity",
        "Accuracy",
        "sanity",
        "accuracy",
        sanity.TITLE,
        "Does the attack find what there is to find? Left, accuracy by its radius: it must fall, and reach 0 where any "
        "image is allowed. Right, at its own radius: random noise must leave more, more steps no more than fewer, "
        "and an attack that sees no gradient (Square) no less than the attack, shaded. Otherwise gradients may be "
        "masked, and accuracy under attack means little. On some of the samples; bars are 95 % Wilson intervals. The "
        "verdicts, with paired tests, are in the table.",
        sanity.figure,
        sanity.interactive,
    ),
    Kind(
        "spectrum",
        "Curvature",
        "curvature",
        "eigenvalue",
        spectrum.TITLE,
        "The larger the first eigenvalues, the sharper the loss around the network; a fast fall means "
        "that few directions carry the curvature. Apart on the right, the smallest eigenvalue: below zero "
        "the network is at no minimum of this loss. Bars are residuals, mostly smaller than the markers; "
        "hollow markers did not converge.",
        spectrum.figure,
        spectrum.interactive,
    ),
    Kind(
        "sampling",
        "Curvature",
        "curvature",
        "part_eigenvalue",
        sampling.TITLE,
        "Would other samples, or more of them, give another λmax? On the right that of all samples, to the left the "
        "mean over the parts into which they were split. Bars are one standard error: over the parts, and of all "
        "samples by the jackknife. A series that still falls on the right, by more than its bars, would fall further "
        "with more samples. Of equal numbers of samples, points are moved apart; a hollow marker did not converge.",
        sampling.figure,
        sampling.interactive,
    ),
    Kind(
        "density",
        "Curvature",
        "curvature",
        "density",
        density.TITLE,
        "Left, how many eigenvalues lie where, on a logarithmic axis: a bulk around zero, and eigenvalues that "
        "stand apart, each a peak near the lower edge, which lies a little below the height of a single one. "
        "Right, over the bulk alone, the share of eigenvalues below: at zero, that of the negative ones. Both "
        "are smoothed by a normal of the standard deviation given; what is narrower, even the sign of an "
        "eigenvalue near zero, is not resolved. Bands are 95 %, pointwise.",
        density.figure,
        density.interactive,
    ),
    Kind(
        "subspaces",
        "Curvature",
        "curvature",
        "eigenvector_sketch",
        subspaces.TITLE,
        "Mean squared cosine of the principal angles between the spaces of the top eigenvectors: 1 where the loss "
        "is sharp along the same directions, 0 where these are orthogonal. Outlined and in italics on the diagonal, "
        "what the spaces of two halves of the same samples share: more is hardly to be expected of two conditions. "
        "Grey: not comparable, for want of the same parameters or number of vectors.",
        subspaces.figure,
        subspaces.interactive,
    ),
    Kind(
        "layers",
        "Curvature",
        "curvature",
        "layer_kappa",
        layers.TITLE,
        "Trace of each layer's block of the matrix over its number of parameters: where in the network "
        "the loss is sharp, whatever the size of the layer. Bars are 95 % intervals over probes.",
        layers.figure,
        layers.interactive,
    ),
    Kind(
        "line",
        "Loss landscape",
        "landscape",
        "line_loss",
        line.TITLE,
        "Loss and accuracy at θ + step · d₀. A narrow valley is a sharp one. Bands are 95 %: ± 1.96 "
        "standard errors of the mean loss, Wilson intervals of the accuracy.",
        line.figure,
        line.interactive,
    ),
    Kind(
        "plane",
        "Loss landscape",
        "landscape",
        "plane_loss",
        plane.TITLE,
        "Loss at θ + α · d₀ + β · d₁; the network is at (0, 0). All conditions share one scale. A random "
        "plane shows mean curvature only: eigenvalues along which the loss is sharpest are rarely in it. Dots, if "
        "there are any, are the points that were measured; between them it is interpolated, to the error stated.",
        plane.figure,
        surface.interactive,
    ),
    Kind(
        "surface",
        "Loss landscape",
        "landscape",
        "plane_loss",
        surface.TITLE,
        "The same plane from the side, all conditions on one scale.",
        surface.figure,
        None,
    ),
    Kind(
        "paths",
        "Loss landscape",
        "paths",
        "loss",
        paths.TITLE,
        "From the reference, t = 0, to the network, t = 1. The dotted line joins the losses of the two ends; the "
        "largest rise above it, upright, is the barrier: none means that one valley holds both. Curves were "
        "trained to be low, on other samples than these. Bands are 95 %, of the loss symmetric in its logarithm. "
        "Below, where it was asked for, CKA of the features along the path to the reference's and to the network's, on "
        "the same inputs.",
        paths.figure,
        paths.interactive,
    ),
    _curves(
        "features",
        "cka_to_clean",
        measures.TO_CLEAN,
        "Layer by layer, from input to output: similarity of the representations (CKA, 1 is the same), "
        "change of the Gram matrix, cosine of the class centroids, and change of the local intrinsic "
        f"dimension. {STILL} {BANDS}",
    ),
    _curves(
        "similarity",
        "rbf_cka_to_clean",
        measures.SIMILARITY,
        "The same comparison by other eyes: a CKA of Gaussian kernels, the angle between the shapes, the order of all "
        "distances (RSA), shared nearest neighbours, and canonical correlations. Where they disagree with the linear "
        f"CKA, that is carried by few directions or few samples. {STILL} {BANDS}",
    ),
    _matrices(
        "cka_matrix",
        matrices.CLEAN,
        "CKA of each layer under a condition, upwards, with each layer on the same inputs when they are clean, to the "
        "right; both from input to output, so that the diagonal is the curve of the CKA to clean. Of clean inputs it "
        "is the network with itself. A bright block: layers that hold the same. A condition whose colours fade from "
        "some row on leaves the clean features there. Grey: not defined. One standard error is in the browser's hover "
        "text.",
    ),
    Kind(
        "projection",
        "Features",
        "features",
        "projection",
        clouds.PCA.title,
        "What feeds the last linear map, in one projection for all conditions: principal components of the clean "
        "features, with their share of the variance. Classes that an attack or a shift leaves alone keep their place "
        "and stay together; others move, spread or mix. Lines or arrows go from the centroid of a class on clean "
        f"inputs to that here. At most {clouds.POINTS} samples of a condition are drawn, with the centroids of the "
        f"{clouds.ARROWS} classes that moved most; in a browser, of at most {projection_html.MOST} checkpoints. "
        "What lies outside these components is not seen.",
        projection.figure,
        projection_html.interactive,
    ),
    Kind(
        "projection_3d",
        "Features",
        "features",
        "projection",
        clouds.PCA.title,
        "The same in three dimensions, all conditions together.",
        projection3d.figure,
        None,
    ),
    Kind(
        "umap",
        "Features",
        "features",
        "umap",
        clouds.UMAP.title,
        "The same features in a UMAP, which keeps neighbourhoods: distances between groups and their sizes mean "
        f"nothing. At most {clouds.POINTS} samples of a condition are drawn.",
        partial(projection.figure, space=clouds.UMAP),
        partial(projection_html.interactive, space=clouds.UMAP),
    ),
    Kind(
        "classes",
        "Features",
        "features",
        "class_cosine",
        classes.TITLE,
        "Which classes moved: the cosine of the centroids of a class here and on clean inputs, and the change of the "
        "Gram matrix of its samples, of what feeds the last linear map. The worst is on top. The line upright is where "
        f"a class would be that did not move. Of more than {classes.MOST} classes the {classes.SHOWN} that turned most "
        "are shown; the table has all. Bars are 95 %.",
        classes.figure,
        classes.interactive,
    ),
    _curves(
        "class_geometry",
        "class_separation",
        measures.CLASSES,
        "How classes lie in each layer: the share of the scatter that is between classes (1: classes are points), two "
        "measures of neural collapse (0 at collapse), how far class centroids move by the inputs and by perturbed "
        "weights, and the discrepancy of Lemma 3.2, without its Lipschitz constant. A line across is where classes "
        f"would be that did not move. {BANDS}",
    ),
    _curves(
        "dimension",
        "lid",
        measures.DIMENSIONS,
        "How many dimensions the features fill: local (LID, TwoNN) and of the whole cloud (participation ratio, "
        "effective rank); how evenly unit features cover the sphere (uniformity, lower is more even); and the mean "
        f"volume that clean, these and weight-perturbed features of a sample span (0: they are alike). {BANDS}",
    ),
    Kind(
        "variance",
        "Features",
        "features",
        "variance_share",
        variance.TITLE,
        "PCA's spectrum of what feeds the last linear map: the share of the variance along each principal component. A "
        "fast fall means that few directions carry the features; effective rank and participation ratio are its "
        f"summary. Shares below a millionth are rounding and not drawn. {BANDS}",
        variance.figure,
        variance.interactive,
    ),
    Kind(
        "volumes",
        "Features",
        "features",
        "sample_gram_volume",
        volumes.TITLE,
        "Share of the samples whose Gram volume is at most that on the axis, of what feeds the last linear map: the "
        "volume that a sample's clean features, those here and those at perturbed weights span. The further right a "
        "curve, the more the features fly apart; a long upper end means that few samples do. Markers are means, with "
        "95 % intervals.",
        volumes.figure,
        volumes.interactive,
    ),
    _curves(
        "weights",
        "weights_cka",
        measures.WEIGHTS,
        "What a perturbation of the weights does to the features of the same inputs, layer by layer, under each "
        f"condition. {STILL} Compare with the first figure: there the inputs move, here the weights. {BANDS}",
    ),
    _curves(
        "reference",
        "reference_cka",
        measures.TO_REFERENCE,
        "How far the network's features are from those of the reference, for the same inputs. The line "
        f"across is where the reference itself would be. {BANDS}",
    ),
    _matrices(
        "reference_cka_matrix",
        matrices.REFERENCE,
        "CKA of each layer of the network, upwards, with each layer of the reference, to the right, on the same "
        "inputs. Fine-tuning that leaves the early layers alone keeps the lower left bright. One standard error is in "
        "the browser's hover text.",
    ),
    Kind(
        "bound",
        "Bound",
        "bound",
        "sharpness",
        bound.TITLE,
        "The terms over the width σ of the prior, which must be chosen before the network is seen: (A) falls with it, "
        "(B) rises, and where they cross, dotted, their sum is least. (B) and (C) with 95 % bands. Pale, what is swept "
        "for not being known: the Lipschitz constant L_f from 0.01 to 100, the line being at 1, and n, the samples of "
        "training, where it was not given, the line being at the middle one. Last, the terms at one σ for all "
        "networks: a filled marker is the largest term, or not surely smaller than that, and so what the network "
        "fails. λ* is taken as 0. It is no certificate.",
        bound.figure,
        bound.interactive,
    ),
)


def pictures(results: Results) -> Iterator[tuple[Kind, xr.Dataset, str]]:
    """The kinds for which there are numbers, with the data and a second title line of data, n and seed.

    Conditions that a measurement lacks are filled with NaN, so that each keeps its colour; checkpoints
    that lack it are left out.
    """
    for kind in KINDS:
        data = results.data.get(kind.measurement)
        if data is None or kind.variable not in data:
            continue
        measured = [name for name in results.checkpoints if _measured(data, kind.variable, name)]
        if not measured:
            continue
        conditions = {"condition": list(results.conditions)} if "condition" in data.dims else {}
        whole = data.reindex({"checkpoint": measured, **conditions})
        yield kind, whole, about(results, select.samples(whole))


def _measured(data: xr.Dataset, variable: str, checkpoint: str) -> bool:
    found = data["checkpoint"].values
    return checkpoint in found and bool(np.isfinite(data[variable].sel(checkpoint=checkpoint)).any())


def about(results: Results, samples: str) -> str:
    """`grace-s0 on glyphs, n = 300, seed 0`."""
    names = results.checkpoints
    who = ", ".join(names) if len(names) <= 3 else f"{len(names)} checkpoints"
    settings = [manifest["settings"] for manifest in results.manifests.values()]
    data, seeds = (", ".join(dict.fromkeys(str(one[key]) for one in settings)) for key in ("data", "seed"))
    return ", ".join(filter(None, [f"{who} on {data}", samples, f"seed {seeds}"]))
