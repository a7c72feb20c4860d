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


HELD = 2 << 30  # bytes of images beside the clean ones, of one condition at least: ours


class Realised:
    """The clean inputs, and those of the conditions that were asked for last: an attack is not made once a measure.

    Args:
        subject: the network.
        limit: of a batch.
    """

    def __init__(self, subject: Subject, limit: BatchLimit) -> None:
        self._subject, self._limit = subject, limit
        self._clean: dict[int, Batches] = {}
        self._held: dict[tuple[str, int], Batches] = {}  # name and n; the last that was asked for at the end

    def clean(self, condition: Condition) -> Batches:
        """What every condition of as many samples starts from."""
        found = self._clean.get(condition.n)
        if found is None:
            found = self.limited(condition).clean(self._subject)
        self._clean[condition.n] = self._taken(found, condition)
        return self._clean[condition.n]

    def __call__(self, condition: Condition) -> Batches:
        """What the condition gives."""
        key = condition.name, condition.n
        found = self._held.pop(key, None)
        if found is None:
            clean = self.clean(condition)
            self._make_room(clean.images.nbytes)  # before it is made; another domain's are about as large
            found = self.limited(condition).realise(self._subject, clean)
        self._held[key] = self._taken(found, condition)
        return self._held[key]

    def limited(self, condition: Condition) -> Condition:
        """The condition, as many samples at a time as the limit allows."""
        return replace(condition, batch_size=self._limit.of(condition.batch_size))

    def digests(self, condition: Condition) -> dict[str, str | None]:
        """Digests of the clean inputs and of the condition's own, None for an attack's.

        An attack is made only when it is needed: the clean inputs, the network and the SPEC tell it apart.
        """
        attacked = condition.kind == "adversarial"
        return {"clean": self.clean(condition).digest, "inputs": None if attacked else self(condition).digest}

    def _make_room(self, size: int) -> None:
        """Let go of what was asked for longest ago."""
        while self._held and size + sum(one.images.nbytes for one in self._held.values()) > HELD:
            del self._held[next(iter(self._held))]

    def _taken(self, batches: Batches, condition: Condition) -> Batches:
        size = self._limit.of(condition.batch_size)
        return batches if batches.batch_size == size else replace(batches, batch_size=size)
