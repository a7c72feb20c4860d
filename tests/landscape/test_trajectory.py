"""Networks seen from another: planes that are known."""

import numpy as np
import pytest
import torch

from geomlab.landscape import directions
from geomlab.landscape.trajectory import placed, principal
from geomlab.rng import generator
from geomlab.typing import Params

SHAPES = {"a": (3, 4), "b": (5,)}


def drawn(seed: int) -> dict[str, torch.Tensor]:
    rng = generator(seed, "weights")
    return {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in SHAPES.items()}


HERE = drawn(0)
OTHERS = [directions.plus(HERE, drawn(seed), 10.0**-seed) for seed in (1, 2, 3, 4)]


def flat(direction: Params) -> np.ndarray:
    return torch.cat([tensor.double().reshape(-1) for tensor in direction.values()]).numpy()


def differences(others: list[dict[str, torch.Tensor]]) -> np.ndarray:
    return np.stack([flat(other) - flat(HERE) for other in others])


def test_principal_directions_are_those_of_a_singular_value_decomposition() -> None:
    found = principal(HERE, OTHERS)
    u, values, v = np.linalg.svd(differences(OTHERS), full_matrices=False)
    assert len(found) == 4
    for i, one in enumerate(found):
        sign = np.sign(flat(one.direction) @ v[i])
        np.testing.assert_allclose(sign * flat(one.direction), v[i], atol=1e-6)
        np.testing.assert_allclose(sign * one.along, values[i] * u[:, i], atol=1e-9)
        assert one.share == pytest.approx(values[i] ** 2 / (values**2).sum())
        assert directions.norm(one.direction) == pytest.approx(1)


def test_there_are_as_many_as_the_differences_span() -> None:
    midway = {name: (HERE[name] + OTHERS[0][name]) / 2 for name in HERE}
    assert len(principal(HERE, [OTHERS[0], midway, OTHERS[0]])) == 1
    assert principal(HERE, [HERE]) == []


def test_two_others_lie_on_the_plane_of_the_two_directions_and_a_third_beside_it() -> None:
    axes = [one.direction for one in principal(HERE, OTHERS[:2])]
    at, distance, off = placed(HERE, OTHERS[:3], axes)
    np.testing.assert_allclose(distance, np.linalg.norm(differences(OTHERS[:3]), axis=1))
    assert (off[:2] < 1e-12 * distance[:2]).all()
    assert off[2] > 0.5 * distance[2]
    for other, place in zip(OTHERS[:2], at[:2], strict=True):
        there = directions.plus(directions.plus(HERE, axes[0], place[0]), axes[1], place[1])
        np.testing.assert_allclose(flat(there), flat(other), atol=1e-14)


def test_the_nearest_point_of_an_oblique_plane() -> None:
    axes = [drawn(7), directions.plus(drawn(7), drawn(8), 0.3)]
    at, _, off = placed(HERE, OTHERS, axes)
    matrix = np.stack([flat(axis) for axis in axes], 1)
    expected, *_ = np.linalg.lstsq(matrix, differences(OTHERS).T, rcond=None)
    np.testing.assert_allclose(at, expected.T, rtol=1e-9)
    np.testing.assert_allclose(off, np.linalg.norm(matrix @ expected - differences(OTHERS).T, axis=0))


def test_an_axis_of_length_zero_or_along_the_other_takes_nothing() -> None:
    zero = directions.scaled(HERE, 0.0)
    at, distance, off = placed(HERE, OTHERS, [directions.plus(OTHERS[0], HERE, -1.0), zero])
    assert (at[:, 1] == 0).all()
    assert at[0, 0] == pytest.approx(1)
    assert off[0] < 1e-12 * distance[0]
    twice = [directions.plus(OTHERS[0], HERE, -1.0)] * 2
    at, _, off = placed(HERE, OTHERS[:1], twice)
    assert at.sum() == pytest.approx(1)
    assert off[0] < 1e-12


def test_networks_of_single_precision_are_told_apart_to_the_bit() -> None:
    here = {name: tensor.float() for name, tensor in HERE.items()}
    near = {name: torch.nextafter(tensor, tensor + 1) for name, tensor in here.items()}
    _, distance, _ = placed(here, [near], [drawn(3), drawn(4)])
    exact = np.linalg.norm(flat(near) - flat(here))
    assert distance[0] == pytest.approx(exact)
