"""What a reader of curvature has to be warned of."""

from geomlab.linalg.estimates import Eigenpairs


def sentences(
    top: Eigenpairs, bottom: Eigenpairs, dim: int, *, k: int, probes: int, undefined: list[str]
) -> list[str]:
    """Warnings, each a sentence.

    Args:
        top: the largest eigenpairs found.
        bottom: the smallest one.
        dim: of the subspace.
        k: eigenvalues asked for.
        probes: of the traces.
        undefined: anisotropies that have no value.
    """
    said = []
    if not bool(top.converged.all()):
        worst = float(top.relative_residuals[~top.converged].max())
        said.append(
            f"eigenvalues {top.status} (largest relative residual of those {worst:.1e}); raise the budget"
        )
    elif top.status != "converged":
        said.append(
            "products ended before a search for eigenvalues that the first start cannot see, such as second copies: "
            "there may be larger ones than the last; raise the budget"
        )
    if bottom.status != "converged":
        said.append(
            "the smallest eigenvalue has not converged: λmin is at most what is shown; raise the budget"
        )
    if len(top.values) < k:
        said.append(f"only {len(top.values)} eigenvalues: the subspace has {dim} dimensions")
    if undefined:
        said.append(
            f"{', '.join(undefined)} not defined: an eigenvalue or a trace is not positive, "
            "or the eigenvalue no larger than its residual"
        )
    if probes < 2:
        said.append("a single probe gives no standard errors")
    return said
