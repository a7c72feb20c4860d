"""Folders of results as `geomlab analyze` writes them (FORMAT.md), from numbers made up here."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from geomlab.results import CellKey, Results, Store, open_results
from geomlab.stats import GROUPS, jackknife_error, mean_stderr, t95, wilson

CONDITIONS = {
    "clean": "clean",
    "pgd": "adversarial",
    "fgsm": "adversarial",
    "domain:sketch": "domain",
    "corruption:gaussian_noise": "corruption",
}
SHARPNESS = {"clean": 1.0, "pgd": 6.0, "fgsm": 3.5, "domain:sketch": 2.0, "corruption:gaussian_noise": 1.6}
GLYPHS = ["bar", "chevron", "cross", "disc", "fork", "ring", "square", "star", "triangle", "zigzag"]
BLOCKS = "visual.transformer.resblocks"
PARTS = ("attn", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
LAYERS = [
    "visual.conv1",
    "visual.positional_embedding",
    "visual.ln_pre",
    *(f"{BLOCKS}.{i}.{part}" for i in range(6) for part in PARTS),
    "visual.ln_post",
    "visual.proj",
    "head",
]
BLOCK_LAYERS = [f"{BLOCKS}.{i}" for i in range(12)] + ["features"]
MEASUREMENTS = ("accuracy", "curvature", "landscape", "paths", "features", "sanity")
N = 300


def _warnings(*sentences: str) -> str:
    return json.dumps(list(sentences))


def accuracy(condition: str, rng: np.random.Generator, quality: float, n: int = N) -> xr.Dataset:
    """Cell of the measurement `accuracy`; samples share their difficulty, as the same labelled samples do."""
    difficulty = np.random.default_rng(5).normal(size=n)
    margin = 3.2 * quality - 0.7 * SHARPNESS[condition] - difficulty + 0.4 * rng.normal(size=n)
    loss = np.log1p(np.exp(-margin))
    correct = (loss < np.log(2)).astype(np.int64)
    low, high = wilson(int(correct.sum()), n)
    mean, stderr = mean_stderr(loss)
    return xr.Dataset(
        {
            "loss": ("sample", loss),
            "correct": ("sample", correct),
            "label": ("sample", np.arange(n) % 10),
            "accuracy": correct.mean(),
            "accuracy_low": low,
            "accuracy_high": high,
            "mean_loss": mean,
            "mean_loss_stderr": stderr,
            "n": n,
            "inputs_sha256": f"{condition}-digest",
            "samples_sha256": "samples-digest",
            "warnings": _warnings(),
        }
    )


def curvature(condition: str, rng: np.random.Generator, quality: float) -> xr.Dataset:
    """Cell of the measurement `curvature`; under pgd it did not converge."""
    scale = SHARPNESS[condition] / quality
    eigenvalue = 12.3 * scale * 0.78 ** np.arange(10) * (1 + 0.02 * rng.normal(size=10))
    eigenvalue = np.sort(eigenvalue)[::-1]
    residual = 10 ** rng.uniform(-5, -3.2, size=10)
    converged = condition != "pgd"
    if not converged:
        residual[-2:] = [0.05, 0.11]
    dim = np.random.default_rng(11).integers(500, 60000, size=len(LAYERS))  # of one architecture
    depth = np.linspace(0, 1, len(LAYERS))
    kappa = scale * 1e-3 * np.exp(1.5 * np.sin(5 * depth) + 0.5 * rng.normal(size=len(LAYERS)))
    kappa[2] = -2e-4
    error = 0.12 * np.abs(kappa) + 2e-5
    quantities = {
        "lambda1_over_lambdak": (eigenvalue[0] / eigenvalue[-1], 0.01),
        "n_lambda1_over_trace": (212.0 * scale, 4.1),
        "participation_ratio": (41.3, 2.2),
        "layer_gini": (0.61, 0.02),
        "layer_cv": (1.9, 0.1),
        "effective_rank": (2130.0, 410.0),
        "absolute_participation_ratio": (78.0, 9.0),
        "cross_layer_share": (0.66, 0.01),
    }
    values, errors = zip(*quantities.values(), strict=True)
    return xr.Dataset(
        {
            "eigenvalue": ("eigen", eigenvalue),
            "residual": ("eigen", residual),
            "smallest_eigenvalue": -0.8 * scale,
            "smallest_residual": 0.002 if converged else 0.2,
            "smallest_converged": int(converged),
            "converged": ("eigen", (residual < 0.01).astype(np.int8)),
            "status": "converged" if converged else "2 of 10 eigenvalues above the tolerance of 0.01",
            "trace": 61.0 * scale,
            "trace_stderr": 1.7 * scale,
            "frobenius": 24.0 * scale,
            "frobenius_stderr": 0.9 * scale,
            "layer_dim": ("layer", dim),
            "layer_trace": ("layer", kappa * dim),
            "layer_trace_stderr": ("layer", error * dim),
            "layer_kappa": ("layer", kappa),
            "layer_kappa_stderr": ("layer", error),
            "anisotropy": ("quantity", np.array(values)),
            "anisotropy_stderr": ("quantity", np.array(errors)),
            "anisotropy_low": ("quantity", np.array(values) - 2 * np.array(errors)),
            "anisotropy_high": ("quantity", np.array(values) + 2 * np.array(errors)),
            "loss": 0.15 * scale,
            "gradient_norm": 0.02 * scale,
            **density(eigenvalue, scale, int(dim.sum())),
            **over_data(eigenvalue, condition, rng),
            "sharpness": ("kind", scale * np.array([3e-3, 2.1e-2, 8e-3, 2e-6])),
            "sharpness_stderr": ("kind", scale * np.array([2e-4, 1e-3, 9e-4, 3e-7])),
            "sharpness_rho": ("kind", np.array([0.05, 0.5, 0.05, 0.05])),
            "sharpness_m": 16,
            "gradient_energy": 0.31,
            "drift_energy": 0.02,
            "matrix": "hessian",
            "params": "visual",
            "dim": int(dim.sum()),
            "probes": 30,
            "products": 118,
            "seconds": 12.5,
            "n": N,
            "inputs": "held fixed",
            "warnings": _warnings() if converged else _warnings("2 of 10 eigenvalues did not converge"),
        },
        coords={
            "layer": LAYERS,
            "quantity": list(quantities),
            "part": [1, 2, 4, 8],
            "kind": ["sam", "asam", "m_sharpness", "average_case"],
        },
    )


def density(eigenvalue: np.ndarray, scale: float, dim: int) -> dict[str, object]:
    """A narrow bulk about zero, sure up to 2 %, a tail that is a guess, and the known eigenvalues, which are exact."""
    steps, probes = 30, 10
    nodes = scale * np.linspace(-0.8, 1.3, steps)
    weights = np.exp(-np.abs(nodes) / (0.06 * scale))
    weights *= (1 - len(eigenvalue) / dim) / weights.sum()
    width = float(np.ptp(nodes)) / steps
    inner = np.linspace(nodes[0] - 2 * width, nodes[-1] + 2 * width, 200)
    at = np.sort(np.append(np.linspace(nodes[0] - 4 * width, eigenvalue[0] + 4 * width, 201), inner))
    exact = np.full(len(eigenvalue), 1 / dim)
    error = np.append(0.02 * weights + 0.5 * np.sqrt(weights / dim), 0 * exact)
    values = {}
    for name, kernel in (("density", lambda x: norm.pdf(x) / width), ("cdf", norm.cdf)):
        each = kernel((at[:, None] - np.append(nodes, eigenvalue)) / width)
        value, half = each @ np.append(weights, exact), each @ error
        high = value + half if name == "density" else np.minimum(value + half, 1)
        values |= {name: value, f"{name}_low": np.maximum(value - half, 0), f"{name}_high": high}
    curves = {name: ("point", value) for name, value in {"density_at": at, **values}.items()}
    return {**curves, "density_width": width, "density_probes": probes, "density_steps": steps}


def over_data(eigenvalue: np.ndarray, condition: str, rng: np.random.Generator) -> dict[str, object]:
    """Fewer samples have a larger λmax; the top eigenspaces are less alike the sharper the condition."""
    parts, k = np.array([1, 2, 4, 8]), len(eigenvalue)
    stderr = 0.09 * eigenvalue * (1 + 0.2 * rng.random(k))
    shared = np.random.default_rng(3).normal(size=(64, k))
    own = 0.25 * SHARPNESS[condition] * rng.normal(size=(64, k))
    return {
        "eigenvalue_stderr": ("eigen", stderr),
        "eigenvalue_low": ("eigen", eigenvalue - 2.09 * stderr),
        "eigenvalue_high": ("eigen", eigenvalue + 2.09 * stderr),
        "part_n": ("part", N / parts),
        "part_converged": ("part", np.ones(4, dtype=np.int8)),
        "part_eigenvalue": ("part", eigenvalue[0] * (1 + 0.05 * np.log2(parts))),
        "part_eigenvalue_stderr": ("part", stderr[0] * (1 + 0.3 * np.log2(parts))),
        "halves_overlap": 0.9 / (1 + 0.1 * SHARPNESS[condition]),
        "eigenvector_sketch": (("place", "eigen"), np.linalg.qr(shared + own)[0]),
    }


def _with_ends(name: str, variable: tuple[Any, Any]) -> dict[str, tuple[Any, Any]]:
    """A variable, the ends of its interval, and its values without each of the groups, whose noise all share."""
    dims, value = variable
    noise = np.random.default_rng(7).normal(size=GROUPS)
    noise *= 0.1 / (t95(GROUPS) * jackknife_error(noise))
    left_out = np.multiply.outer(value, 1 + noise)
    return {
        name: (dims, value),
        f"{name}_low": (dims, 0.9 * value),
        f"{name}_high": (dims, 1.1 * value),
        f"{name}_left_out": ((*([dims] if isinstance(dims, str) else dims), "group"), left_out),
    }


def landscape(condition: str, rng: np.random.Generator, quality: float) -> xr.Dataset:
    """Cell of the measurement `landscape`; one corner of the plane of pgd overflowed."""
    step, side = np.linspace(-1, 1, 41), np.linspace(-1, 1, 17)
    scale = SHARPNESS[condition] / quality
    bowl = lambda a, b: 0.1 * scale + scale * (1.5 * a**2 + 0.5 * b**2 + 0.4 * a * b) * np.exp(0.5 * a)  # noqa: E731
    line = bowl(step, 0.0)
    plane = bowl(*np.meshgrid(side, side, indexing="ij"))
    overflow = ["6 points of the plane have no finite loss"] if condition == "pgd" else []
    if overflow:
        plane[:3, :2] = np.nan
    return xr.Dataset(
        {
            "line_loss": ("step", line),
            "line_loss_stderr": ("step", 0.05 * np.sqrt(line)),
            "line_accuracy": ("step", np.round(np.exp(-line) * N) / N),
            "plane_loss": (("alpha", "beta"), plane),
            "plane_loss_stderr": (("alpha", "beta"), 0.05 * np.sqrt(plane)),
            "plane_accuracy": (("alpha", "beta"), np.exp(-plane)),
            "direction_norm": ("axis", [3.1, 3.05]),
            "relative_norm": ("axis", [0.98, 0.981]),
            "direction": ("axis", ["random, filter-normalised", "gradient on clean inputs"]),
            "axes_cosine": 0.01,
            "waypoint_step": (("waypoint", "axis"), [[0.9, -0.6], [0.5, 0.2], [2.0, 0.0]]),
            "waypoint_distance": ("waypoint", [4.0, 2.0, 9.0]),
            "waypoint_off_plane": ("waypoint", [2.0, 1e-9, 0.05]),
            **_with_ends("curvature", ("axis", scale * np.array([3.0, 1.0]) / 9.5)),
            "curvature_error": ("axis", [1e-5, 2e-5]),
            "curvature_by_hessian": ("axis", scale * np.array([3.0, 1.0]) / 9.5 + 1e-5),
            **_with_ends("width", ((), 2.4 / scale)),
            **_with_ends("asymmetry", ((), 0.2)),
            **_with_ends("sharpness", ((), 0.4 * scale)),
            **_with_ends("roughness", ((), 0.0)),
            **_with_ends("area", ((), 3.0 / scale)),
            **_with_ends("barrier", ((), np.nan)),
            "rise": 0.1,
            "rho": 1.55,
            "params": "visual",
            "inputs": "held fixed",
            "n": N,
            "samples_sha256": "samples-digest",
            "warnings": _warnings(*overflow),
        },
        coords={
            "step": step,
            "alpha": side,
            "beta": side,
            "axis": [0, 1],
            "waypoint": ["start", "half", "far"],
        },
    )


def paths(condition: str, rng: np.random.Generator, quality: float) -> xr.Dataset:
    """Cell of the measurement `paths`: a line over a hill, and a curve around it with CKA."""
    names, t = ["linear", "bezier:steps=200"], np.linspace(0, 1, 21)
    scale = SHARPNESS[condition] / quality
    ends, hill = 0.3 * scale * (1 + t), 2 * scale * t * (1 - t)
    loss = np.stack([ends + 4 * hill, ends + 0.2 * hill])
    none = np.full(len(t), np.nan)
    return xr.Dataset(
        {
            "loss": (("path", "t"), loss),
            "loss_stderr": (("path", "t"), 0.05 * np.sqrt(loss)),
            "accuracy": (("path", "t"), np.exp(-loss)),
            **_with_ends("barrier", ("path", scale * np.array([2.0, 0.1]))),
            **_with_ends("accuracy_barrier", ("path", np.array([0.3, 0.02]))),
            "cka_to_start": (("path", "t"), np.stack([none, 1 - 0.1 * scale * t])),
            "cka_to_start_stderr": (("path", "t"), np.stack([none, 0.02 * t])),
            "cka_to_end": (("path", "t"), np.stack([none, 1 - 0.1 * scale * (1 - t)])),
            "cka_to_end_stderr": (("path", "t"), np.stack([none, 0.02 * (1 - t)])),
            "length": ("path", [4.2, 5.0]),
            "relative_length": ("path", [1.0, 5.0 / 4.2]),
            "steps": ("path", [0, 200]),
            "steps_left_out": ("path", [np.nan, 3.0]),
            "training_loss_before": ("path", [np.nan, 1.4]),
            "training_loss_after": ("path", [np.nan, 0.4]),
            **_with_ends("training_barrier", ("path", np.array([np.nan, 0.05]))),
            "distance": 4.2,
            "params": "visual",
            "inputs": "inputs realised at t = 1 and held fixed",
            "n": N // 2,
            "n_trained": N // 2,
            "warnings": _warnings(),
        },
        coords={"path": names, "t": t},
    )


def features(
    condition: str, rng: np.random.Generator, quality: float, *, reference: bool = True
) -> xr.Dataset:
    """Cell of the measurement `features`; the Gram volume is degenerate in the last layer."""
    shift, layers = SHARPNESS[condition] - 1, len(BLOCK_LAYERS)
    depth = np.linspace(0.05, 1, layers)
    cka = np.exp(-0.15 * shift * depth / quality)
    volume = 0.02 + 0.1 * shift * depth
    volume[-1] = np.nan
    measures = {
        "cka_to_clean": (cka, 0.02 * (1 - cka)),
        "gram_drift": (1.4 * (1 - cka), 0.03 * (1 - cka)),
        "centroid_cosine": (1 - 0.5 * (1 - cka), 0.01 * (1 - cka)),
        "lid": (9 + 5 * depth + shift * depth, np.full(layers, 0.3)),
        "delta_lid": (shift * depth + 0.05 * rng.normal(size=layers) * shift, np.full(layers, 0.2)),
        "gram_volume": (volume, np.full(layers, 0.004)),
        "rbf_cka_to_clean": (0.95 * cka, 0.03 * (1 - cka)),
        "angular_to_clean": (np.arccos(cka), 0.02 * (1 - cka)),
        "rsa_to_clean": (cka**2, 0.03 * (1 - cka)),
        "knn_to_clean": (0.1 + 0.9 * cka**3, 0.02 * (1 - cka)),
        "svcca_to_clean": (cka**1.5, 0.02 * (1 - cka)),
        "pwcca_to_clean": (0.5 + 0.5 * cka, 0.02 * (1 - cka)),
        "alignment_to_clean": (2 * (1 - cka), 0.05 * (1 - cka)),
        "input_shift": (0.6 * shift * depth, np.full(layers, 0.01)),
        "weight_shift": (0.4 * depth, np.full(layers, 0.006)),
        "discrepancy": (0.8 * shift * depth, np.full(layers, 0.03)),
        "class_separation": (0.1 + 0.7 * depth * cka, np.full(layers, 0.015)),
        "nc1": (4 - 3.5 * depth * cka, np.full(layers, 0.1)),
        "nc2_norms": (0.3 - 0.2 * depth * cka, np.full(layers, 0.01)),
        "nc2_angles": (0.25 - 0.1 * depth * cka, np.full(layers, 0.01)),
        "nc2_simplex": (0.2 - 0.1 * depth * cka, np.full(layers, 0.01)),
        "two_nn": (10 + 4 * depth, np.full(layers, 0.8)),
        "participation_ratio": (12 - 4 * depth, np.full(layers, 0.2)),
        "effective_rank": (18 - 6 * depth, np.full(layers, 0.3)),
        "uniformity": (-1 - 1.5 * depth, np.full(layers, 0.03)),
        "weights_cka": (1 - 0.2 * depth, 0.02 * depth),
        "weights_gram_drift": (0.3 * depth, 0.03 * depth),
        "weights_angular": (0.5 * depth, 0.03 * depth),
        "weights_knn": (1 - 0.4 * depth, 0.02 * depth),
        "weights_centroid_cosine": (1 - 0.1 * depth, 0.01 * depth),
        "weights_delta_lid": (0.6 * depth, np.full(layers, 0.1)),
    }
    if reference:
        measures |= {
            "reference_cka": (1 - 0.3 * depth * cka, np.full(layers, 0.01)),
            "reference_gram_drift": (0.4 * depth, np.full(layers, 0.012)),
            "reference_procrustes": (0.35 * depth**2, np.full(layers, 0.008)),
        }
    data = {name: ("layer", value) for name, (value, _) in measures.items()}
    data |= {f"{name}_stderr": ("layer", error) for name, (_, error) in measures.items()}
    turned = cka[:, None] - 0.02 * np.arange(10) * shift
    data |= {"class_cosine": (("layer", "class"), turned), "cka_outliers": ("layer", -0.02 * (1 - cka))}
    data["class_cosine_stderr"] = (("layer", "class"), np.full(turned.shape, 0.01))
    data["class_gram_drift"] = (("layer", "class"), 1.2 * (1 - turned))
    data["class_gram_drift_stderr"] = (("layer", "class"), np.full(turned.shape, 0.02))
    falling = 1.0 / np.arange(1, 65) ** (1 + 0.3 * shift)
    share = np.broadcast_to(falling / falling.sum(), (layers, 64))
    data["variance_share"] = (("layer", "principal"), share)
    data["variance_share_stderr"] = (("layer", "principal"), 0.05 * share)
    data |= cka_matrices(cka, paired=not condition.startswith("domain"), reference=reference)
    data |= projected(shift, rng, quality)
    degenerate = _warnings("the Gram volume of features is degenerate")
    scalars = {"n": N, "paired": True, "lid_k": 20, "warnings": degenerate}
    compared = {"clean_layer": BLOCK_LAYERS} | ({"reference_layer": BLOCK_LAYERS} if reference else {})
    names = {"class_name": ("class", GLYPHS)}
    return xr.Dataset(
        data | scalars, coords={"layer": BLOCK_LAYERS, "class": np.arange(10), **compared, **names}
    )


def cka_matrices(cka: np.ndarray, *, paired: bool, reference: bool) -> dict[str, tuple[Any, Any]]:
    """CKA of all layers, less the further they are apart; with the clean ones NaN where inputs have no clean twin."""
    apart = np.abs(np.subtract.outer(np.arange(len(cka)), np.arange(len(cka))))
    value = np.exp(-0.2 * apart) * cka[:, None]
    to_clean = value if paired else np.full(value.shape, np.nan)
    found = {"cka_matrix": (("layer", "clean_layer"), to_clean)}
    if reference:
        found["reference_cka_matrix"] = (("layer", "reference_layer"), 0.9 * value)
    return found | {f"{name}_stderr": (dims, 0.02 * value) for name, (dims, value) in found.items()}


def projected(shift: float, rng: np.random.Generator, quality: float) -> dict[str, tuple[Any, Any]]:
    """Features of ten classes in projections, drawn together by a shift, which ten samples were lost to."""
    n = N - 10 if shift else N
    label = np.arange(n) % 10
    clean = np.random.default_rng(2).normal(size=(10, 3)) * [4, 2.5, 1.5]
    here = clean * (1 - 0.1 * shift) + 0.1 * shift * rng.normal(size=(10, 3))
    points = here[label] + 0.5 * rng.normal(size=(n, 3))
    volume = 0.1 * shift * rng.lognormal(sigma=0.6, size=n)
    return {
        "sample_label": ("sample", label),
        "sample_gram_volume": ("sample", volume),
        "projection": (("sample", "component"), points),
        "projection_variance": ("component", np.array([0.5, 0.2, 0.1]) / quality),
        "class_projection": (("class", "component"), here),
        "clean_class_projection": (("class", "component"), clean),
        "umap": (("sample", "umap_axis"), np.tanh(points[:, :2] / 3)),
    }


def drift(rng: np.random.Generator) -> xr.Dataset:
    """Cell of the measurement `drift`."""
    relative = 0.02 + 0.15 * rng.random(len(LAYERS))
    return xr.Dataset(
        {
            "relative": 0.093,
            "absolute": 4.2,
            "layer_relative": ("layer", relative),
            "layer_absolute": ("layer", 3 * relative),
            "warnings": _warnings(),
        },
        coords={"layer": LAYERS},
    )


def bound(
    conditions: Sequence[str], quality: float, *, trained_on: Sequence[int] = (1000,), known: bool = True
) -> xr.Dataset:
    """Cell of the measurement `bound`: sharpest under pgd, which is farthest from the others too."""
    drift, sharp = 4.2, np.array([61 * SHARPNESS[c] / quality for c in conditions])
    pairs = list(combinations(conditions, 2))
    apart = np.array([abs(SHARPNESS[a] - SHARPNESS[b]) / quality for a, b in pairs])
    sizes, lipschitz = np.array(trained_on), 10.0 ** np.arange(-2, 3)
    best = np.sqrt(drift / np.sqrt(sizes * sharp.max()))
    half = 24
    sigma = np.exp(np.log(best).mean()) * 10 ** (np.arange(-half, half + 1) / 8)
    farthest = float(apart.max()) if pairs else np.nan
    return xr.Dataset(
        {
            "sigma": ("grid", sigma),
            "proximity": (("trained_on", "grid"), drift**2 / (2 * sizes[:, None] * sigma**2)),
            "sharpness": ("grid", sigma**2 / 2 * sharp.max()),
            "sharpness_stderr": ("grid", sigma**2 / 2 * 0.03 * sharp.max()),
            "discrepancy": ("lipschitz", lipschitz * farthest),
            "discrepancy_stderr": ("lipschitz", 0.05 * lipschitz * farthest),
            "sigma_best": ("trained_on", best),
            "at": ("trained_on", [int(np.abs(np.log(sigma / one)).argmin()) for one in best]),
            "at_is": "(A) + (B) is least",
            "drift": drift,
            "trace": ("risk", sharp),
            "trace_stderr": ("risk", 0.03 * sharp),
            "sharpest": conditions[int(sharp.argmax())],
            "distance": ("pair", apart),
            "distance_stderr": ("pair", 0.05 * apart),
            "pair_paired": ("pair", np.ones(len(pairs), dtype=np.int8)),
            "pair_classes": ("pair", np.full(len(pairs), 10)),
            "farthest": " – ".join(pairs[int(apart.argmax())]) if pairs else "",
            "clean_loss": 0.15,
            "clean_loss_stderr": 0.01,
            "clean_error": 0.05,
            "joint_error": 0.0,
            "n_known": int(known),
            "params": "visual",
            "matrix": "hessian",
            "warnings": _warnings(),
        },
        coords={
            "trained_on": sizes,
            "lipschitz": lipschitz,
            "risk": list(conditions),
            "pair": [" – ".join(pair) for pair in pairs],
        },
    )


def sanity(condition: str, rng: np.random.Generator, quality: float) -> xr.Dataset:
    """Cell of the measurement `sanity`; of pgd all hold, of fgsm the black box is stronger, noise hardly weaker."""
    n, multiples = 100, [0, 0.5, 1, 2, 4, np.inf]
    shares = [0.97, 0.6, 0.3, 0.05, 0, 0] if condition == "pgd" else [0.97, 0.95, 0.9, 0.8, 0.6, 0.1]
    controls = [0.95, 0.93, 0.34, 0.29, 0.7] if condition == "pgd" else [0.93, 0.92, np.nan, 0.88, 0.5]
    names = ["uniform noise", "corner noise", "fewer steps", "more steps", "square"]
    right = np.arange(n) < n * np.array(shares)[:, None]
    at = [wilson(int(one.sum()), n) for one in right]
    of_controls = [wilson(round(n * x), n) if np.isfinite(x) else (np.nan, np.nan) for x in controls]
    words = ["holds"] * 4 if condition == "pgd" else ["fails", "undecided", "not tested", "fails"]
    return xr.Dataset(
        {
            "eps": ("multiple", [0, *(np.array([0.5, 1, 2, 4]) * 4 / 255), 1]),
            "accuracy": ("multiple", shares),
            "accuracy_low": ("multiple", [low for low, _ in at]),
            "accuracy_high": ("multiple", [high for _, high in at]),
            "control_accuracy": ("control", controls),
            "control_accuracy_low": ("control", [low for low, _ in of_controls]),
            "control_accuracy_high": ("control", [high for _, high in of_controls]),
            "correct": (("multiple", "sample"), right.astype(np.int8)),
            "row": ("sample", 3 * np.arange(n)),
            "verdict": ("check", words),
            "said": (
                "check",
                ["2 of 100 are right where any image is allowed", "noise …", "steps …", "square …"],
            ),
            "p": ("check", [1.0, 0.7, 1.0 if condition == "pgd" else np.nan, 1e-9]),
            "norm": "linf",
            "n": n,
            "warnings": _warnings(
                *(["fails: a black-box attack is not stronger"] if "fails" in words else [])
            ),
        },
        coords={
            "multiple": multiples,
            "control": names,
            "check": ["falls", "noise", "steps", "black_box"],
            "sample": np.arange(n),
        },
    )


MAKERS = {
    "accuracy": accuracy,
    "curvature": curvature,
    "landscape": landscape,
    "paths": paths,
    "features": features,
    "sanity": sanity,
}


def write_folder(
    folder: Path,
    name: str = "grace-s0",
    *,
    conditions: Sequence[str] = tuple(CONDITIONS),
    measurements: Sequence[str] = MEASUREMENTS,
    reference: bool = True,
    quality: float = 1.0,
    without: Sequence[tuple[str, str | None]] = (),
    layers: int | None = None,
) -> Path:
    """Write one checkpoint's folder.

    Args:
        folder: where to.
        name: of the checkpoint.
        conditions: names of the conditions.
        measurements: names of the measurements; with a reference `drift` comes on top, and `bound` where it would.
        reference: whether there is one.
        quality: of the made-up network; a larger one is flatter and more accurate.
        without: (measurement, condition) of planned cells that an interrupted run has not written.
        layers: how many layers to keep, counted from the last; names are what takes time to draw.
    """
    store, cells = Store(folder), []
    rng = np.random.default_rng(len(name))
    plan = [
        (m, c) for c in conditions for m in measurements if m != "sanity" or CONDITIONS[c] == "adversarial"
    ]
    plan += [("drift", None)] if reference else []
    plan += [("bound", None)] if reference and {"curvature", "features"} <= set(measurements) else []
    for measurement, condition in plan:
        spec = None if condition is None else {"spec": condition, "source": "glyphs", "n": N, "seed": 0}
        key = CellKey(measurement, {}, "d" * 64, "r" * 64 if reference else None, spec, 0, "float32", "cpu")
        cells.append({"file": key.file, "measurement": measurement, "condition": condition})
        if (measurement, condition) in without:
            continue
        if measurement == "bound":
            dataset = bound(conditions, quality)
        elif condition is None:
            dataset = drift(rng)
        elif measurement == "features":
            dataset = features(condition, rng, quality, reference=reference)
        else:
            dataset = MAKERS[measurement](condition, rng, quality)
        if layers is not None:
            along = [dim for dim in dataset.dims if str(dim).endswith("layer")]
            dataset = dataset.isel(dict.fromkeys(along, slice(-layers, None)))
        store.write(key, dataset)
    store.write_manifest(_manifest(name, conditions, cells, reference=reference))
    return folder


def _manifest(name: str, conditions: Sequence[str], cells: list[dict], *, reference: bool) -> dict:
    start = {"name": "zero-shot", "path": "zero.pt", "sha256": "0" * 64, "digest": "r" * 64}
    return {
        "command": f"geomlab analyze {name}.pt --condition clean --condition pgd",
        "checkpoint": {
            "name": name,
            "path": f"runs/{name}.pt",
            "sha256": "a" * 64,
            "digest": "d" * 64,
            "architecture": "open_clip:ViT-B-32",
        },
        "reference": {**start, "architecture": "open_clip:ViT-B-32"} if reference else None,
        "settings": {
            "params": "visual",
            "budget": "quick",
            "samples": N,
            "batch_size": 100,
            "seed": 0,
            "device": "cpu",
            "dtype": "float32",
            "data": "glyphs",
        },
        "versions": {"python": "3.11.7", "geomlab": "0.1.0", "torch": "2.13.0"},
        "machine": {"system": "Linux", "processor": "x86_64", "cpus": 2},
        "conditions": [{"name": c, "spec": c, "kind": CONDITIONS[c]} for c in conditions],
        "measurements": [
            {"name": m, "parameters": {}} for m in dict.fromkeys(cell["measurement"] for cell in cells)
        ],
        "cells": cells,
    }


@pytest.fixture(scope="session")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint, five conditions, all measurements."""
    return write_folder(tmp_path_factory.mktemp("one") / "out")


@pytest.fixture(scope="session")
def two_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints; the second is flatter."""
    root = tmp_path_factory.mktemp("two")
    conditions = ("clean", "pgd", "domain:sketch")
    write_folder(root / "ft-s0", "ft-s0", conditions=conditions, layers=8)
    write_folder(root / "grace-s0", "grace-s0", conditions=conditions, quality=1.15, layers=8)
    return root


@pytest.fixture(scope="session")
def one(one_folder: Path) -> Results:
    """The results in `one_folder`."""
    return open_results(one_folder)


@pytest.fixture(scope="session")
def two(two_folder: Path) -> Results:
    """The results in `two_folder`."""
    return open_results(two_folder)
