"""A data set of Hugging Face's hub, from their cache; it is fetched only where the SPEC says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geomlab.data.table_files import Splits
from geomlab.errors import UserError, reason
from geomlab.spec import Spec, flag

_FORMS = ("parquet", "arrow", "cache")  # "cache": prepared before, by this or by the user


def library(spec: Spec) -> Any:
    """Hugging Face's `datasets`.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"'{spec.text}' needs Hugging Face's datasets ({error}); pip install 'geomlab[datasets]'"
        ) from error
    return datasets


def cached(spec: Spec) -> tuple[Splits, tuple[Path, ...]]:
    """The Arrow files of `hf:OWNER/NAME` by split, and the folders in which its images may lie as files.

    Args:
        spec: of the source.

    Raises:
        UserError: if it is not in the cache and may not or cannot be fetched, or is of a form that has more to unpack
            than tables.
    """
    datasets, name, download = library(spec), spec.positional, flag(spec, "download")
    from huggingface_hub import constants

    try:
        with _quiet(datasets), _offline(datasets, constants, download=download):
            builder = datasets.load_dataset_builder(name, spec.option("config"))
            form = type(builder).__module__.rpartition(".")[2]
            if form not in _FORMS:
                raise UserError(
                    f"'{spec.text}': the hub has {name} as {form}, and only Parquet and Arrow are read from there; "
                    "fetch its files yourself, and give them to folder: or webdataset:"
                )
            builder.download_and_prepare()
            found = builder.as_dataset()
    except UserError:
        raise
    except Exception as error:  # whatever the hub, the network or the cache makes of it
        todo = "check its name" if download else "to fetch it, add download=yes to the SPEC once"
        raise UserError(f"'{spec.text}': cannot open {name}: {reason(error)}; {todo}") from error
    files = {str(split): [Path(file["filename"]) for file in one.cache_files] for split, one in found.items()}
    return files, (Path(datasets.config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE))


@contextmanager
def _offline(datasets: Any, constants: Any, *, download: bool) -> Iterator[None]:
    """Both libraries look at the environment only as they are imported, which may have been long ago."""
    if download:
        yield
        return
    places = (datasets.config, constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = was


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """It warns that it takes what is in the cache, which is what was asked for."""
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(before)
