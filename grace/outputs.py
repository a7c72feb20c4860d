"""The files of a run: which there are, and that none is lost or overwritten unasked."""

from dataclasses import dataclass
from pathlib import Path

from geomlab.errors import UserError


@dataclass(frozen=True)
class Files:
    """What a run writes. The checkpoint and its metrics appear when the run is complete.

    Attributes:
        folder: of all of them.
        method: its name is theirs.
    """

    folder: Path
    method: str

    @property
    def checkpoint(self) -> Path:
        """The network, adapters merged."""
        return self.folder / f"{self.method}.pt"

    @property
    def adapters(self) -> Path:
        """The adapters alone, of a method that has them."""
        return self.folder / f"{self.method}.adapters.pt"

    @property
    def metrics(self) -> Path:
        """A JSON line a step."""
        return self.folder / f"{self.method}.jsonl"

    @property
    def running(self) -> Path:
        """The metrics while the run goes on, and of one that failed."""
        return self.folder / f"{self.method}.jsonl.part"

    @property
    def state(self) -> Path:
        """All that a stopped run needs to go on."""
        return self.folder / f"{self.method}.state.pt"

    @property
    def unfinished(self) -> bool:
        """Whether a run was stopped before its end, also one that was to replace a checkpoint that is still there."""
        return self.state.exists() and (self.running.exists() or not self.checkpoint.exists())

    def check_absent(self, *, resume: bool) -> None:
        """Refuse to overwrite.

        Args:
            resume: whether a run may be there, complete, or stopped with its state saved: then adapters may be there
                too, of an end that was cut short.

        Raises:
            UserError: if a file of an earlier run is there.
        """
        goes_on = resume and (self.checkpoint.exists() or self.state.exists())
        for path in () if goes_on else (self.checkpoint, self.metrics, self.adapters):
            if path.exists():
                raise UserError(
                    f"{path} is there already; choose another --out, or --overwrite to replace it"
                )
        if self.state.exists() and not resume:
            raise UserError(
                f"{self.state} is there, of a run that was stopped; --resume to go on, or --overwrite to begin anew"
            )

    def make_room(self, *, resume: bool) -> None:
        """Make the folder; unless a run goes on, its metrics are empty and what was saved of an earlier one is gone.

        Raises:
            UserError: if it cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.running.open("a" if resume else "w", encoding="utf-8"):
                pass
            if not resume:
                self.state.unlink(missing_ok=True)
        except OSError as error:
            why = f"cannot write there ({error.strerror})"
            raise UserError(f"{error.filename}: {why}; choose another --out") from error
