import pytest

from tests.clip import tiny


@pytest.fixture(scope="session", autouse=True)
def _listed(tmp_path_factory: pytest.TempPathFactory) -> None:
    tiny.register(tmp_path_factory.mktemp("configs"))
