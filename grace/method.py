"""What a method is: what it trains, and the loss of a batch. One file each in `grace/methods/`.

Which of the bound's terms a method addresses [O]: the sources say that the paper's Table 1 has this, not its cells. A
method has a term where something in its loss or its step bounds it, not where it may happen to lower it.

- A, proximity to the prior: what holds θ near θ0 or moves few directions of it: wise-ft, tpgm, spd, adapters, prompts.
- B, sharpness: what minimises a maximum over a ball of weights: awp, sam, asam.
- C, cross-domain discrepancy: what ties outputs or features of clean and adversarial images: fare, pmg-aft, laat.
- None: cross-entropy alone, clean or adversarial (ft, lp-ft, tecoa), and FLYP, which keeps the prior's objective but
  sets no bound to the distance from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from geomlab.typing import Params, Scalar
from grace.batches import Batch
from grace.run import Run
from grace.settings import NoOptions, Strict

SECTIONS = ("attack", "lora", "architecture")
"""Sections of a recipe that only some methods use."""


@dataclass(frozen=True)
class Method:
    """A way to train; the loop knows no more of it than this.

    Attributes:
        name: as on the command line and in the papers.
        summary: one line for `grace list`.
        reference: where it comes from.
        terms: which of the bound's terms A, B, C it addresses (METHOD.md, section 1), by the list above.
        trains: regular expression over parameter names: those that train. Names are those of a checkpoint, but for the
            factors of an adapter (grace/lora.py).
        loss: of a run and a batch -> the terms of the loss by name; their sum is minimised.
        prepare: makes the model ready before its parameters are chosen, for example adds a head, and refuses what
            cannot be; soon done.
        warm_start: what it learns before the first step, after `prepare`; may take long.
        after_step: changes the weights after the optimiser's step, given copies of them from before it, by name; the
            step's gradient still stands in `.grad`.
        finish: changes the model after the last step.
        takes_steps: whether it trains at all under these options.
        options: the recipe's `[options]`.
        uses: the sections of a recipe it reads, of `SECTIONS`.
        held_back: what it does on samples that no step sees and cannot do without, a verb and its object, or nothing.
    """

    name: str
    summary: str
    reference: str
    terms: str
    trains: str
    loss: Callable[[Run, Batch], Mapping[str, Scalar]]
    prepare: Callable[[Run], None] = lambda run: None
    warm_start: Callable[[Run], None] = lambda run: None
    after_step: Callable[[Run, Params], None] | None = None
    finish: Callable[[Run], None] = lambda run: None
    takes_steps: Callable[[Any], bool] = lambda options: True
    options: type[Strict] = NoOptions
    uses: frozenset[str] = frozenset()
    held_back: str = ""

    @property
    def from_scratch(self) -> bool:
        """Whether it can start from a random initialisation."""
        return "architecture" in self.uses
