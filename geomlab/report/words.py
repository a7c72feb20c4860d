"""What the results say, in sentences with numbers and their errors."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from geomlab.report.cells import cell, cells, converged, scalar, smallest_converged, text
from geomlab.report.entries import (
    accuracy_cell,
    interval_cell,
    largest,
    matrix_name,
    ratio,
    stderr_cell,
)
from geomlab.report.sanity_tables import failed, verdicts
from geomlab.results import Results
from geomlab.results.features import last_layer
from geomlab.results.overlap import overlaps
from geomlab.results.terms import TermsAt, common_sigma, terms_at
from geomlab.tables import Cell

NEGLIGIBLE = 1e-3  # of λmax: a negative eigenvalue smaller than this says nothing in float32; ours


def describe(results: Results, checkpoint: str | None = None) -> list[str]:
    """Sentences about one checkpoint, computed from its results.

    Args:
        results: of one or several checkpoints.
        checkpoint: which one; the first by default.
    """
    name = checkpoint or results.checkpoints[0]
    found = {m: dict(cells(results, m, name)) for m in ("accuracy", "curvature", "landscape", "features")}
    clean = next((c["name"] for c in results.manifests[name]["conditions"] if c["kind"] == "clean"), None)
    sentences = [
        _accuracy(found["accuracy"]),
        _sanity(dict(cells(results, "sanity", name))),
        _sharpness(found["curvature"], clean),
        _saddle(found["curvature"], clean),
        _over_samples(found["curvature"], clean),
        _shared(results, name),
        _spread(found["curvature"], clean),
        _layers(found["curvature"], clean),
        _slices(found["landscape"]),
        _paths(dict(cells(results, "paths", name)), results.manifests[name]["reference"]),
        _features(found["features"], clean),
        _reference(found["features"], results.manifests[name]["reference"]),
        _drift(cell(results, "drift", name, None)),
        _bound(cell(results, "bound", name, None)),
    ]
    return [sentence for sentence in sentences if sentence]


def _slices(found: dict[str, xr.Dataset]) -> str:
    parts = []
    for name, one in found.items():
        width = interval_cell(one, "width")
        if math.isfinite(width.value):
            bound = math.isinf(scalar(one, "width_high"))
            parts.append(f"{f'at least {width.value:.3g}' if bound else width} {under(name)}")
    if not parts:
        return ""
    first = next(iter(found.values()))
    along = text(first.sel(axis=0), "direction") if "axis" in first["direction"].dims else None
    return (
        f"Along d₀ ({along}) the loss is at most {scalar(first, 'rise'):g} nats above the network's over a distance in "
        f"weight space of {listed(parts)}."
    )


def _accuracy(found: dict[str, xr.Dataset]) -> str:
    if not found:
        return ""
    parts = [f"{_percent(accuracy_cell(one))} {under(name)}" for name, one in found.items()]
    return f"Accuracy is {listed(parts)} (95 % intervals in brackets)."


def _sanity(found: dict[str, xr.Dataset]) -> str:
    """Whether the attacks find what there is to find, as far as was tested."""
    parts = []
    for name, one in found.items():
        words, wrong = list(verdicts(one).values()), failed(one)
        if set(words) == {"not tested"}:
            parts.append(f"of {name} none was made")
        elif wrong:
            parts.append(f"of {name} {listed([f'“{what}”' for what in wrong])} fail{'s' * (len(wrong) == 1)}")
        else:
            rest = [f"{words.count(word)} {word}" for word in ("undecided", "not tested") if word in words]
            more = f" ({listed(rest)})" if rest else ""
            parts.append(f"of {name} {words.count('holds')} of {len(words)} hold{more}")
    return f"Sanity checks against masked gradients: {'; '.join(parts)}." if parts else ""


def _sharpness(found: dict[str, xr.Dataset], clean: str | None) -> str:
    if not found:
        return ""
    parts = []
    base = found.get(clean or "")
    for name, one in found.items():
        top = largest(one)
        residual = scalar(one.isel(eigen=0), "residual")
        told = f"{_number(top.value)} {under(name)} (relative residual {_number(residual, 1)})"
        if base is not None and one is not base:
            told += f", {_times(ratio(top, largest(base)))}"
        if scalar(one, "smallest_eigenvalue") < -abs(top.value):
            told += f", but {_number(scalar(one, 'smallest_eigenvalue'))} at the other end: mostly downhill"
        if not converged(one):
            told += " (its spectrum did not converge)"
        parts.append(told)
    matrix = matrix_name(next(iter(found.values()))).strip(",")
    return f"The largest eigenvalue λmax of the {matrix} is {'; '.join(parts)}."


def _over_samples(found: dict[str, xr.Dataset], clean: str | None) -> str:
    """How sure λmax is over data, and whether it still moves with n."""
    one = found.get(clean or "")
    if (
        one is None
        or "part_n" not in one
        or not math.isfinite(scalar(one.isel(eigen=0), "eigenvalue_stderr"))
    ):
        return ""
    first = one.isel(eigen=0)
    whole = Cell(scalar(first, "eigenvalue"), scalar(first, "eigenvalue_stderr"))
    told = f"Another draw of as many clean samples would move λmax: {whole} (one standard error over samples)"
    if 2 not in one["part"].values:
        return f"{told}."
    half = stderr_cell(one.sel(part=2), "part_eigenvalue")
    told += f"; of half as many it is {Cell(half.value, half.error)}"
    if half.value - whole.value > 2 * math.hypot(_error_of(half), _error_of(whole)):
        told += ", so that more would lower it"
    return f"{told}."


def _error_of(entry: Cell) -> float:
    return entry.error if isinstance(entry.error, float) and math.isfinite(entry.error) else math.inf


def _shared(results: Results, checkpoint: str) -> str:
    """How much of the top eigenspace conditions share with clean inputs, beside what halves of those share."""
    if "curvature" not in results or checkpoint not in results["curvature"]["checkpoint"].values:
        return ""
    own = results["curvature"].sel(checkpoint=[checkpoint])
    clean = [pair for pair in overlaps(own) if pair.places[0].condition == "clean"]
    if not clean:
        return ""
    parts = [f"{_number(pair.shared, 2)} {under(pair.places[1].condition)}" for pair in clean]
    return (
        f"Of the top eigenspace on clean inputs {listed(parts)} is shared (mean squared cosine), where two halves "
        f"of the clean samples share {_number(clean[0].halves[0], 2)}."
    )


def _saddle(found: dict[str, xr.Dataset], clean: str | None) -> str:
    one = found.get(clean or "")
    if one is None or text(one, "matrix") == "gauss-newton":  # which has no negative eigenvalue
        return ""
    low, high = scalar(one, "smallest_eigenvalue"), largest(one).value
    if not math.isfinite(low):
        return ""
    if low < -NEGLIGIBLE * abs(high):
        verdict = f"{abs(low / high):.2g} of λmax in size, so that the network is at no minimum of this loss"
    else:
        verdict = "no negative curvature to speak of"
    so_far = "" if smallest_converged(one) else "at most "
    return f"On clean inputs the smallest eigenvalue is {so_far}{_number(low)}: {verdict}."


def _spread(found: dict[str, xr.Dataset], clean: str | None) -> str:
    one = found.get(clean or "")
    if one is None or "participation_ratio" not in one["quantity"].values:
        return ""
    ratio_cell = interval_cell(one.sel(quantity="participation_ratio"), "anisotropy")
    matrix = matrix_name(one).strip(",")
    return (
        f"The trace of the {matrix} on clean inputs is {stderr_cell(one, 'trace')}; its curvature is as if "
        f"spread evenly over {ratio_cell} of {int(scalar(one, 'dim')):,} directions (participation ratio)."
    )


def _layers(found: dict[str, xr.Dataset], clean: str | None) -> str:
    one = found.get(clean or "")
    if one is None or not one["layer_kappa"].notnull().any():
        return ""
    peak = one.isel(layer=int(np.nanargmax(one["layer_kappa"].values)))
    return (
        f"Curvature per parameter on clean inputs is largest in {peak['layer'].item()}: "
        f"κ = {stderr_cell(peak, 'layer_kappa')}."
    )


def _paths(found: dict[str, xr.Dataset], reference: dict[str, str] | None) -> str:
    """How high each path rises under each condition."""
    if not found or not reference:
        return ""
    by_path: dict[str, list[str]] = {}
    for name, one in found.items():
        for path in one["path"].values:
            high = interval_cell(one.sel(path=path), "barrier")
            if math.isfinite(high.value):
                by_path.setdefault(str(path), []).append(f"{replace(high, n=None)} {under(name)}")
    along = "; ".join(f"{path} {listed(parts)}" for path, parts in by_path.items())
    told = (
        f"From the reference, {reference['name']}, to this network the loss rises above the straight line between "
        f"the two losses by, in nats: {along}"
    )
    return f"{told}." if along else ""


def _features(found: dict[str, xr.Dataset], clean: str | None) -> str:
    parts = []
    for name, one in found.items():
        last = last_layer(one)
        if name == clean or not math.isfinite(scalar(last, "cka_to_clean")):
            continue
        lid = stderr_cell(last, "delta_lid")
        more = f", and their LID changes by {lid}" if math.isfinite(lid.value) else ""
        cosine = stderr_cell(last, "centroid_cosine")
        parts.append(
            f"{under(name)} the features keep a CKA of {stderr_cell(last, 'cka_to_clean')} to clean, "
            f"their class centroids a cosine of {cosine}{more}"
        )
    return _sentence("; ".join(parts))


def _reference(found: dict[str, xr.Dataset], reference: dict[str, str] | None) -> str:
    parts = [
        f"{stderr_cell(last_layer(one), 'reference_cka')} {under(name)}"
        for name, one in found.items()
        if math.isfinite(scalar(last_layer(one), "reference_cka"))
    ]
    if not parts or not reference:
        return ""
    name = reference["name"]
    return f"The features' CKA to those of the reference, {name}, on the same inputs is {listed(parts)}."


def _drift(one: xr.Dataset | None) -> str:
    if one is None:
        return ""
    layers = one["layer_relative"]
    moved = f"The parameters moved from the reference by {100 * scalar(one, 'relative'):.3g} % of its norm"
    if not layers.notnull().any():
        return f"{moved}."
    farthest = layers.isel(layer=int(np.nanargmax(layers.values)))
    return f"{moved}, most in {farthest['layer'].item()} ({100 * float(farthest):.3g} %)."


MEANINGS = {
    ("(A)",): "the parameters lie far from the reference for so few samples of training",
    ("(B)",): "the loss is sharp, most so {sharpest}",
    ("(C)",): "the features of two conditions lie far apart, {farthest}",
    ("(A)", "(B)"): "how far it is from the reference, and how sharp, weighs more than how its features move",
}


def _bound(one: xr.Dataset | None) -> str:
    """Which term of the bound is the largest, and for which n where that is swept."""
    if one is None:
        return ""
    where = {"sharpest": under(text(one, "sharpest") or ""), "farthest": text(one, "farthest")}
    by_leading: dict[tuple[str, ...], list[str]] = {}
    for number in range(one.sizes["trained_on"]):
        at = terms_at(one, number, common_sigma([one], number))
        by_leading.setdefault(at.leading, []).append(_terms(at))
    parts = []
    for leading, found in by_leading.items():
        if not leading:
            parts.append(f"a term is not defined, {listed(found)}")
        else:
            verb = "is" if len(leading) == 1 else "are"
            meaning = MEANINGS.get(leading, "which of them is larger is not told").format(**where)
            parts.append(f"{listed(leading)} {verb} the largest, {listed(found)}: {meaning}")
    unknown = "" if scalar(one, "n_known") else " n, the samples of training, is not known either, and swept."
    return (
        f"Of the bound's terms, at L_f = 1 and the σ where {text(one, 'at_is')}, {'; '.join(parts)}. That is no "
        f"certificate: L_f, λ* and a σ chosen beforehand are not known.{unknown}"
    )


def _terms(at: TermsAt) -> str:
    near, sharp, far = (Cell(float(v), float(e) or None) for v, e in zip(at.values, at.stderr, strict=True))
    return f"at n = {at.n:,} with (A) {near}, (B) {sharp}, (C) {far}"


def under(condition: str) -> str:
    """`on clean inputs`, `under pgd`."""
    return "on clean inputs" if condition == "clean" else f"under {condition}"


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _percent(accuracy: Cell) -> str:
    return str(accuracy).replace(" [", "\u00a0% [", 1)


def _number(value: float, digits: int = 3) -> str:
    """Three significant digits, or fewer."""
    if not math.isfinite(value):
        return "not defined"
    return (
        f"{value:.{digits}g}".replace("-", "−", 1 if value < 0 else 0)
        .replace("e-0", "e-")
        .replace("e+0", "e")
    )


def _times(factor: Cell) -> str:
    """A ratio in words; the error of a ratio of eigenvalues is far below its third digit."""
    if not math.isfinite(factor.value) or factor.value <= 0:
        return "not comparable with clean"
    if factor.value >= 1:
        return f"{factor.value:.3g} times sharper"
    return f"{1 / factor.value:.3g} times flatter"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "." if text else ""
