"""LP-FT: a linear probe first, then vanilla fine-tuning from its head (Kumar et al. 2022, 2202.10054)."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from geomlab import progress
from geomlab.errors import UserError
from geomlab.typing import Features, Float, Labels
from grace.method import Method
from grace.methods import ft
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `lp-ft`.

    Attributes:
        C: inverse strength of the probe's ℓ2 penalty: it minimises C·Σ CE + ½‖W‖². Default: of CLIP's linear probe on
            ImageNet (Radford et al. 2021, A.3).
        max_iter: iterations of L-BFGS. Default: the same source.
    """

    C: float = Field(0.316, gt=0)
    max_iter: int = Field(1000, ge=1)


def warm_start(run: Run) -> None:
    """Replace the head by the probe of frozen, normalised features of all training images, not augmented.

    The probe is fitted on logit scale · features, so that its penalty means the same as on CLIP's logits, and the scale
    is then folded into the head, which multiplies normalised features.
    """
    model, options, pool = run.model, run.options, run.pool
    features, labels = [], []
    with progress.bar(len(pool), "lp-ft: features") as bar, torch.no_grad():
        for batch in pool.in_order():
            features.append(model.embed(batch.images.to(run.device)).cpu())
            labels.append(batch.labels)
            for _ in batch.labels:
                bar.advance()
    scale = model.clip.logit_scale.detach().exp().cpu()
    weight = probe(scale * torch.cat(features), torch.cat(labels), model.labels.classes, options)
    model.set_head((scale * weight).to(run.device, features[0].dtype))


def probe(
    features: Features, labels: Labels, classes: tuple[str, ...], options: Options
) -> Float[Tensor, "classes dim"]:
    """Multinomial logistic regression without intercept: weights (C, dim), in float64.

    Args:
        features: (n, dim).
        labels: (n,) classes.
        classes: names of the C classes.
        options: penalty and iterations.

    Raises:
        UserError: if a class has no sample, or L-BFGS needs more iterations.
    """
    missing = sorted(set(range(len(classes))) - set(labels.tolist()))
    if missing:
        raise UserError(
            f"lp-ft: a linear probe needs samples of every class, there is none of '{classes[missing[0]]}'; "
            "train on more domains or data"
        )
    two = len(classes) == 2
    # Of two classes scikit-learn fits w = W_1 − W_0; the best W are ∓w/2, and ½‖W‖² is then half of its ½‖w‖².
    strength = 2 * options.C if two else options.C
    regression = LogisticRegression(C=strength, fit_intercept=False, max_iter=options.max_iter)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            regression.fit(features.double().numpy(), labels.numpy())
    except ConvergenceWarning as error:
        raise UserError(
            f"lp-ft: the linear probe has not converged after {options.max_iter} iterations; "
            "raise options.max_iter or lower options.C"
        ) from error
    found: NDArray[np.float64] = regression.coef_
    if two:
        found = np.concatenate([-found, found]) / 2
    return torch.from_numpy(found)


METHOD = Method(
    name="lp-ft",
    summary="vanilla fine-tuning that begins from a linear probe's head",
    reference="Kumar et al. 2022 (2202.10054)",
    terms="",
    trains=ft.METHOD.trains,
    warm_start=warm_start,
    loss=ft.loss,
    options=Options,
)
