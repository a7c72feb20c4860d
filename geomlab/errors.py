"""The one exception a user may see: what was expected, what came, what to do."""


class UserError(Exception):
    """Input that cannot be used. The command line prints it as one line and exits with status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NotFinite(UserError):
    """A gradient or an activation is NaN or infinite, so that what follows from it means nothing."""


class OutOfMemory(UserError):
    """Memory does not suffice for so many samples at once."""
