"""Accuracy and loss with their intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab import stats
from geomlab.data.batches import Batches
from geomlab.measure.base import Single, dataset
from geomlab.risk import check_finite, sample_losses
from geomlab.subject import Subject


@dataclass(frozen=True)
class Accuracy(Single):
    """Fraction correct (Wilson interval) and mean cross-entropy (standard error), with every sample's own."""

    name = "accuracy"

    @property
    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`."""
        found = sample_losses(subject, batches)
        check_finite(found, subject, "these inputs")
        loss, correct = found.loss.double().cpu().numpy(), found.correct.cpu().numpy()
        low, high = stats.wilson(int(correct.sum()), len(correct))
        mean, stderr = stats.mean_stderr(loss)
        values = {
            "loss": ("sample", loss),
            "correct": ("sample", correct.astype(np.int8)),
            "label": ("sample", batches.labels.cpu().numpy()),
            "accuracy": float(correct.mean()),
            "accuracy_low": low,
            "accuracy_high": high,
            "mean_loss": mean,
            "mean_loss_stderr": stderr,
            "n": len(batches),
            "inputs_sha256": batches.digest,
            "samples_sha256": batches.samples,
        }
        return dataset(values, {"sample": np.arange(len(batches))})
