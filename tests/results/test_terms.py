import numpy as np
import pytest
import xarray as xr

from geomlab.results.terms import common_sigma, terms_at
from tests.synthetic import bound

CONDITIONS = ("clean", "pgd", "domain:sketch")


def cell(**changes: float) -> xr.Dataset:
    one = bound(CONDITIONS, 1.0, trained_on=(100, 10_000), known=False)
    return one.assign({name: factor * one[name] for name, factor in changes.items()})


def test_terms_at_any_sigma_are_those_of_the_grid_and_the_formulas_between() -> None:
    one = cell()
    for at in (0, 17, 48):
        found = terms_at(one, 1, float(one["sigma"][at]), 10.0)
        wanted = (one["proximity"][1, at], one["sharpness"][at], one["discrepancy"][3])
        np.testing.assert_allclose(found.values, [float(value) for value in wanted], rtol=1e-12)
        errors = (0, one["sharpness_stderr"][at], one["discrepancy_stderr"][3])
        np.testing.assert_allclose(found.stderr, [float(error) for error in errors], rtol=1e-12)
        assert found.n == 10_000
    np.testing.assert_allclose(terms_at(one, 0, 0.3).values, [4.2**2 / 18, 0.045 * 366, 5.0])


@pytest.mark.parametrize(
    ("factor", "lipschitz", "leading"),
    [
        (1, 1, ("(C)",)),
        (1, 0.01, ("(A)", "(B)")),
        (0.1, 0.01, ("(A)",)),
        (10, 0.01, ("(B)",)),
        (10, 100, ("(C)",)),
    ],
)
def test_the_largest_term_is_named_with_all_it_does_not_lead_for_sure(
    factor: float, lipschitz: float, leading: tuple[str, ...]
) -> None:
    one = cell()
    assert terms_at(one, 1, factor * float(one["sigma_best"][1]), lipschitz).leading == leading


def test_a_term_that_is_not_defined_leaves_none_to_lead() -> None:
    assert terms_at(cell(discrepancy=np.nan), 0, 0.1).leading == ()


def test_one_sigma_for_all_is_the_geometric_mean_of_what_each_reports() -> None:
    one, other = bound(CONDITIONS, 1.0), bound(CONDITIONS, 16.0)  # a trace of a sixteenth: twice the σ
    assert common_sigma([other], 0) == pytest.approx(2 * common_sigma([one], 0))
    assert common_sigma([one, other], 0) == pytest.approx(2**0.5 * common_sigma([one], 0))
    swept = cell()
    both = common_sigma([one, swept], 1)
    assert both == pytest.approx((common_sigma([one], 0) * float(swept["sigma_best"][1])) ** 0.5)
    other = other.assign(
        sigma_best=np.nan * other["sigma_best"]
    )  # of a network that did not drift, for example
    assert common_sigma([one, other], 0) == pytest.approx(common_sigma([one], 0))
    assert common_sigma([other], 0) == pytest.approx(2 * common_sigma([one], 0))
