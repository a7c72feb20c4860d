"""The whole test run checks array shapes and types, so the hook comes before geomlab is first imported."""

from hypothesis import settings
from jaxtyping import install_import_hook

from tests import typecheck

install_import_hook(["geomlab", "grace"], f"{typecheck.__name__}.check")
settings.register_profile("geomlab", deadline=None, derandomize=True)
settings.load_profile("geomlab")

pytest_plugins = ["tests.synthetic"]
