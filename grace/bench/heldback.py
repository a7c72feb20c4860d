"""Data of which only the samples that training holds back are seen."""

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Size
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.typing import Images
from grace.batches import Pool


class HeldBack(Source):
    """The samples of a source that `data.validation` keeps from every step, in all of its domains.

    Args:
        source: what training reads.
        share: `data.validation`.

    Raises:
        UserError: if no sample of a domain is held back.
    """

    def __init__(self, source: Source, share: float) -> None:
        self.spec = f"{source.spec}, {share:g} held back"
        self.classes, self.domains, self.templates = source.classes, source.domains, source.templates
        self._source = source
        pool = Pool(
            source, source.domains, None, 1, 0, False, 0, (0.0, share)
        )  # only its choice of rows is used
        self._rows = dict(zip(source.domains, pool.rows, strict=True))
        empty = [domain for domain, rows in self._rows.items() if not len(rows)]
        if empty:
            raise UserError(
                f"{source.spec}, {empty[0]}: no sample is held back at data.validation={share:g}; raise it"
            )

    def list_samples(self, domain: str) -> Index:
        """Those held back."""
        index = self._source.index(domain)
        return Index(index.ids[self._rows[domain]], index.labels[self._rows[domain]])

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """As the source gives them."""
        return self._source.images(domain, self._rows[domain][rows], size)
