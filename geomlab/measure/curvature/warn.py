"""What a reader of curvature has to be warned of."""

from geomlab.curvature.sharpness import GROUP
from geomlab.linalg.estimates import Eigenpairs
from geomlab.measure.curvature.findings import Findings


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
    if not bool(bottom.converged.all()):
        said.append(
            "the smallest eigenvalue has not converged: λmin is at most what is shown; raise the budget"
        )
    if len(top.values) < k:
        said.append(f"only {dim} eigenvalue{'s' if dim > 1 else ''}: the subspace has no more dimensions")
    if undefined:
        said.append(
            f"{', '.join(undefined)} not defined: an eigenvalue or a trace is not positive, "
            "or the eigenvalue no larger than its residual"
        )
    if probes < 2:
        said.append("a single probe gives no standard errors")
    return said


def of_few_samples(found: Findings, n: int) -> list[str]:
    """What so few samples, or parts of them, cannot tell."""
    said = []
    if n < 4:
        said.append(f"{n} samples are too few for errors of eigenvalues over samples")
    if not found.parts:
        said.append(f"{n} samples are too few to be split, so that nothing says what more would change")
    if n < 2 * GROUP:
        said.append(f"m-sharpness has one group of {min(n, GROUP)} samples and so no standard error")
    open_parts = [f"n/{round(n / part.n)}" for part in found.parts if not part.converged]
    if open_parts:
        said.append(
            f"eigenvalues of {', '.join(open_parts)} samples have not converged: λmax there is at least what is "
            "shown, and the overlap of halves says little; raise the budget"
        )
    return said


def of_few_steps(found: Findings, asked: int) -> list[str]:
    """What memory took from the spectral density."""
    steps = found.density.nodes.shape[1]
    if steps >= min(asked, found.dim - len(found.density.known)):
        return []
    return [
        f"the spectral density has {steps} steps, not {asked}: more vectors do not fit the memory; its smoothing is "
        "wider and the effective rank less sure"
    ]
