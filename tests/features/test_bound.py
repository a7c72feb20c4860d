import math
from dataclasses import replace

import numpy as np
import pytest

from geomlab.features.bound import Evidence, best_sigma, sweep

EVIDENCE = Evidence(
    drift=2.0,
    n=100,
    trace=50.0,
    trace_stderr=5.0,
    distances={"ID-OOD": 0.3, "ID-Adv": 0.8},
    distance_stderr={"ID-OOD": 0.3, "ID-Adv": 0.1},
)


def test_the_terms_are_the_formulas() -> None:
    found = sweep(EVIDENCE, [0.1, 0.5], lipschitz=0.5, joint_error=0.05)
    np.testing.assert_allclose(found.proximity, [4 / (200 * 0.01), 4 / (200 * 0.25)])
    np.testing.assert_allclose(found.sharpness, [0.25, 6.25])
    np.testing.assert_allclose(found.sharpness_stderr, [0.025, 0.625])
    np.testing.assert_allclose(found.discrepancy, [0.45, 0.45])
    np.testing.assert_allclose(found.discrepancy_stderr, [0.05, 0.05])
    assert found.pair == "ID-Adv"
    np.testing.assert_allclose(found.total, [2 + 0.25 + 0.45, 0.08 + 6.25 + 0.45])
    np.testing.assert_allclose(found.total_stderr, [math.hypot(0.025, 0.05), math.hypot(0.625, 0.05)])


def test_the_term_that_dominates_goes_from_proximity_to_sharpness() -> None:
    best = best_sigma(EVIDENCE.drift, EVIDENCE.n, EVIDENCE.trace)
    grid = best * np.geomspace(0.2, 5, 201)
    found = sweep(EVIDENCE, grid, lipschitz=0, joint_error=0)
    least = int(np.argmin(found.total))
    assert grid[least] == pytest.approx(best)
    assert found.total[least] == pytest.approx(EVIDENCE.drift * math.sqrt(EVIDENCE.trace / EVIDENCE.n))
    assert found.dominant == ["A"] * 100 + [found.dominant[100]] + ["B"] * 100
    assert not found.decided[98:103].any()  # within the error of the trace, neither leads
    assert found.decided[0]
    assert found.decided[-1]
    high = sweep(EVIDENCE, [best], lipschitz=10, joint_error=0)
    assert high.dominant == ["C"]


def test_a_negative_trace_has_no_best_sigma_and_a_negative_term() -> None:
    found = sweep(replace(EVIDENCE, trace=-50), 0.5, lipschitz=1, joint_error=0)
    assert found.sharpness.tolist() == [-6.25]
    assert found.dominant == ["C"]
    assert math.isnan(best_sigma(2, 100, -50))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n >= 1 and a drift of 0 or more"),
        ({"drift": float("nan")}, "n >= 1 and a drift of 0 or more"),
        ({"trace": float("inf")}, "expected a trace and its error"),
        ({"trace_stderr": float("nan")}, "expected a trace and its error"),
        ({"distances": {"ID-OOD": 1.0}}, "an error of each distance"),
        ({"distances": {}}, "an error of each distance"),
        ({"distances": {"ID-OOD": float("nan"), "ID-Adv": 1.0}}, "distances and errors that are defined"),
    ],
)
def test_evidence_that_no_term_follows_from_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(EVIDENCE, **change)  # type: ignore[arg-type]


def test_constants_are_given_and_not_negative() -> None:
    with pytest.raises(ValueError, match="every σ over 0, got 0"):
        sweep(EVIDENCE, [0.0, 1], lipschitz=1, joint_error=0)
    for lipschitz, joint in ((-1, 0), (1, -1), (float("nan"), 0)):
        with pytest.raises(ValueError, match="L_f and λ\\* of 0 or more"):
            sweep(EVIDENCE, [1.0], lipschitz=lipschitz, joint_error=joint)


def test_without_a_distance_term_c_is_not_defined_and_no_term_leads() -> None:
    found = sweep(replace(EVIDENCE, distances={}, distance_stderr={}), [0.1, 9.0], lipschitz=1, joint_error=0)
    np.testing.assert_allclose(found.sharpness, [0.25, 2025.0])
    assert np.isnan(found.discrepancy).all()
    assert np.isnan(found.discrepancy_stderr).all()
    assert found.pair == ""
    assert found.dominant == ["", ""]
    assert not found.decided.any()
