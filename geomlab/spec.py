"""The small language of SPECs: `head`, `head:positional`, `head:key=value,key=value`.

After the colon a backslash before `,`, `=` or another backslash makes that character an ordinary one:
`domains:/data/a\\,b,id=photo`. Any other backslash is itself, as in `C:\\data`.
"""

import re
from dataclasses import dataclass

from geomlab.errors import UserError

_LITERAL = r"a comma or = inside a value is written \, or \= (the SPEC in quotes)"


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
            hint = f"; {_LITERAL}" if "/" in self.text or "\\" in self.text else ""  # a path that was cut?
            raise UserError(
                f"'{self.text}': unknown option {', '.join(unknown)}; '{self.head}' takes: {known}{hint}"
            )


def parse(text: str) -> Spec:
    """Parse a SPEC.

    Raises:
        UserError: if it is empty, or a part after the first is not `key=value`.
    """
    head, _, rest = text.strip().partition(":")
    if not head:
        raise UserError(f"empty SPEC '{text}'; write NAME, NAME:VALUE or NAME:key=value,key=value")
    parts = _split(rest) if rest else []
    positional = _join(parts.pop(0)) if parts and "=" not in parts[0] else ""
    options = []
    for part in parts:
        at = part.index("=") if "=" in part else len(part)
        key, value = _join(part[:at]), _join(part[at + 1 :])
        if not (key and value):
            raise UserError(
                f"'{text}': cannot read '{''.join(part).strip()}'; write key=value, separated by commas; {_LITERAL}"
            )
        options.append((key, value))
    if len(dict(options)) < len(options):
        raise UserError(f"'{text}': an option is given twice")
    return Spec(text.strip(), head, positional, tuple(options))


def escape(value: str) -> str:
    """A value, a path for example, as it is written in a SPEC."""
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


def _split(text: str) -> list[list[str]]:
    """Parts between commas, each a list of characters; an escaped one keeps its backslash, and so is no sign."""
    parts: list[list[str]] = [[]]
    for character in re.findall(r"\\[\\,=]|.", text, re.DOTALL):
        if character == ",":
            parts.append([])
        else:
            parts[-1].append(character)
    return parts


def _join(characters: list[str]) -> str:
    return "".join(character[-1] for character in characters).strip()


def fraction(text: str) -> float:
    """A decimal or a fraction such as `4/255`.

    Raises:
        ValueError: if it is neither.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except ZeroDivisionError as error:
        raise ValueError(f"'{text}' divides by zero") from error


def number(spec: Spec, key: str, default: float) -> float:
    """A number option, zero or more, as a decimal or a fraction such as `4/255`.

    Raises:
        UserError: if the option is not such a number, or negative or not finite.
    """
    text = spec.option(key)
    if text is None:
        return default
    try:
        value = fraction(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise UserError(f"'{spec.text}': {key} must be a number such as 0.03 or 8/255, got '{text}'")
    return value


def integer(spec: Spec, key: str, default: int, *, least: int = 1) -> int:
    """A whole-number option.

    Args:
        spec: whose option.
        key: its name.
        default: where it is not given.
        least: it may be.

    Raises:
        UserError: if the option is not such a number.
    """
    value = number(spec, key, default)
    if value != int(value) or value < least:
        raise UserError(
            f"'{spec.text}': {key} must be a whole number of at least {least}, got '{spec.option(key)}'"
        )
    return int(value)


def flag(spec: Spec, key: str) -> bool:
    """An option that is `yes` or `no`, the default.

    Raises:
        UserError: if it is neither.
    """
    text = spec.option(key, "no")
    if text not in ("yes", "no"):
        raise UserError(f"'{spec.text}': {key} must be yes or no, got '{text}'")
    return text == "yes"
