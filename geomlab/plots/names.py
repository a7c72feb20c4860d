"""Names of layers, short enough for an axis."""

from collections.abc import Sequence


def shorten(names: Sequence[str]) -> tuple[list[str], str]:
    """Leave out the path that all numbered blocks share.

    `visual.transformer.resblocks.0.attn.out_proj` becomes `0.attn.out_proj` where every numbered layer lies
    under `visual.transformer.resblocks`; a first part that all names share goes too.

    Args:
        names: of the layers, in order.

    Returns:
        Short names, all different, and the path left out ("" where nothing was).
    """
    paths = [name.split(".") for name in names]
    shared = len(_common(paths)) if len(names) > 1 else 0
    heads = {tuple(path[: _number(path)]) for path in paths if _number(path) is not None}
    head = next(iter(heads)) if len(heads) == 1 else tuple(paths[0][:shared]) if shared else ()
    short = [".".join(_without(path, head, shared)) for path in paths]
    if len(set(short)) < len(set(names)) or not all(short):
        return list(names), ""
    return short, ".".join(head)


def _number(path: Sequence[str]) -> int | None:
    return next((i for i, part in enumerate(path) if part.isdigit() and i), None)


def _without(path: list[str], head: tuple[str, ...], shared: int) -> list[str]:
    return path[len(head) :] if tuple(path[: len(head)]) == head else path[shared:]


def _common(paths: Sequence[list[str]]) -> list[str]:
    """The first parts that all paths share."""
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared
