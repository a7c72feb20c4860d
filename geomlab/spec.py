"""The small language of SPECs: `head`, `head:positional`, `head:key=value,key=value`."""

from dataclasses import dataclass

from geomlab.errors import UserError


@dataclass(frozen=True)
class Spec:
    """One parsed SPEC, for example `domains:ROOT,id=photo`.

    Attributes:
        text: the SPEC as the user wrote it.
        head: what stands before the first colon.
        positional: the first part after the colon if it has no `=`, else "".
        options: the `key=value` parts, in order.
    """

    text: str
    head: str
    positional: str
    options: tuple[tuple[str, str], ...]

    def option(self, key: str, default: str | None = None) -> str | None:
        """The value of `key`, or `default`."""
        return dict(self.options).get(key, default)

    def only(self, *allowed: str) -> None:
        """Refuse options that nobody reads.

        Raises:
            UserError: naming the options that are not in `allowed`.
        """
        unknown = [key for key, _ in self.options if key not in allowed]
        if unknown:
            known = ", ".join(allowed) or "none"
            raise UserError(
                f"'{self.text}': unknown option {', '.join(unknown)}; '{self.head}' takes: {known}"
            )


def parse(text: str) -> Spec:
    """Parse a SPEC.

    Raises:
        UserError: if it is empty, or a part after the first is not `key=value`.
    """
    head, _, rest = text.strip().partition(":")
    if not head:
        raise UserError(f"empty SPEC '{text}'; write NAME, NAME:VALUE or NAME:key=value,key=value")
    parts = [part.strip() for part in rest.split(",")] if rest else []
    positional = parts.pop(0) if parts and "=" not in parts[0] else ""
    options = []
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise UserError(f"'{text}': cannot read '{part}'; write key=value, separated by commas")
        options.append((key.strip(), value.strip()))
    if len(dict(options)) < len(options):
        raise UserError(f"'{text}': an option is given twice")
    return Spec(text.strip(), head, positional, tuple(options))


def number(spec: Spec, key: str, default: float) -> float:
    """A number option, as a decimal or a fraction such as `4/255`.

    Raises:
        UserError: if the option is not such a number, or not finite and positive.
    """
    text = spec.option(key)
    if text is None:
        return default
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise UserError(f"'{spec.text}': {key} must be a number such as 0.03 or 8/255, got '{text}'")
    return value


def integer(spec: Spec, key: str, default: int) -> int:
    """A whole-number option, at least 1.

    Raises:
        UserError: if the option is not such a number.
    """
    value = number(spec, key, default)
    if value != int(value) or value < 1:
        raise UserError(
            f"'{spec.text}': {key} must be a whole number of at least 1, got '{spec.option(key)}'"
        )
    return int(value)
