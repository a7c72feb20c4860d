"""The tables of the bound: its terms at one σ, which of them is the largest over σ and L_f, and what (C) is made of."""

from collections.abc import Callable, Iterator, Mapping

import xarray as xr

from geomlab.report.cells import cell, count, scalar, text
from geomlab.report.entries import ONE_ERROR, Row, called, matrix_name, stderr_cell
from geomlab.results import Results
from geomlab.results.terms import LIPSCHITZ, TERMS, TermsAt, common_sigma, terms_at
from geomlab.tables import Cell, Table

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of σ, in the table of what leads
CONSTANTS = "L_f, λ* and σ cannot be measured (λ* is taken as 0): no certificate."


def bounds(results: Results) -> dict[str, xr.Dataset]:
    """Checkpoint -> its cell `bound`, of those that have one."""
    found = {name: cell(results, "bound", name, None) for name in results.checkpoints}
    return {name: one for name, one in found.items() if one is not None}


def reported(results: Results) -> Iterator[tuple[str, xr.Dataset, int, float]]:
    """Each checkpoint and n with the σ at which terms are reported, the same for all checkpoints."""
    found = bounds(results)
    for name, one in found.items():
        for number in range(one.sizes["trained_on"]):
            yield name, one, number, common_sigma(list(found.values()), number)


def terms_table(results: Results) -> Table:
    """The terms at one σ and L_f = 1, with what they are made of."""
    rows: list[Row] = []
    for name, one, number, sigma in reported(results):
        at = terms_at(one, number, sigma)
        farthest = text(one, "farthest")
        there = one.sel(pair=farthest) if farthest else None
        rows.append(
            (
                *called(results, name),
                samples(one, number),
                Cell(scalar(one, "clean_loss"), scalar(one, "clean_loss_stderr")),
                Cell(scalar(one, "drift")),
                stderr_cell(one.sel(risk=text(one, "sharpest")), "trace"),
                text(one, "sharpest") or "",
                stderr_cell(there, "distance") if there is not None else "",
                farthest or "",
                Cell(sigma),
                Cell(float(at.values[0])),
                *(Cell(float(at.values[i]), float(at.stderr[i])) for i in (1, 2)),
                leading(at),
            )
        )
    columns = ("n", "clean loss", "‖θ − θ₀‖", "Tr H", "under", "distance", "between", "σ", *TERMS, "largest")
    caption = (
        f"(A) = ‖θ − θ₀‖²/2nσ², (B) = σ²/2 · Tr H, (C) = L_f · distance, all at L_f = {LIPSCHITZ:g}. {_sigma(results)} "
        f"≈: not told apart by 1.96 errors. {ONE_ERROR} {_matrix(results)}{CONSTANTS}"
    )
    return Table("Terms of the bound", (*called(results, "checkpoint"), *columns), tuple(rows), caption)


def leading_table(results: Results) -> Table:
    """The largest term over σ and L_f."""
    rows: list[Row] = [
        (
            *called(results, name),
            samples(one, number),
            f"{lipschitz:g}",
            *(leading(terms_at(one, number, factor * sigma, lipschitz)) for factor in FACTORS),
        )
        for name, one, number, sigma in reported(results)
        for lipschitz in one["lipschitz"].values.tolist()
    ]
    columns = ("n", "L_f", *(f"{factor:g} σ" for factor in FACTORS))
    caption = (
        "The largest term where L_f and σ are others: what a method fails where a column and its neighbours agree. ≈: "
        f"not told apart by 1.96 errors. {_sigma(results)} {CONSTANTS}"
    )
    return Table(
        "Largest term over σ and L_f", (*called(results, "checkpoint"), *columns), tuple(rows), caption
    )


def distances_table(results: Results) -> Table:
    """How far every two conditions are apart."""
    rows: list[Row] = []
    for name, one in bounds(results).items():
        for pair in one["pair"].values:
            at = one.sel(pair=pair)
            same = "yes" if scalar(at, "pair_paired") else "no"
            rows.append(
                (
                    *called(results, name),
                    str(pair),
                    stderr_cell(at, "distance"),
                    str(count(at, "pair_classes")),
                    same,
                )
            )
    columns = (*called(results, "checkpoint"), "between", "distance", "classes", "same samples")
    caption = (
        "2 Σ π_c (‖Δμ_c‖² + ‖ΔΣ_c‖_F) of unit features of what feeds the last linear map, without bias, over the "
        f"classes that both have enough samples of, weighed as in the first: term (C) without L_f. {ONE_ERROR}"
    )
    return Table("Distances between conditions", columns, tuple(rows), caption)


def leading(at: TermsAt) -> str:
    """`(C)`, or `(A) ≈ (B)` where that is not sure."""
    return " ≈ ".join(at.leading) or "not defined"


def samples(one: xr.Dataset, number: int) -> str:
    """n, in brackets where it is one of those swept."""
    n = f"{int(one['trained_on'].values[number]):,}"
    return n if scalar(one, "n_known") else f"({n})"


def _sigma(results: Results) -> str:
    """What is special about σ, and about n."""
    found = list(bounds(results).values())
    said = {text(one, "at_is") for one in found}
    least = f"the σ where {said.pop()}" if len(said) == 1 else "the σ that (A) and (B) single out"
    told = f"At {'the geometric mean over checkpoints of ' if len(found) > 1 else ''}{least}."
    return (
        told
        if all(scalar(one, "n_known") for one in found)
        else f"{told} n in brackets is not known, and swept."
    )


def _matrix(results: Results) -> str:
    """Of which matrix the trace is, where that is not the Hessian."""
    names = {matrix_name(one).strip(",") for one in bounds(results).values()} - {"Hessian"}
    return f"The trace is that of the {', '.join(sorted(names))}. " if names else ""


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "bound": terms_table,
    "bound_leading": leading_table,
    "bound_distances": distances_table,
}
