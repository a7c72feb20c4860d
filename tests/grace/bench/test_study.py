import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geomlab import checkpoint
from geomlab.data import embedded
from geomlab.errors import UserError
from grace import loop
from grace.bench import cells
from grace.bench.judge import drift
from grace.bench.plan import Request
from grace.bench.study import bench
from grace.outputs import Files

pytestmark = pytest.mark.usefixtures("weak")
RequestOf = Callable[..., Request]
FIXED = "ft:optimisation.max_steps=2"  # a second method without the adversarial examples' cost


def quiet(text: str) -> None:
    """Take a line, print nothing."""


def listed(out: Path) -> Any:
    return json.loads((out / "bench.json").read_text())


def never(*_: object, **__: object) -> None:
    raise AssertionError("this was done already")


def test_every_cell_is_trained_from_the_start_and_judged_as_written(
    request_of: RequestOf, tmp_path: Path
) -> None:
    said: list[str] = []
    table = bench(request_of("ft,grace:rho=0.1", seeds=2), tmp_path, said.append)
    found = listed(tmp_path)
    assert [(row["method"], row["seed"], row["steps"]) for row in found] == [
        *(("ft", 0, 3), ("ft", 1, 3), ("grace:rho=0.1", 0, 3), ("grace:rho=0.1", 1, 3))
    ]
    assert len(said) == 4
    assert said[0].startswith(f"ft, seed 0: ID {found[0]['id']:.3f}  OOD {found[0]['ood']:.3f}  Adv ")
    zero_shot = checkpoint.read(embedded.checkpoint_path("zero-shot"))
    written = checkpoint.read(tmp_path / "runs" / "grace.rho=0.1-1" / "grace.pt")
    assert written.metadata["recipe"]["options"]["rho"] == 0.1
    assert written.metadata["initial"] == zero_shot.digest
    assert (written.metadata["seed"], found[3]["digest"]) == (1, written.digest)
    assert found[3]["drift"] == pytest.approx(drift(zero_shot.tensors, written.tensors))
    assert found[3]["cost_ratio"] == pytest.approx(
        found[3]["seconds_per_step"] / found[1]["seconds_per_step"]
    )
    assert (tmp_path / "bench.txt").read_text() == f"{table}\n"
    assert (tmp_path / "bench.csv").read_text() == table.to_csv()
    assert (tmp_path / "bench.tex").read_text() == table.to_latex()
    assert "20 samples a condition" in table.caption
    assert "ε = 8/255" in table.caption


def test_what_is_there_is_not_done_again(
    request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(request_of(f"ft,{FIXED}"), tmp_path, quiet)
    before = listed(tmp_path)
    folder = tmp_path / "runs" / "ft-0"
    monkeypatch.setattr(loop, "fit", never)
    (tmp_path / "bench.json").unlink()
    (folder / "result.json").unlink()  # stopped after training, before it was judged,
    (folder / "ft.jsonl").rename(folder / "ft.jsonl.part")  # and before the metrics had their name
    bench(request_of(f"ft,{FIXED}"), tmp_path, quiet)
    assert listed(tmp_path) == before
    assert not (folder / "ft.jsonl.part").exists()
    monkeypatch.setattr(cells, "_find", never)
    bench(request_of(f"ft,{FIXED}"), tmp_path, quiet)
    assert listed(tmp_path) == before


def test_files_of_a_run_that_ended_between_two_of_them_are_no_hindrance(
    request_of: RequestOf, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "grace-0"
    folder.mkdir(parents=True)
    (folder / "grace.adapters.pt").write_bytes(b"whole, but without the checkpoint")
    (folder / ".writing-ab12").write_bytes(b"half")
    bench(request_of("grace"), tmp_path, quiet)
    assert checkpoint.read(folder / "grace.adapters.pt").metadata["adapters"]["scale"] == 1
    assert not (folder / ".writing-ab12").exists()


def test_a_network_that_no_seed_changes_is_judged_once(
    request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []
    judge = cells._judge

    def count(cell: cells.Cell, trained: checkpoint.Checkpoint) -> dict[str, Any]:
        judged.append(cell.seed)
        return judge(cell, trained)

    monkeypatch.setattr(cells, "_judge", count)
    monkeypatch.setattr(cells.Cell, "takes_steps", False)
    monkeypatch.setattr(loop, "train", lambda *_, **options: _copy(tmp_path, options["seed"]))
    bench(request_of("ft", seeds=3), tmp_path, quiet)
    assert judged == [0, 2]  # the second is the first
    found = listed(tmp_path)
    assert found[0]["accuracy"] == found[1]["accuracy"]
    assert found[0]["digest"] == found[1]["digest"] != found[2]["digest"]


def _copy(out: Path, seed: int) -> None:
    """Pretend to have trained: the embedded checkpoint, the other one for seed 2."""
    found = checkpoint.read(embedded.checkpoint_path("zero-shot" if seed == 2 else "ft"))
    written = Files(out / "runs" / f"ft-{seed}", "ft")
    about = {key: value for key, value in found.metadata.items() if key not in ("digest", "versions")}
    checkpoint.write(written.checkpoint, found.tensors, about | {"step": 0})


def test_another_bench_is_not_mixed_in_or_replaced_unasked(request_of: RequestOf, tmp_path: Path) -> None:
    bench(request_of("ft"), tmp_path, quiet)
    result = (tmp_path / "runs" / "ft-0" / "result.json").read_text()
    for changes, message in [
        (
            {"samples": 10},
            r"ft-0/result\.json is of another run \(judge\.samples is 20, here 10\); .*--overwrite",
        ),
        ({"initial": "embedded:ft"}, r"ft-0/result\.json is of another run \(initial is "),
    ]:
        with pytest.raises(UserError, match=message):
            bench(request_of("ft", **changes), tmp_path, quiet)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"another run \(recipe\.optimisation\.lr is \S+, here 0\.1\)"):
        bench(request_of("ft", "optimisation.lr=0.1"), tmp_path, quiet)
    with pytest.raises(UserError, match=r"bench\.json lists ft, seed 0, which is not asked for here; add it"):
        bench(request_of(FIXED), tmp_path, quiet)
    assert (tmp_path / "runs" / "ft-0" / "result.json").read_text() == result
    bench(request_of("ft", samples=10, overwrite=True), tmp_path, quiet)
    assert listed(tmp_path)[0]["n"]["clean"] == 10


def test_what_cannot_begin_is_refused_before_the_first_is_trained(
    request_of: RequestOf, tmp_path: Path
) -> None:
    for last, message in [
        ("tpgm:data.validation=0", r"tpgm:data\.validation=0: tpgm learns its radii on held-back samples"),
        ("ft:optimisation.warmup=9999", r"ft:optimisation\.warmup=9999: a warm-up of 9999 steps takes all"),
        ("fare:attack.start=clean", "fare:attack.start=clean: .*random"),
        ("lora-ft:lora.targets=zzz", "lora-ft:lora.targets=zzz: lora.targets 'zzz' finds none of"),
        ("wise-ft:finetuned=nope.pt", r"wise-ft:finetuned=nope\.pt: nope\.pt"),
    ]:
        with pytest.raises(UserError, match=message):
            bench(request_of(f"ft,{last}"), tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_a_run_that_diverges_does_not_keep_the_others_from_it(request_of: RequestOf, tmp_path: Path) -> None:
    broken = "ft:optimisation.lr=1e30"
    said: list[str] = []
    with pytest.raises(
        UserError, match=r"lr=1e30, seed 0: step 1: .* \(1 of 2 runs diverged, the others are"
    ):
        bench(request_of(f"{broken},{FIXED}"), tmp_path, said.append)
    assert said[0].startswith(f"{broken}, seed 0: step 1: ")
    assert said[1].startswith(f"{FIXED}, seed 0: ID ")
    assert not (tmp_path / "bench.json").exists()
    bench(request_of(FIXED), tmp_path, quiet)
    assert [row["method"] for row in listed(tmp_path)] == [FIXED]


def test_a_checkpoint_of_another_run_is_not_judged(request_of: RequestOf, tmp_path: Path) -> None:
    bench(request_of("ft"), tmp_path, quiet)
    (tmp_path / "runs" / "ft-0" / "result.json").unlink()
    with pytest.raises(UserError, match=r"ft, seed 0: .*ft\.pt is of another run \(recipe\.optimisation\.lr"):
        bench(request_of("ft", "optimisation.lr=0.1"), tmp_path, quiet)


def test_metrics_that_cannot_be_read_are_refused(request_of: RequestOf, tmp_path: Path) -> None:
    bench(request_of("ft"), tmp_path, quiet)
    folder = tmp_path / "runs" / "ft-0"
    (folder / "result.json").unlink()
    (folder / "ft.jsonl").write_text('{"seconds": 1')
    with pytest.raises(UserError, match=r"ft, seed 0: .*ft\.jsonl: not the metrics of a run; --overwrite"):
        bench(request_of("ft"), tmp_path, quiet)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"result\.json: cannot be read \(.*\); --overwrite to begin anew"),
        ("[]", r"result\.json: no result that this version can read; --overwrite"),
        ('{"schema": 1}', r"result\.json: no result that this version can read; --overwrite"),
        (
            json.dumps(dict.fromkeys(cells._KEYS) | {"schema": 1}),
            r"result\.json: no result that this version can read; --overwrite",
        ),
    ],
)
def test_a_damaged_result_is_refused(
    request_of: RequestOf, tmp_path: Path, content: str, message: str
) -> None:
    folder = tmp_path / "runs" / "ft-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    with pytest.raises(UserError, match=message):
        bench(request_of("ft"), tmp_path, quiet)


@pytest.mark.parametrize("content", ["{", '[{"method": null, "seed": null}]', '[{"method": "ft"}]'])
def test_a_damaged_list_is_refused(request_of: RequestOf, tmp_path: Path, content: str) -> None:
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match=r"bench\.json: no list of a bench; choose another --out"):
        bench(request_of("ft"), tmp_path, quiet)


def test_data_of_one_domain_without_test_data(request_of: RequestOf, tmp_path: Path) -> None:
    own = request_of("ft", data="tests.factories:digits", initial="embedded:zero-shot")
    table = bench(own, tmp_path, quiet)
    row = listed(tmp_path)[0]
    assert (row["ood"], row["harmonic_mean"]) == (None, None)
    assert "OOD and the harmonic mean are not defined: the data has one domain." in table.caption
    assert "There is no test data: ID and Adv are of the samples trained on." in table.caption
    assert "ε = 4/255" in table.caption


def test_held_back_samples_are_judged_on_when_asked(request_of: RequestOf, tmp_path: Path) -> None:
    table = bench(request_of("ft", held_back=True, samples=None), tmp_path, quiet)
    assert set(listed(tmp_path)[0]["n"].values()) == {131}
    assert "on glyphs:split=train, the 10% held back from training (131 samples a condition)" in table.caption
    assert "no test data" not in table.caption
    with pytest.raises(UserError, match="--held-back: these recipes hold no samples back"):
        bench(request_of("ft", "data.validation=0", held_back=True), tmp_path, quiet)


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        ("ft", {"budget": "paper"}, "no budget 'paper' for this data; there is quick, standard"),
        ("ft", {"data": "glyph"}, "no data source 'glyph'"),
        ("ft", {"data": "tests.factories:digits"}, "has nothing to start from; give --from CKPT"),
        ("ft", {"initial": "open_clip:ViT-B-32"}, "has random weights; .* add ,pretrained=TAG"),
        ("ft", {"initial": "none.pt"}, "none.pt: cannot read the checkpoint"),
        ("ft,ft:data.initial=x", {}, "data.initial is embedded:zero-shot for ft and x for ft:data.initial=x"),
        ("ft,ft:data.test=glyphs:split=all", {}, "data.test is glyphs for ft and glyphs:split=all for ft:"),
        ("ft:optimisation.lr=1e30,optimisation.warmup=0", {}, "seed 0: step [12]: loss .*lower optimisation"),
    ],
)
def test_what_cannot_be_is_refused(
    request_of: RequestOf, tmp_path: Path, methods: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        bench(request_of(methods, **changes), tmp_path, quiet)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_refused(request_of: RequestOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/out: cannot be used as --out \(Not a directory\)"):
        bench(request_of("ft"), tmp_path / "file" / "out", quiet)


def test_the_package_is_missed_before_anything_is_trained(
    request_of: RequestOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells.loop, "train", never)
    monkeypatch.setattr("grace.bench.apgd.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'geomlab\[bench\]'"):
        bench(request_of("ft"), tmp_path, quiet)
