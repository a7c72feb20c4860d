"""What a method is: what it trains, and the loss of a batch. One file each in `grace/methods/`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from geomlab.typing import Scalar
from grace.batches import Batch
from grace.model import Model


class Strict(BaseModel):
    """Part of a recipe: unknown keys and numbers that are not finite are refused; nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoOptions(Strict):
    """For a method that has none of its own."""


@dataclass(frozen=True)
class Method:
    """A way to train; the loop knows no more of it than this.

    Attributes:
        name: as on the command line and in the papers.
        summary: one line for `grace list`.
        reference: where it comes from.
        terms: which of the bound's terms A, B, C it addresses (METHOD.md, section 1).
        trains: regular expression over parameter names as in a checkpoint: those that train.
        prepare: makes the model ready before its parameters are chosen, for example adds a head.
        loss: model, batch, options and a generator for its draws -> the terms of the loss by name; their sum
            is minimised.
        options: the recipe's `[options]`.
        from_scratch: whether it can start from a random initialisation.
    """

    name: str
    summary: str
    reference: str
    terms: str
    trains: str
    prepare: Callable[[Model], None]
    loss: Callable[[Model, Batch, Any, torch.Generator], Mapping[str, Scalar]]
    options: type[Strict] = NoOptions
    from_scratch: bool = False
