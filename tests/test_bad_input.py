"""Bad input ends in one line, status 2, and nothing lost."""

import os
import pickle
import shlex
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from geomlab import checkpoint, params
from geomlab.data.embedded import checkpoint_path
from tests import cli, factories

pytestmark = pytest.mark.usefixtures("undrawn")

FT = checkpoint_path("ft")
MODEL = ("--model", "tests.factories:model")
DATA = ("--data", "tests.factories:data")


class Trap:
    """A pickle that writes a file when it is loaded without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"echo run > {self.target}",)


def bad_file(kind: str, folder: Path) -> Path:
    path = folder / "bad.pt"
    match kind:
        case "missing":
            pass
        case "empty":
            path.touch()
        case "truncated":
            path.write_bytes(FT.read_bytes()[:50_000])
        case "text":
            path.write_text("these are not weights\n")
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("hello.txt", "hello")
        case "directory":
            path.mkdir()
        case "list":
            torch.save([torch.ones(2)], path)
        case "no tensors":
            torch.save({"epoch": 3}, path)
        case "safetensors":
            path = folder / "bad.safetensors"
            path.write_bytes(b"\x10\x00\x00")
        case "damaged":
            saved = torch.load(FT, weights_only=True)
            saved["state_dict"]["head.weight"][0, 0] += 1
            torch.save(saved, path)
        case "newer":
            saved = torch.load(FT, weights_only=True)
            saved["metadata"]["version"] = 99
            torch.save(saved, path)
    return path


FILES = {
    "missing": "No such file",
    "empty": "the file is empty",
    "truncated": "truncated or damaged",
    "text": "not a checkpoint",
    "zip": "a zip archive that torch.save did not write",
    "directory": "Is a directory",
    "list": "holds a list, not a state_dict",
    "no tensors": "holds no tensors by name",
    "safetensors": "not a whole safetensors file",
    "damaged": "do not match the digest",
    "newer": "version 99 is newer",
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_checkpoint(kind: str, tmp_path: Path) -> None:
    path, out = bad_file(kind, tmp_path), tmp_path / "out"
    cli.refused(cli.run("analyze", path, "--out", out, *MODEL, *DATA), str(path), FILES[kind])
    assert not out.exists()


@pytest.mark.parametrize("command", [("analyze", *MODEL, *DATA), ("info",)])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_carries_code_is_never_run(
    command: tuple[str, ...], writer: str, tmp_path: Path
) -> None:
    path, target = tmp_path / "trap.pt", tmp_path / "was-run"
    if writer == "torch":
        torch.save({"state_dict": Trap(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(target), protocol=2))
    cli.refused(cli.run(command[0], path, *command[1:]), "would run code", "convert it once")
    assert not target.exists()
    # The trap does work where somebody lets it.
    if writer == "torch":
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert target.exists()


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_a_whole_module_is_refused_with_its_conversion(
    key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that is offered works as it is, whatever the folder is called."""
    (tmp_path / "it's mine").mkdir()
    path = tmp_path / "it's mine" / "module.pt"
    network = factories.model()
    whole = (
        {"state_dict": network.state_dict(), "args": Namespace(lr=1)}
        if key == "state_dict"
        else {key: network}
    )
    torch.save(whole if key else network, path)
    result = cli.run("info", path)
    cli.refused(result, "would run code", "convert it once: python -c ")
    _, program, code, source, target = shlex.split(result.stderr.partition("convert it once: ")[2])
    assert (program, source) == ("-c", str(path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["-c", source, target])
    exec(code, {})
    assert checkpoint.read(target).digest == params.digest(network.state_dict())


def test_a_checkpoint_cannot_name_code_to_run(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    metadata = {"architecture": {"spec": "tests.factories:model"}, "data": "glyphs"}
    checkpoint.write(path, factories.model().state_dict(), metadata)
    cli.refused(cli.run("analyze", path, "--out", tmp_path / "out"), "name it yourself: --model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*DATA,), ("does not say its network", "--model")),
        ((*MODEL,), ("does not say its data", "--data")),
        ((*MODEL, "--data", "nowhere"), ("no data source 'nowhere'", "glyphs", "folder:ROOT")),
        ((*MODEL, "--data", "glyphs:split=half"), ("no split 'half'", "train, test")),
        ((*MODEL, "--data", "folder:/does/not/exist"), ("no folder /does/not/exist",)),
        ((*MODEL, "--data", "folder:"), ("'folder:': says no folder; write folder:ROOT",)),
        (
            (*MODEL, "--data", "tests.nothing:data"),
            ("no module tests.nothing", "a data source is one of glyphs"),
        ),
        (
            (*DATA, "--model", "tests.nothing:net"),
            ("no module tests.nothing", "a model is one of open_clip:NAME"),
        ),
        (
            (*MODEL, "--data", "domains:/a,b"),
            ("cannot read 'b'", "is written \\, or \\= (the SPEC in quotes)"),
        ),
        ((*MODEL, "--data", "folder:/a/lr=1"), ("unknown option /a/lr", "is written \\, or \\=")),
        ((*MODEL, "--data", "imagenet:/does/not/exist"), ("no folder /does/not/exist",)),
        ((*MODEL, "--data", "imagenet:/x,size=9"), ("unknown option size", "takes: split")),
        ((*MODEL, "--data", "tests.factories:none"), ("no callable 'none'",)),
        ((*MODEL, "--data", "tests.factories:nothing"), ("got a NoneType", "images N,C,H,W")),
        ((*MODEL, "--data", "tests.factories:broken"), ("no weights here",)),
        ((*MODEL, "--data", "tests.factories:outside"), ("labels [3, 4, 5, 6, 7]", "head of 3 classes")),
        ((*MODEL, "--data", "tests.factories:unscaled"), ("expected [0, 1]",)),
        ((*MODEL, "--data", "tests.factories:not_finite"), ("1 of 20 images", "NaN")),
        ((*MODEL, "--data", "tests.factories:uneven"), ("(24, 3, 4, 4)", "(23,)")),
        ((*MODEL, "--data", "tests.factories:larger"), ("cannot take 2 images of shape (3, 7, 7)",)),
        ((*MODEL, "--data", "tests.factories:fractional"), ("not whole numbers",)),
        ((*DATA, "--model", "tests.factories:nothing"), ("expected an nn.Module",)),
        ((*DATA, "--model", "tests.factories:broken"), ("no weights here",)),
        ((*DATA, "--model", "timm:no_such_net"), ("timm has no model 'no_such_net'",)),
        ((*DATA, "--model", "torchvision:no_such_net"), ("torchvision has no model",)),
        ((*DATA, "--model", "open_clip:no-such-net"), ("open_clip has no model",)),
        ((*DATA, "--model", "timm:resnet10t"), ("the weights do not fit", "missing", "more")),
        ((*MODEL, *DATA, "--condition", "fog"), ("no condition 'fog'", "clean", "corruption:")),
        ((*MODEL, *DATA, "--condition", "domain:moon"), ("has the domains",)),
        ((*MODEL, *DATA, "--memory", "1e300"), ("expected --memory in GiB", "1e+300")),
        ((*MODEL, *DATA, "--condition", "corruption:haze"), ("there are the corruptions gaussian_noise",)),
        ((*MODEL, *DATA, "--condition", "corruption:gaussian_noise,severity=9"), ("severity is 1 to 5",)),
        ((*MODEL, *DATA, "--condition", "pgd:eps=x"), ("eps must be a number",)),
        ((*MODEL, *DATA, "--condition", "pgd:eps=-1/255"), ("eps must be a number",)),
        ((*MODEL, *DATA, "--condition", "pgd:step=0"), ("step must be above 0", "2.5·eps/steps")),
        ((*MODEL, *DATA, "--condition", "pgd:epsilon=1"), ("unknown option epsilon", "eps, steps")),
        ((*MODEL, *DATA, "--condition", "clean", "--condition", "clean"), ("given twice",)),
        ((*MODEL, *DATA, "--measure", "beauty"), ("no measure 'beauty'", "accuracy, curvature")),
        ((*MODEL, *DATA, "--measure", ""), ("no measure ''", "accuracy, curvature")),
        (
            (*MODEL, *DATA, "--measure", "accuracy,features", "--direction", "gradient"),
            ("--direction changes nothing of accuracy, features", "add landscape to --measure"),
        ),
        (
            (*MODEL, *DATA, "--measure", "landscape", "--matrix", "gauss-newton"),
            ("--matrix changes nothing",),
        ),
        ((*MODEL, *DATA, "--measure", "curvature", "--attack", "anew"), ("--attack changes nothing",)),
        (
            (*MODEL, *DATA, "--measure", "curvature", "--trajectory", str(FT)),
            ("--trajectory changes nothing",),
        ),
        (
            (*MODEL, *DATA, "--measure", "landscape", "--direction", "random:none,length=1e149"),
            ("a step of 1e+149 is too long for numbers", "shorter length"),
        ),
        ((*MODEL, *DATA, "--budget", "huge"), ("no budget 'huge'", "quick, standard, paper")),
        ((*MODEL, *DATA, "--dtype", "bf16"), ("no dtype 'bf16'", "float32, float64")),
        ((*MODEL, *DATA, "--params", "lora"), ("selects none of the 4 parameters",)),
        ((*MODEL, *DATA, "--params", ""), ("--params '' says no parameters", "give full")),
        ((*MODEL, *DATA, "--params", "("), ("not a regular expression",)),
        ((*MODEL, *DATA, "--layers", "nowhere"), ("selects no layer",)),
        ((*MODEL, *DATA, "--samples", "1"), ("at least 2 samples",)),
        ((*MODEL, *DATA, "--samples", "many"), ("--samples", "integer")),
        ((*MODEL, *DATA, "--colour", "red"), ("--colour",)),
        ((*MODEL, *DATA, "--reference", "nowhere.pt"), ("nowhere.pt", "No such file")),
    ],
)
def test_options_that_do_not_fit(
    arguments: tuple[str, ...], words: tuple[str, ...], weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cli.refused(
        cli.run("analyze", weights, "--out", out, "--budget", "quick", "--samples", "20", *arguments), *words
    )
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_asked_for_and_absent() -> None:
    cli.refused(cli.run("analyze", FT, "--device", "cuda"), "--device 'cuda' cannot be used here")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    read = checkpoint.read(FT)
    tensors = {name: tensor.clone() for name, tensor in read.tensors.items()}
    tensors["visual.conv1.weight"][0, 0, 0, 0] = value
    metadata = {name: fact for name, fact in read.metadata.items() if name not in ("digest", "versions")}
    checkpoint.write(path, tensors, metadata)
    cli.refused(cli.run("analyze", path, "--out", tmp_path / "out"), "visual.conv1.weight holds 1 values")


def test_a_loss_that_overflows(tmp_path: Path) -> None:
    path = tmp_path / "huge.pt"
    state = {name: torch.full_like(w, 1e3) for name, w in factories.model().state_dict().items()}
    state["3.weight"].fill_(3e38)  # times tanh of a large number, six times over: infinite for every sample
    torch.save(state, path)
    result = cli.run("analyze", path, *MODEL, *DATA, *cli.QUICK, "--out", tmp_path / "out")
    cli.refused(result, "the loss is NaN or infinite", "float64")


@pytest.fixture(scope="module")
def done(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results."""
    out = tmp_path_factory.mktemp("done") / "out"
    result = cli.run("analyze", weights, *MODEL, *DATA, *cli.QUICK, "--measure", "accuracy", "--out", out)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("holds results already", "--resume", "--overwrite")),
        (("--resume", "--seed", "1"), ("was begun with seed 0 (now 1)",)),
        (("--overwrite", "--data", "tests.factories:unscaled"), ("expected [0, 1]",)),
        (("--overwrite", "--condition", "fog"), ("no condition 'fog'",)),
    ],
)
def test_results_that_are_there_stay_as_they_are(
    arguments: tuple[str, ...], words: tuple[str, ...], weights: Path, done: Path
) -> None:
    before = cli.snapshot(done)
    result = cli.run(
        "analyze", weights, *MODEL, *DATA, *cli.QUICK, "--measure", "accuracy", "--out", done, *arguments
    )
    cli.refused(result, *words)
    assert cli.snapshot(done) == before


def test_results_of_another_checkpoint_are_not_gone_on_with(
    weights: Path, done: Path, tmp_path: Path
) -> None:
    other = tmp_path / "weights.pt"
    torch.save({name: tensor + 1 for name, tensor in torch.load(weights, weights_only=True).items()}, other)
    before = cli.snapshot(done)
    result = cli.run("analyze", other, *MODEL, *DATA, *cli.QUICK, "--resume", "--out", done)
    cli.refused(result, "holds results of another checkpoint")
    assert cli.snapshot(done) == before


@pytest.mark.parametrize("flag", [(), ("--overwrite",), ("--resume",)])
def test_a_folder_with_other_files_is_not_touched(
    flag: tuple[str, ...], weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    result = cli.run("analyze", weights, *MODEL, *DATA, *cli.QUICK, "--out", tmp_path, *flag)
    cli.refused(result, "holds other files (thesis.tex)")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_written(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder would be needed")
    for out in (tmp_path / "file" / "out", Path("/proc/geomlab-out")):
        cli.refused(cli.run("analyze", weights, *MODEL, *DATA, *cli.QUICK, "--out", out), str(out))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(weights: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = cli.run("analyze", weights, *MODEL, *DATA, *cli.QUICK, "--out", tmp_path / "out")
    cli.refused(result, "no permission to write")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("figures", "/does/not/exist"), ("no results of geomlab there",)),
        (("compare",), ("DIR",)),
        (("analyze",), ("CKPT",)),
        (("paint",), ("paint",)),
    ],
)
def test_other_commands(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli.refused(cli.run(*arguments), *words)


def test_one_checkpoint_is_nothing_to_compare(done: Path, tmp_path: Path) -> None:
    cli.refused(cli.run("compare", done, "--out", tmp_path / "out"), "at least two to compare")
