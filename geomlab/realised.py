"""Inputs while they are measured: which are held, and how many are taken at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from geomlab.data.batches import Batches
from geomlab.data.condition import Condition
from geomlab.devices import out_of_memory, release
from geomlab.errors import OutOfMemory
from geomlab.subject import Subject

T = TypeVar("T")


class BatchLimit:
    """How many samples are taken at a time: as many as was asked for, and half of that each time memory runs out."""

    def __init__(self) -> None:
        self._most: int | None = None

    def of(self, asked: int) -> int:
        """What of that is taken."""
        return asked if self._most is None else min(asked, self._most)

    def said(self, asked: int) -> str | None:
        """A sentence on what was not taken, None where all was."""
        taken = self.of(asked)
        if taken == asked:
            return None
        return (
            f"for want of memory in batches of {taken} samples instead of {asked}, which changes no number but for "
            "rounding"
        )

    def fall(self, largest: int) -> bool:
        """Take half of them from now on; False where it is a single one already.

        Args:
            largest: samples of a batch without a limit, at most.
        """
        taken = self.of(largest)
        self._most = (taken + 1) // 2
        return taken > 1

    def within(self, work: Callable[[], T], subject: Subject, *, largest: int, where: str) -> T:
        """Do something, again with half of the samples at a time for as long as memory runs out.

        Args:
            work: what is done; it takes its batches as `of` says.
            subject: the network.
            largest: samples of a batch without a limit, at most.
            where: what is done, for people.

        Raises:
            OutOfMemory: if single samples do not fit.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError, OutOfMemory) as error:
                if not (isinstance(error, OutOfMemory) or out_of_memory(error)):
                    raise
                if not self.fall(largest):
                    raise OutOfMemory(
                        f"{where}: not enough memory for single samples; use a smaller --memory or fewer --samples, "
                        "with --resume where there are results"
                    ) from error
            release(subject.device)  # here: while it is handled, an error holds what there was


class Realised:
    """The clean inputs and those of one condition at a time, however many conditions there are.

    Args:
        subject: the network.
        limit: of a batch.
    """

    def __init__(self, subject: Subject, limit: BatchLimit) -> None:
        self._subject, self._limit = subject, limit
        self._clean: Batches | None = None
        self._last: tuple[Condition, Batches] | None = None

    def clean(self, condition: Condition) -> Batches:
        """What every condition starts from."""
        if self._clean is None:
            self._clean = self.limited(condition).clean(self._subject)
        self._clean = self._taken(self._clean, condition)
        return self._clean

    def __call__(self, condition: Condition) -> Batches:
        """What the condition gives."""
        if self._last is None or self._last[0] is not condition:
            self._last = None  # let go before the next is made
            batches = self.limited(condition).realise(self._subject, self.clean(condition))
            self._last = condition, batches
        self._last = condition, self._taken(self._last[1], condition)
        return self._last[1]

    def limited(self, condition: Condition) -> Condition:
        """The condition, as many samples at a time as the limit allows."""
        return replace(condition, batch_size=self._limit.of(condition.batch_size))

    def digests(self, condition: Condition) -> dict[str, str | None]:
        """Digests of the clean inputs and of the condition's own, None for an attack's.

        An attack is made only when it is needed: the clean inputs, the network and the SPEC tell it apart.
        """
        attacked = condition.kind == "adversarial"
        return {"clean": self.clean(condition).digest, "inputs": None if attacked else self(condition).digest}

    def _taken(self, batches: Batches, condition: Condition) -> Batches:
        size = self._limit.of(condition.batch_size)
        return batches if batches.batch_size == size else replace(batches, batch_size=size)
