"""The numbers of features that there is one of a layer, in the groups that are drawn together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One panel.

    Attributes:
        variable: of dimension layer.
        label: of the y axis.
        still: its value for features that did not move, or are the reference's; None where there is no such value.
        of_clean: whether clean inputs have one that says something.
        wide: whether it is a positive ratio that may span decades: its interval is symmetric in the logarithm, and the
            numbers choose the scale.
    """

    variable: str
    label: str
    still: float | None = None
    of_clean: bool = True
    wide: bool = False


@dataclass(frozen=True)
class Group:
    """Panels of one figure.

    Attributes:
        title: of the figure.
        measures: a panel each.
    """

    title: str
    measures: tuple[Measure, ...]


def _to_clean(*measures: tuple[str, str, float]) -> tuple[Measure, ...]:
    return tuple(Measure(*measure, of_clean=False) for measure in measures)


TO_CLEAN = Group(
    "Features under each condition against the clean features",
    _to_clean(
        ("cka_to_clean", "CKA to clean", 1.0),
        ("gram_drift", "Gram drift", 0.0),
        ("centroid_cosine", "centroid cosine", 1.0),
        ("delta_lid", "ΔLID", 0.0),
    ),
)
TO_REFERENCE = Group(
    "Features against those of the reference, on the same inputs",
    (
        Measure("reference_cka", "CKA to reference", 1.0),
        Measure("reference_gram_drift", "Gram drift", 0.0),
        Measure("reference_procrustes", "Procrustes distance", 0.0),
    ),
)
SIMILARITY = Group(
    "Other similarities to the clean features",
    _to_clean(
        ("rbf_cka_to_clean", "RBF CKA", 1.0),
        ("angular_to_clean", "angle of shapes", 0.0),
        ("rsa_to_clean", "RSA", 1.0),
        ("knn_to_clean", "mutual k-NN", 1.0),
        ("svcca_to_clean", "SVCCA", 1.0),
        ("pwcca_to_clean", "PWCCA", 1.0),
    ),
)
CLASSES = Group(
    "Classes in feature space",
    (
        Measure("class_separation", "separation"),
        Measure("nc1", "NC1", wide=True),
        Measure("nc2_simplex", "NC2 simplex"),
        Measure("input_shift", "shift by inputs", 0.0, of_clean=False),
        Measure("weight_shift", "shift by weights", 0.0),
        Measure("discrepancy", "discrepancy", 0.0, of_clean=False),
    ),
)
DIMENSIONS = Group(
    "Dimension of the features",
    (
        Measure("lid", "LID"),
        Measure("two_nn", "TwoNN"),
        Measure("participation_ratio", "participation ratio"),
        Measure("effective_rank", "effective rank"),
        Measure("uniformity", "uniformity"),
        Measure("gram_volume", "Gram volume", 0.0, of_clean=False),
    ),
)
WEIGHTS = Group(
    "Features at perturbed weights against those at the checkpoint's",
    (
        Measure("weights_cka", "CKA", 1.0),
        Measure("weights_gram_drift", "Gram drift", 0.0),
        Measure("weights_angular", "angle of shapes", 0.0),
        Measure("weights_knn", "mutual k-NN", 1.0),
        Measure("weights_centroid_cosine", "centroid cosine", 1.0),
        Measure("weights_delta_lid", "ΔLID", 0.0),
    ),
)
