"""Data SPEC -> source."""

from geomlab import architectures
from geomlab.data import hugging_face, shards, torchvision_sets
from geomlab.data.arrays import Arrays
from geomlab.data.folders import open_domains, open_folder
from geomlab.data.glyphs import Glyphs
from geomlab.data.imagenet import ImageNet
from geomlab.data.places import OPTIONS
from geomlab.data.source import Source
from geomlab.errors import UserError
from geomlab.spec import parse

KNOWN = (
    "glyphs[:split=test|train|all]",
    "folder:ROOT[,split=train|test]",
    "domains:ROOT[,id=DOMAIN][,split=train|test]",
    "imagenet:ROOT[,split=val|train]",
    "torchvision:NAME,root=ROOT[,split=SPLIT][,download=yes]",
    "hf:FOLDER|OWNER/NAME[,config=…,split=…,image=COLUMN,label=COLUMN,classes=FILE,download=yes]",
    "webdataset:SHARDS[,image=jpg;png,label=cls,classes=FILE]",
    "MODULE:FACTORY",
)


def open_recorded(recorded: str | None, given: str | None) -> Source | None:
    """The source the user gave, else the one a checkpoint records; None where neither says one.

    Every way from a checkpoint to its data goes through here: what it records is never run as code.

    Args:
        recorded: data SPEC of a checkpoint's metadata.
        given: data SPEC of the user.

    Raises:
        UserError: as `open_source`.
    """
    spec = given or recorded
    return None if spec is None else open_source(spec, by_user=given is not None)


def open_source(text: str, *, by_user: bool = True) -> Source:
    """The source of a data SPEC, its names fit to be printed.

    Args:
        text: the SPEC.
        by_user: whether the user gave it. A checkpoint may not name a `MODULE:FACTORY`: that is code.

    Raises:
        UserError: if there is no such source, listing what there is, or it cannot be opened.
    """
    source = _open(text, by_user=by_user)
    odd = [name for name in (*source.domains, *(source.classes or ())) if not name.isprintable()]
    if odd:
        raise UserError(f"'{text}': the name {odd[0]!a} cannot be printed; rename that class or domain")
    return source


def _open(text: str, *, by_user: bool) -> Source:
    spec = parse(text)
    if not by_user and spec.option("download", "no") != "no":
        raise UserError(
            f"the checkpoint asks to download '{text}'; if you want that, name it yourself: --data {text}"
        )
    match spec.head:
        case "glyphs":
            spec.only("split")
            if spec.positional:
                raise UserError(f"'{text}': glyphs takes only split=test|train|all")
            return Glyphs(spec.option("split", "test") or "test")
        case "folder":
            spec.only("split", *OPTIONS)
            return open_folder(spec)
        case "domains":
            spec.only("id", "split", *OPTIONS)
            return open_domains(spec)
        case "imagenet":
            spec.only("split", *OPTIONS)
            return ImageNet(spec)
        case "torchvision":
            spec.only(*torchvision_sets.OPTIONS)
            return torchvision_sets.open_torchvision(spec)
        case "hf":
            spec.only(*hugging_face.OPTIONS)
            return hugging_face.HuggingFace(spec)
        case "webdataset":
            spec.only(*shards.OPTIONS)
            return shards.WebDataset(spec)
        case _ if (spec.positional or spec.options) and not by_user:
            raise UserError(
                f"the checkpoint asks to run '{text}'; if you trust it, name it yourself: --data {text}"
            )
        case _ if spec.positional or spec.options:
            return Arrays(text, architectures.call_factory(spec, "data source", KNOWN))
        case _:
            raise UserError(f"no data source '{text}'; there are {', '.join(KNOWN)}")
