"""A checkpoint of somebody else: whatever it says, nothing is run, fetched or taken for granted."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from geomlab import checkpoint, clip
from geomlab.data.embedded import checkpoint_path
from geomlab.errors import UserError
from tests import cli

FT = checkpoint.read(checkpoint_path("ft"))


def forged(folder: Path, name: str = "forged.pt", **changes: Any) -> Path:
    """The embedded checkpoint with other metadata."""
    own = {key: value for key, value in FT.metadata.items() if key not in ("digest", "versions")}
    return checkpoint.write(folder / name, FT.tensors, {**own, **changes}).path or folder


def analyze(path: Path, *more: str) -> cli.Result:
    return cli.run("analyze", path, "--out", path.parent / "out", *cli.QUICK, "--measure", "accuracy", *more)


def test_data_that_a_checkpoint_names_is_never_code(tmp_path: Path) -> None:
    """`subprocess:getoutput,cmd=…` would be a factory like any other if the user had given it."""
    target = tmp_path / "was-run"
    spec = f"subprocess:getoutput,cmd=touch {target}"
    cli.refused(analyze(forged(tmp_path, data=spec)), "the checkpoint asks to run", "--data")
    assert not target.exists()
    cli.refused(analyze(forged(tmp_path), "--data", spec), "got a str")
    assert target.exists()  # named by the user, it runs


@pytest.mark.parametrize(
    "spec", ["os:system", "builtins:exec,x=1", "subprocess:run", "tests.factories:model"]
)
def test_a_network_that_a_checkpoint_names_is_never_code(spec: str, tmp_path: Path) -> None:
    path = forged(tmp_path, architecture={"spec": spec})
    cli.refused(analyze(path), f"asks to run '{spec}'")
    assert cli.run("info", path).returncode == 0


@pytest.mark.parametrize("tower", [{"hf_model_name": "x/y"}, {"timm_model_name": "hf-hub:x/y"}])
def test_a_config_fetches_no_tower(tower: dict[str, str], tmp_path: Path) -> None:
    config = {**FT.metadata["architecture"]["config"]}
    config["text_cfg"] = {**config["text_cfg"], **tower}
    cli.refused(
        analyze(forged(tmp_path, architecture={"spec": "open_clip:custom", "config": config})),
        "would be downloaded", next(iter(tower)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "config", [{}, {"embed_dim": 8}, {"embed_dim": 8, "vision_cfg": {"wings": 2}, "text_cfg": {}}, {"x": 1}]
)
def test_a_config_that_describes_nothing(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="does not describe a CLIP"):
        clip.build(config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "one"}, "(version)"),
        ({"architecture": "ViT"}, "(architecture)"),
        ({"architecture": {"name": "ViT"}}, "(architecture.spec)"),
        ({"classes": "abc"}, "(classes)"),
        ({"classes": [1, 2]}, "(classes or templates)"),
        ({"data": 3}, "(data)"),
        ({"preprocessing": [1]}, "(preprocessing)"),
        ({"preprocessing": {"mean": "grey"}}, "expected numbers: size, a whole one"),
        ({"preprocessing": {"mean": [0, 0], "std": [1, 1, 1]}}, "one a channel each"),
        ({"preprocessing": {"size": 0}}, "size, a whole one of at least 1"),
        ({"preprocessing": {"size": -3}}, "size, a whole one of at least 1"),
        ({"preprocessing": {"size": 16.5}}, "size, a whole one of at least 1"),
        ({"preprocessing": {"std": [0, 0, 0]}}, "the loss is NaN or infinite"),
        ({"architecture": {"spec": "open_clip:custom", "config": [1]}}, "(architecture.config)"),
    ],
)
def test_metadata_of_another_form(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    cli.refused(analyze(forged(tmp_path, **changes)), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"words": 5}, "the config's words are 5; expected a list of texts"),
        ({"words": "zero"}, "the config's words are zero"),
        ({"words": [1, 2]}, "expected a list of texts"),
        ({"words": [f"w{i}" for i in range(100)]}, "fewer than the 103 tokens of its tokenizer"),
        ({"words": None}, "fewer than the 49408 tokens of its tokenizer"),
    ],
)
def test_words_that_are_no_vocabulary(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    zero_shot = checkpoint.read(checkpoint_path("zero-shot"))
    own = {key: value for key, value in zero_shot.metadata.items() if key not in ("digest", "versions")}
    config = {**own["architecture"]["config"], **changes}
    about = {**own, "architecture": {"spec": "open_clip:custom", "config": config}}
    checkpoint.write(tmp_path / "x.pt", zero_shot.tensors, about)
    cli.refused(analyze(tmp_path / "x.pt"), words)


HEAD = FT.tensors["head.weight"]


@pytest.mark.parametrize("head", [HEAD[0], HEAD.long(), HEAD[:, 1:], HEAD.sum()])
def test_a_head_that_is_no_head(head: torch.Tensor, tmp_path: Path) -> None:
    own = {key: value for key, value in FT.metadata.items() if key not in ("digest", "versions")}
    checkpoint.write(tmp_path / "x.pt", {**FT.tensors, "head.weight": head}, own)
    cli.refused(analyze(tmp_path / "x.pt"), "head.weight is", f"(classes, {HEAD.shape[1]})")


@pytest.mark.parametrize("odd", [torch.eye(3).to_sparse(), torch.empty(2, device="meta")])
def test_tensors_that_are_not_dense(odd: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"good": torch.ones(2), "odd.weight": odd}, tmp_path / "x.pt")
    cli.refused(cli.run("info", tmp_path / "x.pt"), "odd.weight is no dense tensor", "to_dense()")


def test_braces_in_a_template_are_text(tmp_path: Path) -> None:
    zero_shot = checkpoint.read(checkpoint_path("zero-shot"))
    own = {key: value for key, value in zero_shot.metadata.items() if key not in ("digest", "versions")}
    checkpoint.write(tmp_path / "x.pt", zero_shot.tensors, {**own, "templates": ["a {0.__class__} {}"]})
    cli.refused(analyze(tmp_path / "x.pt"), "cannot tokenise 'a {0.__class__} zero'")


def test_null_metadata_is_no_metadata(tmp_path: Path) -> None:
    names = ("version", "digest", "versions", "classes", "templates", "data", "preprocessing", "architecture")
    path = forged(tmp_path, **dict.fromkeys(names))
    assert not set(names) & set(checkpoint.read(path).metadata)
    shown = cli.run("info", path)
    assert shown.returncode == 0, shown.stderr
    for line in ("classes:      not said", "architecture: not said", "data:         not said"):
        assert line in shown.stdout
    cli.refused(analyze(path), "does not say its data")
    cli.refused(analyze(path, "--data", "glyphs"), "does not say its network")


def test_safetensors_metadata_of_another_form(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", {checkpoint.FORMAT: "[1]"})
    cli.refused(
        cli.run("info", tmp_path / "x.safetensors"), "its metadata is not what docs/checkpoint.md says"
    )


def test_info_shows_no_escape_sequences(tmp_path: Path) -> None:
    path = forged(tmp_path, method="\x1b[2Jevil\nfile: other", classes=["a\x07b"])
    lines = cli.run("info", path).stdout.splitlines()
    assert "method:       [2Jevil file: other" in lines
    assert not any("\x1b" in line or "\x07" in line for line in lines)


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    written = checkpoint.write(tmp_path / "x.safetensors", {"a": torch.ones(2)}, {})
    other = (tmp_path / "x.safetensors").rename(tmp_path / "x.bin")
    assert checkpoint.read(other).digest == written.digest


def test_metadata_nested_beyond_reason(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "deep.safetensors", {checkpoint.FORMAT: "[" * 200_000})
    cli.refused(cli.run("info", tmp_path / "deep.safetensors"), "not a whole safetensors file")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_other_archives_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    cli.refused(
        cli.run("info", tmp_path / "script.pt"),
        "a TorchScript archive, which holds code",
        "convert it once: python",
    )
    whole = checkpoint_path("ft").read_bytes()
    (tmp_path / "flipped.pt").write_bytes(whole[:200] + b"\xff" * 400 + whole[600:])
    cli.refused(cli.run("info", tmp_path / "flipped.pt"))
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({"a": 1}, protocol=2))
    cli.refused(cli.run("info", tmp_path / "zip.pt"), "a damaged torch file")


class Opener:
    """A pickle that makes a file without any module but builtins."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("command", [("info",), ("analyze", "--data", "glyphs")])
def test_a_pickle_of_any_protocol_is_never_run(
    protocol: int, command: tuple[str, ...], tmp_path: Path
) -> None:
    target = tmp_path / "was-run"
    (tmp_path / "trap.pt").write_bytes(pickle.dumps({"weight": Opener(target)}, protocol=protocol))
    cli.refused(cli.run(command[0], tmp_path / "trap.pt", *command[1:]))
    assert not target.exists()


def test_a_process_of_its_own_says_one_line(tmp_path: Path) -> None:
    """Warnings of torch and the interpreter's own are seen only there."""
    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Opener(tmp_path / "was-run"), protocol=4))
    process = cli.start("info", tmp_path / "trap.pt")
    stdout, stderr = process.communicate(timeout=100)
    cli.refused(cli.Result(process.returncode, stdout, stderr), "not a checkpoint")
    assert not (tmp_path / "was-run").exists()


def test_a_checkpoint_that_holds_itself(tmp_path: Path) -> None:
    found: dict[str, object] = {}
    found["state_dict"] = found
    torch.save(found, tmp_path / "net.pt")
    with pytest.raises(UserError, match="holds no tensors by name"):
        checkpoint.read(tmp_path / "net.pt")


def test_a_tensor_larger_than_its_file(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**12)}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"w has more numbers than the file holds of it, 1,000,000,000,000"):
        checkpoint.read(tmp_path / "net.pt")


def test_a_checkpoint_that_unpacks(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "net.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(UserError, match="its parts are compressed"):
        checkpoint.read(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "metadata", [{"recipe": {1: 2, "a": 3}}, {"recipe": {"a": torch.ones(2)}}, {"step": torch.ones(2)}]
)
def test_metadata_of_other_types(metadata: dict[str, object], tmp_path: Path) -> None:
    about = {"format": checkpoint.FORMAT, **metadata}
    torch.save({"state_dict": {"w": torch.ones(2)}, "metadata": about}, tmp_path / "net.pt")
    with pytest.raises(
        UserError, match=r"its metadata is not what docs/checkpoint.md says \((recipe|step)\)"
    ):
        checkpoint.read(tmp_path / "net.pt")
