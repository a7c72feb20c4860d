"""Surfaces that are known: the stated error covers the true one, and what cannot be reached is said."""

from collections.abc import Callable

import numpy as np
import pytest

from geomlab.landscape import adaptive
from geomlab.landscape.adaptive import SIDE, Refined, Round, first_rounds, place, refine
from geomlab.landscape.interpolation import losses_between

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]
POSITIONS = (np.linspace(0, 1, SIDE + 1), np.linspace(0, 1, SIDE + 1))
PLACES = np.random.default_rng(7).random((2000, 2))
SMOOTH: dict[str, Function] = {
    "flat": lambda x, y: np.full(x.shape, 2.0),
    "waves": lambda x, y: 2 + np.sin(5 * x) * np.cos(4 * y),
    "basin": lambda x, y: np.log(np.exp(40 * (x - 0.4) ** 2) + np.exp(9 * (y - 0.6) ** 2 + x)),
    "valley": lambda x, y: np.logaddexp(12 * (y - 0.3 - 0.6 * x**2), -12 * (y - 0.3 - 0.6 * x**2)),
    "steep": lambda x, y: np.exp(6 * x + 2 * y),
}


def measured(
    functions: dict[str, Function], tolerance: float, most: int = 900
) -> tuple[Refined, dict[str, np.ndarray]]:
    losses: dict[str, list[np.ndarray]] = {name: [] for name in functions}

    def measure(wanted: Round) -> tuple[Round, dict[str, np.ndarray]]:
        found = {name: of(*place(wanted.points, POSITIONS).T) for name, of in functions.items()}
        for name, values in found.items():
            losses[name].append(values)
        return wanted, {name: values[:, None] for name, values in found.items()}

    refined = refine(measure, POSITIONS, tolerance, most)
    return refined, {name: np.concatenate(values) for name, values in losses.items()}


def through(refined: Refined, losses: np.ndarray, places: np.ndarray) -> np.ndarray:
    points = place(refined.points, POSITIONS)
    return losses_between(points, places, losses[:, None], np.isfinite(losses))[:, 0]


def errors(refined: Refined, losses: np.ndarray, function: Function) -> np.ndarray:
    truth = function(*PLACES.T)
    surface = through(refined, losses, PLACES)
    with np.errstate(invalid="ignore"):
        return np.abs(surface - truth) / np.maximum(1, np.abs(truth))


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
@pytest.mark.parametrize("name", list(SMOOTH))
def test_the_stated_error_covers_the_true_one(name: str, tolerance: float) -> None:
    refined, losses = measured({"x": SMOOTH[name]}, tolerance)
    verdict = refined.verdicts["x"]
    assert verdict.reached
    assert errors(refined, losses["x"], SMOOTH[name]).max() <= verdict.error + 1e-9
    assert verdict.error <= tolerance
    assert verdict.check_error <= verdict.error
    assert verdict.checked >= 16


def test_a_smooth_surface_takes_a_fifth_of_the_points_of_a_grid_at_its_error() -> None:
    along = np.linspace(0, 1, 51)
    x, y = PLACES.T
    for name in ("waves", "basin", "valley"):
        grid = SMOOTH[name](*np.meshgrid(along, along, indexing="ij"))
        i, j = (np.minimum((50 * one).astype(int), 49) for one in (x, y))
        a, b = 50 * x - i, 50 * y - j
        linear = (1 - a) * ((1 - b) * grid[i, j] + b * grid[i, j + 1]) + a * (
            (1 - b) * grid[i + 1, j] + b * grid[i + 1, j + 1]
        )
        truth = SMOOTH[name](x, y)
        off = np.abs(linear - truth) / np.maximum(1, np.abs(truth))
        refined, losses = measured({"x": SMOOTH[name]}, max(float(off.max()), 1e-3), 520)
        ours = errors(refined, losses["x"], SMOOTH[name])
        assert len(refined.points) <= 2601 / 5
        assert ours.max() <= off.max()


def test_points_go_where_the_surface_needs_them() -> None:
    refined, _ = measured({"x": lambda x, y: 1.2 + np.tanh(30 * (x - 0.7))}, 0.02)
    beside = np.abs(refined.points[:, 0] / SIDE - 0.7) < 0.15
    assert beside.mean() > 0.6


def test_a_ridge_is_found_and_a_kink_is_known_nearly_as_well_as_is_said() -> None:
    """A single kink is the hardest: neighbours of a point that is off are not. In the mean the error is far below."""
    refined, losses = measured({"x": lambda x, y: 1 + 3 * np.abs(x + 0.37 * y - 0.61)}, 0.05)
    off = errors(refined, losses["x"], lambda x, y: 1 + 3 * np.abs(x + 0.37 * y - 0.61))
    assert refined.verdicts["x"].reached
    assert np.quantile(off, 0.99) <= refined.verdicts["x"].error
    assert off.max() <= 2 * 0.05


def test_what_is_not_reached_is_said_and_the_points_are_kept_to() -> None:
    refined, _ = measured({"x": lambda x, y: 1 + np.exp(-(((x - 0.52) / 0.02) ** 2))}, 0.01, 200)
    verdict = refined.verdicts["x"]
    assert len(refined.points) == 200
    assert not verdict.reached
    assert verdict.error > 0.01


def test_what_repeats_with_the_lattice_is_seen() -> None:
    """It is 1 at all of the first points and at the middles beside them."""
    waves = lambda x, y: 1 + 0.1 * np.sin(16 * np.pi * x) ** 2  # noqa: E731
    refined, losses = measured({"x": waves}, 0.02, 600)
    assert not refined.verdicts["x"].reached
    assert refined.verdicts["x"].error > errors(refined, losses["x"], waves).max() > 0.02


def test_a_surface_of_noise_ends_at_the_finest_lattice() -> None:
    refined, _ = measured({"x": lambda x, y: 2 + np.sin(1e6 * x + 3e6 * y)}, 0.01, 10**6)
    assert len(refined.points) == (SIDE + 1) ** 2
    assert not refined.verdicts["x"].reached
    assert refined.verdicts["x"].error > 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so_and_nothing_is_refined_for_it(bad: float) -> None:
    function = lambda x, y: np.where(x + y > 1.4, bad, 1 + 10 * x * y**2)  # noqa: E731
    refined, losses = measured({"x": function}, 0.02)
    assert refined.verdicts["x"].reached
    assert len(refined.points) < 250
    off = errors(refined, losses["x"], function)
    inside = PLACES.sum(1) < 1.2
    assert off[inside].max() <= 0.02
    everywhere, _ = measured({"x": lambda x, y: np.full(x.shape, bad)}, 0.02)
    assert len(everywhere.points) < 120


def test_a_small_finite_part_is_tried_there_or_not_called_good() -> None:
    waves = lambda x, y: np.where(np.hypot(x - 0.5, y - 0.5) < 0.15, 2 + np.sin(40 * x) / 2, np.nan)  # noqa: E731
    refined, losses = measured({"x": waves}, 0.02)
    verdict = refined.verdicts["x"]
    off = errors(refined, losses["x"], waves)
    assert verdict.checked >= 8
    assert off[np.isfinite(off)].max() <= verdict.error
    nowhere, _ = measured({"x": lambda x, y: np.full(x.shape, np.nan)}, 0.02)
    assert not nowhere.verdicts["x"].reached
    assert np.isnan(nowhere.verdicts["x"].error)


def test_a_check_that_was_cut_short_proves_nothing() -> None:
    front = lambda x, y: 1.2 + np.tanh(30 * (x - 0.7))  # noqa: E731
    whole, _ = measured({"x": front}, 0.02)
    before = len(whole.points) - whole.verdicts["x"].checked
    refined, _ = measured({"x": front}, 0.02, before + 1)
    assert not refined.verdicts["x"].reached


def test_huge_numbers_end_it_like_any_others() -> None:
    with np.errstate(over="ignore"):
        refined, _ = measured({"x": lambda x, y: np.exp(2000 * (x - 0.6))}, 0.02, 300)
    assert len(refined.points) <= 300
    assert not refined.verdicts["x"].reached


def test_of_a_sharp_and_a_flat_direction_the_sharp_one_is_where_it_belongs() -> None:
    refined, losses = measured({"x": lambda x, y: 300 * (x - 0.5) ** 2 + 0.01 * (y - 0.5) ** 2}, 0.02)
    along = np.linspace(0, 1, 21)
    places = np.stack(np.meshgrid(along, along, indexing="ij"), -1).reshape(-1, 2)
    surface = through(refined, losses["x"], places).reshape(21, 21)
    assert surface.std(0).mean() > 1000 * surface.std(1).mean()


def test_conditions_have_the_same_points_wherever_one_of_them_needs_them() -> None:
    sharp: dict[str, Function] = {
        "left": lambda x, y: 2 + np.tanh(12 * (x - 0.2)),
        "right": lambda x, y: 2 + np.tanh(12 * (x - 0.8)),
    }
    together, losses = measured(sharp, 0.02)
    alone = [measured({name: of}, 0.02)[0] for name, of in sharp.items()]
    assert {len(values) for values in losses.values()} == {len(together.points)}
    assert all(verdict.reached for verdict in together.verdicts.values())
    assert len(together.points) < sum(len(one.points) for one in alone)
    for name, of in sharp.items():
        assert errors(together, losses[name], of).max() <= 0.02


def test_it_is_the_same_every_time_and_no_point_comes_twice() -> None:
    one, losses = measured({"x": SMOOTH["valley"]}, 0.005)
    again, values = measured({"x": SMOOTH["valley"]}, 0.005)
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(losses["x"], values["x"])
    assert one.verdicts == again.verdicts or vars(one.verdicts["x"]) == vars(again.verdicts["x"])
    assert len(np.unique(one.points, axis=0)) == len(one.points)


def test_rounds_that_were_measured_before_are_taken_as_they_are() -> None:
    """Of one condition alone too, where another one had chosen them: to the bit what it was."""
    rounds: list[Round] = []
    of: dict[str, Function] = {"a": SMOOTH["valley"], "b": SMOOTH["waves"]}

    def first(wanted: Round) -> tuple[Round, dict[str, np.ndarray]]:
        rounds.append(wanted)
        return wanted, {name: one(*place(wanted.points, POSITIONS).T)[:, None] for name, one in of.items()}

    turns = iter(rounds)

    def again(wanted: Round) -> tuple[Round, dict[str, np.ndarray]]:
        made = next(turns, wanted)
        return made, {"b": of["b"](*place(made.points, POSITIONS).T)[:, None]}

    whole, part = refine(first, POSITIONS, 0.01, 900), refine(again, POSITIONS, 0.01, 900)
    np.testing.assert_array_equal(part.points, whole.points)
    assert vars(part.verdicts["b"]) == vars(whole.verdicts["b"])


def test_the_lattice_is_made_finer_until_every_point_is_there() -> None:
    known = {tuple(point) for one in first_rounds() for point in one.points.tolist()}
    assert len(known) == 81
    generations = 0
    while fresh := {other for point in known for other in adaptive._children(point)} - known:
        known |= fresh
        generations += 1
    assert len(known) == (SIDE + 1) ** 2
    assert generations == 6
