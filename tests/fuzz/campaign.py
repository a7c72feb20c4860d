"""A campaign of atheris against one reader: python -m tests.fuzz.campaign TARGET [libFuzzer options].

It begins from the seeds and the corpus; what it finds new is kept in build/fuzz/TARGET, and what breaks a reader in
crash-* beside it. Add such a file to tests/fuzz/corpus/TARGET as NAME.bin, once it is mended.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["geomlab", "grace", "safetensors", "h5netcdf", "pickle"]):
    from tests.fuzz import seeds
    from tests.fuzz.targets import run


def main() -> None:
    name, *options = sys.argv[1:]
    kept = Path("build/fuzz") / name
    kept.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds.of(name)):
        (kept / f"seed-{number}").write_bytes(content)
    corpus = Path(__file__).parent / "corpus" / name
    folders = [str(kept), *([str(corpus)] if corpus.is_dir() else [])]
    atheris.Setup(
        [sys.argv[0], f"-artifact_prefix={kept}/", *options, *folders], lambda content: run(name, content)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
