"""`summary.json`: the numbers of one checkpoint that other programs read."""

import math
from typing import Any

import numpy as np
import xarray as xr

from geomlab.report.cells import cell, cells, count, gather_warnings, scalar, smallest_converged, text, vector
from geomlab.report.feature_tables import CLASSES, DIMENSIONS, SIMILARITIES, TO_CLEAN, WEIGHTS
from geomlab.report.landscape_tables import NUMBERS
from geomlab.results import Results
from geomlab.results.checks import CHECKS
from geomlab.results.features import last_layer
from geomlab.results.overlap import overlaps
from geomlab.results.terms import common_sigma, terms_at
from geomlab.stats import positive_interval, t95

SCHEMA = 1
OUTLIERS = "cka_outliers"  # which has no error
FEATURES = (*TO_CLEAN, *CLASSES, *DIMENSIONS, *WEIGHTS, *(name for name in SIMILARITIES if name != OUTLIERS))
LAST = ("nc3", "nc4", "nc4_low", "nc4_high", "nc4_n", "modality_gap", "modality_gap_change", "modality_shift")
TERMS = ("class_mean_distance", "class_covariance_distance")
REFERENCE = {
    "cka": "reference_cka",
    "gram_drift": "reference_gram_drift",
    "procrustes": "reference_procrustes",
}
GROUPS = ("layers", "per_layer", "per_layer_absolute", "along", "classes")  # whose keys are names
Json = dict[str, Any]
Holes = dict[str, tuple[tuple[str, ...], int]]


def summarise(results: Results, checkpoint: str | None = None) -> Json:
    """The content of `summary.json`.

    Args:
        results: of one or several checkpoints.
        checkpoint: which one; the first by default.

    Returns:
        Plain numbers, text, lists and dicts. Numbers that are not finite are None, and `warnings` names them.
    """
    name = checkpoint or results.checkpoints[0]
    manifest, shared = results.manifests[name], _overlaps(results, name)
    content = {
        "schema": SCHEMA,
        "checkpoint": dict(manifest["checkpoint"]),
        "reference": manifest["reference"] and dict(manifest["reference"]),
        "seed": manifest["settings"]["seed"],
        "settings": dict(manifest["settings"]),
        "command": manifest["command"],
        "versions": dict(manifest["versions"]),
        "conditions": {entry["name"]: _condition(results, name, entry) for entry in manifest["conditions"]},
        "curvature": {
            condition: {**_curvature(one), "overlap": shared.get(condition, {})}
            for condition, one in cells(results, "curvature", name)
        },
        "landscape": {condition: _landscape(one) for condition, one in cells(results, "landscape", name)},
        **_paths(results, name),
        **_sanity(results, name),
        "features": _features(results, name, with_reference=manifest["reference"] is not None),
        "drift": _drift(cell(results, "drift", name, None)),
        **_bound(cell(results, "bound", name, None)),
    }
    clean, holes = _without_holes(content)
    warnings = (
        gather_warnings(results, name) + _unmeasured(results) + [_hole(*hole) for hole in holes.items()]
    )
    return {**clean, "warnings": warnings}


def _condition(results: Results, checkpoint: str, entry: Json) -> Json:
    """n, accuracy and loss of a condition; None where they were not measured."""
    measured = cell(results, "accuracy", checkpoint, entry["name"])
    if measured is None:
        others = (
            cell(results, other, checkpoint, entry["name"])
            for other in ("curvature", "landscape", "features")
        )
        n = next((count(other) for other in others if other is not None), None)
        return {"n": n, "accuracy": None, "loss": None, "sha256": None, **_described(entry)}
    loss, error = scalar(measured, "mean_loss"), scalar(measured, "mean_loss_stderr")
    low, high = positive_interval(loss, error)
    return {
        "n": count(measured),
        "accuracy": scalar(measured, "accuracy"),
        "accuracy_low": scalar(measured, "accuracy_low"),
        "accuracy_high": scalar(measured, "accuracy_high"),
        "loss": loss,
        "loss_stderr": error,
        "loss_low": low,
        "loss_high": high,
        "sha256": text(measured, "inputs_sha256"),
        **_described(entry),
    }


def _described(entry: Json) -> Json:
    return {"spec": entry["spec"], "kind": entry["kind"]}


def _curvature(one: xr.Dataset) -> Json:
    layers = zip(
        map(str, one["layer"].values),
        vector(one, "layer_dim"),
        vector(one, "layer_trace"),
        vector(one, "layer_trace_stderr"),
        vector(one, "layer_kappa"),
        vector(one, "layer_kappa_stderr"),
        strict=True,
    )
    trace, trace_error = scalar(one, "trace"), scalar(one, "trace_stderr")
    norm, norm_error = scalar(one, "frobenius"), scalar(one, "frobenius_stderr")
    t = t95(count(one, "probes") or 0)
    squares = (norm * max(norm - 2 * t * norm_error, 0), norm * (norm + 2 * t * norm_error))
    return {
        "params": text(one, "params"),
        "matrix": text(one, "matrix"),
        "dim": count(one, "dim"),
        "eigenvalues": vector(one, "eigenvalue"),
        "residuals": vector(one, "residual"),
        "eigenvalues_stderr": vector(one, "eigenvalue_stderr"),
        "eigenvalues_low": vector(one, "eigenvalue_low"),
        "eigenvalues_high": vector(one, "eigenvalue_high"),
        "smallest_eigenvalue": scalar(one, "smallest_eigenvalue"),
        "smallest_residual": scalar(one, "smallest_residual"),
        "smallest_status": "converged" if smallest_converged(one) else "not converged",
        "status": text(one, "status"),
        "trace": _with_interval(trace, trace_error, (trace - t * trace_error, trace + t * trace_error)),
        "frobenius": _with_interval(norm, norm_error, (squares[0] ** 0.5, squares[1] ** 0.5)),
        **_spaces_and_data(one),
        "hvps": count(one, "products"),
        "probes": count(one, "probes"),
        "seconds": scalar(one, "seconds"),
        "loss": scalar(one, "loss"),
        "gradient_norm": scalar(one, "gradient_norm"),
        "n": count(one),
        "anisotropy": _anisotropy(one),
        "layers": {
            name: {
                "dim": int(dim),
                "trace": of_layer,
                "stderr": stderr,
                "kappa": kappa,
                "kappa_stderr": error,
                "kappa_low": kappa - t * error,
                "kappa_high": kappa + t * error,
            }
            for name, dim, of_layer, stderr, kappa, error in layers
        },
    }


def _with_interval(value: float, stderr: float, interval: tuple[float, float]) -> Json:
    return {"value": value, "stderr": stderr, "low": interval[0], "high": interval[1]}


def _anisotropy(one: xr.Dataset) -> Json:
    """By quantity; results from before intervals were recorded have standard errors alone."""
    columns = {
        "value": "anisotropy",
        "stderr": "anisotropy_stderr",
        "low": "anisotropy_low",
        "high": "anisotropy_high",
    }
    numbers = {short: vector(one, name) for short, name in columns.items() if name in one}
    return {
        str(name): dict(zip(numbers, row, strict=True))
        for name, row in zip(one["quantity"].values, zip(*numbers.values(), strict=True), strict=True)
    }


def _spaces_and_data(one: xr.Dataset) -> Json:
    """What came with revision 4 of the measurement; without numbers in results from before."""
    if "part_n" not in one:
        return {}
    kinds = zip(
        map(str, one["kind"].values),
        vector(one, "sharpness"),
        vector(one, "sharpness_stderr"),
        vector(one, "sharpness_rho"),
        strict=True,
    )
    parts = zip(
        vector(one, "part_n"),
        vector(one, "part_eigenvalue"),
        vector(one, "part_eigenvalue_stderr"),
        strict=True,
    )
    found: Json = {
        "density": {
            "at": vector(one, "density_at"),
            **{name: vector(one, name) for name in ("density", "density_low", "density_high")},
            **{name: vector(one, name) for name in ("cdf", "cdf_low", "cdf_high")},
            "width": scalar(one, "density_width"),
            "probes": count(one, "density_probes"),
            "steps": count(one, "density_steps"),
        },
        "sharpness": {
            name: {"value": value, "stderr": stderr, "rho": rho} for name, value, stderr, rho in kinds
        },
        "over_samples": [
            {"n": n, "eigenvalue": value, "stderr": stderr} for n, value, stderr in parts if math.isfinite(n)
        ],
        "halves_overlap": scalar(one, "halves_overlap"),
        "gradient_energy": scalar(one, "gradient_energy"),
        "inputs": text(one, "inputs"),
    }
    if math.isfinite(scalar(one, "drift_energy")):
        found["drift_energy"] = scalar(one, "drift_energy")
    if "pyhessian_verdict" in one and isinstance(one["pyhessian_verdict"].values[0], str):
        found["pyhessian"] = {
            "eigenvalues": vector(one, "pyhessian_eigenvalue"),
            "residuals": vector(one, "pyhessian_residual"),
            "matched": vector(one, "pyhessian_matched"),
            "verdicts": [str(verdict) for verdict in one["pyhessian_verdict"].values],
            "products": count(one, "pyhessian_products"),
            "seconds": scalar(one, "pyhessian_seconds"),
        }
    return found


def _overlaps(results: Results, checkpoint: str) -> Json:
    """Condition -> other condition -> what their top eigenspaces share."""
    found: Json = {}
    data = results.data.get("curvature")
    if data is None or checkpoint not in data["checkpoint"].values:
        return found
    for pair in overlaps(data.sel(checkpoint=[checkpoint])):
        entry = {"shared": pair.shared, "cosines": pair.cosines.tolist(), "chance": pair.chance}
        for one, other in (pair.places, pair.places[::-1]):
            found.setdefault(one.condition, {})[other.condition] = entry
    return found


def _landscape(one: xr.Dataset) -> Json:
    return {
        "line": {
            "alpha": vector(one, "step"),
            "loss": vector(one, "line_loss"),
            "loss_stderr": vector(one, "line_loss_stderr"),
            "accuracy": vector(one, "line_accuracy"),
        },
        "plane": {
            "alpha": vector(one, "alpha"),
            "beta": vector(one, "beta"),
            "loss": one["plane_loss"].transpose("alpha", "beta").values.tolist(),
            "accuracy": one["plane_accuracy"].transpose("alpha", "beta").values.tolist(),
            **_of_plane(one),
        },
        "direction": _directions(one),
        **_of_slices(one),
        **_trajectory(one),
        "direction_norm": vector(one, "direction_norm"),
        "relative_norm": vector(one, "relative_norm"),
        "inputs": text(one, "inputs"),
        **_statistics(one),
        "params": text(one, "params"),
        "n": count(one),
    }


def _of_plane(one: xr.Dataset) -> Json:
    """How good a surface is that was interpolated."""
    if text(one, "plane_status") is None:
        return {}
    return {
        "points": count(one, "plane_points"),
        "tolerance": scalar(one, "plane_tolerance"),
        "error": scalar(one, "plane_error"),
        "checked": count(one, "plane_checked"),
        "check_error": scalar(one, "plane_check_error"),
        "status": text(one, "plane_status"),
    }


def _trajectory(one: xr.Dataset) -> Json:
    """Other networks seen on the plane, in order."""
    if "waypoint_step" not in one:
        return {}
    at = {name: one.sel(waypoint=name) for name in one["waypoint"].values}
    waypoints = [
        {
            "name": str(name),
            "steps": vector(there, "waypoint_step"),
            "distance": scalar(there, "waypoint_distance"),
            "off_plane": scalar(there, "waypoint_off_plane"),
        }
        for name, there in at.items()
    ]
    return {"trajectory": waypoints}


def _directions(one: xr.Dataset) -> str | None:
    """What the directions are, one name where both are alike, as in results of before revision 2."""
    if "direction" not in one or not one["direction"].dims:
        return text(one, "direction")
    return "; ".join(dict.fromkeys(map(str, one["direction"].values)))


def _of_slices(one: xr.Dataset) -> Json:
    """What came with revision 2 of the measurement."""
    if "width" not in one:
        return {}
    there = [name for name in NUMBERS if name != "barrier" or math.isfinite(scalar(one, name))]
    checked = bool(np.isfinite(one["curvature_by_hessian"]).any())
    of_curvature = ("low", "high", "error", *(["by_hessian"] if checked else []))
    return {
        "numbers": {
            name: {
                "value": scalar(one, name),
                **{end: scalar(one, f"{name}_{end}") for end in ("low", "high")},
            }
            for name in there
        },
        "rise": scalar(one, "rise"),
        "rho": scalar(one, "rho"),
        "curvature": {
            "value": vector(one, "curvature"),
            **{name: vector(one, f"curvature_{name}") for name in of_curvature},
        },
        "axes_cosine": scalar(one, "axes_cosine"),
    }


def _paths(results: Results, checkpoint: str) -> Json:
    """Paths from the reference, where they were asked for."""
    found = {condition: _along(one) for condition, one in cells(results, "paths", checkpoint)}
    return {"paths": found} if found else {}


def _sanity(results: Results, checkpoint: str) -> Json:
    """Sanity checks of the attacks, where they were made."""
    found = {condition: _checked(one) for condition, one in cells(results, "sanity", checkpoint)}
    return {"sanity": found} if found else {}


def _checked(one: xr.Dataset) -> Json:
    """Verdicts and, where there are any, the numbers behind them; the radius of any image is the last."""
    checks: Json = {
        check: {name: text(one.sel(check=check), name) for name in ("verdict", "said")} for check in CHECKS
    }
    tested = {check: scalar(one.sel(check=check), "p") for check in CHECKS}
    for check, p in tested.items():
        if math.isfinite(p):
            checks[check] |= {"p": p}
    found: Json = {"checks": checks, "norm": text(one, "norm"), "n": count(one)}
    if "multiple" not in one.dims or not count(one):
        return found
    there = one.isel(multiple=np.isfinite(one["eps"].values))
    ends = ("", "_low", "_high")
    controls = {
        str(name): {
            end: scalar(at, f"control_accuracy{suffix}")
            for end, suffix in zip(("value", "low", "high"), ends, strict=True)
        }
        for name in one["control"].values
        for at in (one.sel(control=name),)
        if math.isfinite(scalar(at, "control_accuracy"))
    }
    by_radius = {name: vector(there, name) for name in ("eps", *(f"accuracy{end}" for end in ends))}
    return {**found, **by_radius, "controls": controls}


def _along(one: xr.Dataset) -> Json:
    return {
        "t": vector(one, "t"),
        "along": {str(path): _path(one.sel(path=path)) for path in one["path"].values},
        "distance": scalar(one, "distance"),
        "inputs": text(one, "inputs"),
        **_statistics(one),
        "params": text(one, "params"),
        "n": count(one),
        "n_trained": count(one, "n_trained"),
    }


def _statistics(one: xr.Dataset) -> Json:
    """What became of statistics of batch normalisation, of a network that has them."""
    said = text(one, "batchnorm")
    return {"batchnorm": said} if said else {}


def _path(at: xr.Dataset) -> Json:
    """Of one path; features where they were compared, training where there was any."""

    def number(name: str) -> Json:
        return {
            "value": scalar(at, name),
            **{end: scalar(at, f"{name}_{end}") for end in ("low", "high")},
        }

    features = [name for name in ("cka_to_start", "cka_to_end") if np.isfinite(vector(at, name)).any()]
    found: Json = {name: vector(at, name) for name in ("loss", "loss_stderr", "accuracy")}
    found |= {name: number(name) for name in ("barrier", "accuracy_barrier")}
    found |= {name: scalar(at, name) for name in ("length", "relative_length")}
    found |= {name: vector(at, name) for one in features for name in (one, f"{one}_stderr")}
    steps = count(at, "steps")
    if steps:
        found["training"] = {
            "steps": steps,
            "left_out": count(at, "steps_left_out"),
            "loss_before": scalar(at, "training_loss_before"),
            "loss_after": scalar(at, "training_loss_after"),
            "barrier": number("training_barrier"),
        }
    return found


def _features(results: Results, checkpoint: str, *, with_reference: bool) -> Json:
    found = dict(cells(results, "features", checkpoint))
    features: Json = {}
    for condition, one in found.items():
        measures = {name: name for name in FEATURES if name in one}  # there were fewer once
        extra = {"n": count(one), "paired": bool(one["paired"].item()), "lid_k": count(one, "lid_k")}
        features[condition] = {**_measures(one, measures), **extra}
        for name in (OUTLIERS, "rbf_cka_outliers", "weights_cka_outliers", "reference_cka_outliers"):
            if name in one:
                features[condition][name] = scalar(last_layer(one), name)
        features[condition] |= _of_last(one)
    against = (
        {condition: _measures(one, REFERENCE) for condition, one in found.items()} if with_reference else {}
    )
    return {**features, "reference": against}


def _of_last(one: xr.Dataset) -> Json:
    """What came with revision 3: numbers of the last layer alone, of the classes, and of pairs of layers."""
    found: Json = {
        key: scalar(one, key)
        for name in LAST
        if name in one
        for key in (name, f"{name}_stderr")
        if key in one
    }
    if "class_gram_drift" in one:
        last = last_layer(one)
        found["classes"] = {
            str(number): {
                key: scalar(last.sel({"class": number}), key)
                for name in ("class_cosine", "class_gram_drift", *TERMS)
                for key in (name, f"{name}_stderr")
                if key in last
            }
            for number in one["class"].values
        }
    if "cka_matrix" in one:
        found["cka_matrix"] = one["cka_matrix"].transpose("layer", "clean_layer").values.tolist()
    return found


def _measures(one: xr.Dataset, names: dict[str, str]) -> Json:
    """Measures at the last layer on top, and at every layer under `layers`."""
    layers = {str(layer): _at(one.sel(layer=layer), names) for layer in one["layer"].values}
    last = layers.get("features") or next(reversed(layers.values()))
    return {**last, "layers": layers}


def _at(layer: xr.Dataset, names: dict[str, str]) -> Json:
    return {
        key: value
        for short, name in names.items()
        for key, value in ((short, scalar(layer, name)), (f"{short}_stderr", scalar(layer, f"{name}_stderr")))
    }


def _drift(one: xr.Dataset | None) -> Json:
    """Drift from the reference; without a reference there is none to measure."""
    if one is None:
        return {"relative": None, "absolute": None, "per_layer": {}, "per_layer_absolute": {}}
    layers = [str(layer) for layer in one["layer"].values]
    return {
        "relative": scalar(one, "relative"),
        "absolute": scalar(one, "absolute"),
        "per_layer": dict(zip(layers, vector(one, "layer_relative"), strict=True)),
        "per_layer_absolute": dict(zip(layers, vector(one, "layer_absolute"), strict=True)),
    }


def _bound(one: xr.Dataset | None) -> Json:
    """Terms of the bound, where there is one; those of `at` at L_f = 1 and the σ that `sigma_is` says."""
    if one is None:
        return {}
    names = ("params", "matrix", "sharpest")
    found: Json = {name: text(one, name) for name in names} | {"farthest": text(one, "farthest") or None}
    return {
        "bound": {
            **found,
            **{
                name: scalar(one, name)
                for name in ("drift", "clean_loss", "clean_loss_stderr", "clean_error")
            },
            "traces": _with_errors(one, "risk", "trace"),
            "distances": _with_errors(one, "pair", "distance", paired=bool, classes=int),
            "constants": {
                "joint_error": scalar(one, "joint_error"),
                "lipschitz": vector(one, "lipschitz"),
                "trained_on": [int(n) for n in one["trained_on"].values],
                "trained_on_known": bool(scalar(one, "n_known")),
            },
            "sigma_is": text(one, "at_is"),
            "at": [_terms(one, number) for number in range(one.sizes["trained_on"])],
            "over_sigma": {
                **{name: vector(one, name) for name in ("sigma", "sharpness", "sharpness_stderr")},
                "proximity": one["proximity"].transpose("trained_on", "grid").values.tolist(),
            },
            "over_lipschitz": {name: vector(one, name) for name in ("discrepancy", "discrepancy_stderr")},
        }
    }


def _with_errors(one: xr.Dataset, dim: str, name: str, **more: type) -> Json:
    """Numbers along a dimension by its labels; of `more`, variables `<dim>_<key>`, as that type."""
    return {
        str(label): {
            "value": scalar(at, name),
            "stderr": scalar(at, f"{name}_stderr"),
            **{key: kind(scalar(at, f"{dim}_{key}")) for key, kind in more.items()},
        }
        for label in one[dim].values
        for at in (one.sel({dim: label}),)
    }


def _terms(one: xr.Dataset, number: int) -> Json:
    at = terms_at(one, number, common_sigma([one], number))
    found: Json = {"n": at.n, "sigma": at.sigma, "lipschitz": at.lipschitz}
    for name, value, error in zip(
        ("proximity", "sharpness", "discrepancy"), at.values, at.stderr, strict=True
    ):
        found |= {name: float(value), f"{name}_stderr": float(error)}
    return {**found, "largest": list(at.leading)}


def _unmeasured(results: Results) -> list[str]:
    if "accuracy" in results.data:
        return []
    return ["accuracy was not measured: conditions.*.accuracy, loss and sha256 are null"]


def _without_holes(content: Json) -> tuple[Json, Holes]:
    """The content with None for what is not finite, and where that was: pattern -> (conditions, how many)."""
    holes: Holes = {}

    def walk(node: Any, path: tuple[str, ...]) -> Any:
        if isinstance(node, dict):
            return {key: walk(value, (*path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value, path) for value in node]
        if isinstance(node, float) and not math.isfinite(node):
            pattern, condition = _pattern(path)
            named, number = holes.get(pattern, ((), 0))
            holes[pattern] = (tuple(dict.fromkeys((*named, *condition))), number + 1)
            return None
        return node

    return walk(content, ()), holes


def _pattern(path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A path with its condition as `*`, and its layer too: one warning then speaks for all of them."""
    parts, at = list(path), 2 if path[:2] == ("features", "reference") else 1
    conditions: tuple[str, ...] = ()
    if path[0] in ("conditions", "curvature", "landscape", "paths", "features") and len(parts) > at:
        conditions = (parts[at],)
        parts[at] = "*"
    if parts[-1] in ("value", "stderr", "low", "high") and parts[-2] not in GROUPS:  # of one number
        parts.pop()
    for group in GROUPS:
        if group in parts[:-1]:
            parts[parts.index(group) + 1] = "*"
    return ".".join(parts), conditions


def _hole(pattern: str, found: tuple[tuple[str, ...], int]) -> str:
    conditions, number = found
    where = pattern.replace("*", _braces(conditions), 1) if conditions else pattern
    return f"{where}: {number} number{'s are' if number > 1 else ' is'} not finite, written as null"


def _braces(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
