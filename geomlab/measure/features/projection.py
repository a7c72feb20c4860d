"""Few coordinates of features, for the eye: one map, fitted on the clean features, for those of every condition."""

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from geomlab.errors import UserError
from geomlab.features.similarity import is_constant
from geomlab.threads import threads_kept
from geomlab.typing import Features

COMPONENTS = 3
PROJECTIONS = ("pca", "umap")
NEIGHBOURS = 15  # of UMAP: the library's own default

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """PCA, and UMAP where it was asked for.

    Attributes:
        pca: fitted.
        neighbours: a fitted `umap.UMAP`, or None.
    """

    pca: PCA
    neighbours: Any = None

    @classmethod
    def of(cls, clean: Features, *, kind: str, seed: int) -> "Projection | None":
        """Fit; None where the features vary by no more than rounding.

        Args:
            clean: (n, d) features, n of 3 or more.
            kind: of `PROJECTIONS`; `umap` is McInnes et al. 2018 (arXiv 1802.03426) in two dimensions, beside PCA.
            seed: of UMAP, which is then the same on one machine and slower.

        Raises:
            UserError: if there is no umap-learn.
        """
        if len(clean) < 3 or is_constant(clean, clean.dtype):
            return None
        x = clean.double().numpy()
        pca = PCA(min(COMPONENTS, *x.shape), svd_solver="full").fit(x)
        if kind == "pca" or len(clean) < 4:
            return cls(pca)
        umap = library()
        with threads_kept():
            fitted = umap.UMAP(n_neighbors=min(NEIGHBOURS, len(x) - 1), random_state=seed, n_jobs=1).fit(x)
        return cls(pca, fitted)

    @property
    def variance(self) -> Points:
        """(components,) the share of the clean features' variance along each."""
        return np.asarray(self.pca.explained_variance_ratio_)

    def __call__(self, features: Features) -> Points:
        """(n, components) PCA coordinates."""
        return np.asarray(self.pca.transform(features.double().numpy()))

    def embedded(self, features: Features) -> Points:
        """(n, 2) coordinates of UMAP."""
        with threads_kept():
            return np.asarray(self.neighbours.transform(features.double().numpy()), dtype=np.float64)


def library() -> Any:
    """The module `umap`.

    Raises:
        UserError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It warns that TensorFlow is not there, which one of its methods needs.
            warnings.simplefilter("ignore", ImportWarning)
            return importlib.import_module("umap")
    except ImportError as error:
        raise UserError(
            f"--projection umap needs umap-learn ({error}); run pip install 'geomlab[umap]'"
        ) from error
