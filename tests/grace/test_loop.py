import json
import math
from pathlib import Path

import pytest
import torch

from geomlab import checkpoint, subject
from geomlab.architectures import Labels
from geomlab.checkpoint import Checkpoint
from geomlab.data import embedded
from geomlab.data.arrays import Arrays
from geomlab.errors import UserError
from grace import loop
from grace import model as models
from grace.loop import Conduct
from grace.optimise import learning_rate, make_optimiser
from grace.recipe import compose
from grace.settings import Optimisation

SHORT = ("optimisation.max_steps=3", "optimisation.batch_size=32", "optimisation.warmup=1")


def train(out: Path, method: str = "clip", *settings: str, **options: object) -> Checkpoint:
    return loop.train(compose(method, settings=[*SHORT, *settings]), out, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["clip", "ft"])
def test_the_same_command_gives_the_same_checkpoint(tmp_path: Path, method: str) -> None:
    first = train(tmp_path / "a", method)
    torch.rand(3, generator=torch.Generator().manual_seed(1))
    again, other = train(tmp_path / "b", method), train(tmp_path / "c", method, seed=1)
    assert first.digest == again.digest
    assert first.sha256 == again.sha256
    assert first.digest != other.digest


def test_the_checkpoint_says_everything_of_itself(tmp_path: Path) -> None:
    written = train(tmp_path, "ft", seed=4)
    about = checkpoint.read(tmp_path / "ft.pt").metadata
    zero_shot = checkpoint.read(embedded.checkpoint_path("zero-shot"))
    assert about["architecture"] == zero_shot.metadata["architecture"]
    assert about["preprocessing"] == {"size": 16, "mean": [0.5], "std": [0.25]}
    assert about["classes"][3] == "three"
    assert "a photo of the digit {}" in about["templates"]
    assert about["logit_scale"] == pytest.approx(zero_shot.metadata["logit_scale"])
    assert (about["data"], about["method"], about["step"], about["seed"]) == ("glyphs", "ft", 3, 4)
    assert about["recipe"] == compose("ft", settings=SHORT).model_dump(mode="json")
    assert about["initial"] == zero_shot.digest
    assert set(written.tensors) == {*zero_shot.tensors, "head.weight"}
    assert subject.load(written).classes == tuple(about["classes"])


def test_fine_tuning_leaves_the_text_tower_alone(tmp_path: Path) -> None:
    before, after = (
        checkpoint.read(embedded.checkpoint_path("zero-shot")).tensors,
        train(tmp_path, "ft").tensors,
    )
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) != name.startswith("visual."), name


def test_metrics_are_json_lines(tmp_path: Path) -> None:
    train(tmp_path, "clip", "optimisation.warmup=2")
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert line["loss"] == pytest.approx(line["image_to_text"] + line["text_to_image"], rel=1e-5)
    assert [line["lr"] for line in lines] == pytest.approx([5e-4, 1e-3, 1e-3])


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path: Path) -> None:
    settings = ("optimisation.lr=1e30", "optimisation.warmup=0")
    with pytest.raises(UserError, match=r"step [12]: loss (nan|inf).*lower optimisation\.lr"):
        train(tmp_path, "ft", *settings)
    assert not (tmp_path / "ft.pt").exists()


def test_an_earlier_run_is_not_overwritten_unasked(tmp_path: Path) -> None:
    kept = train(tmp_path)
    with pytest.raises(UserError, match=r"clip\.pt is there already; .*--overwrite"):
        train(tmp_path, seed=1)
    assert checkpoint.read(tmp_path / "clip.pt").digest == kept.digest
    train(tmp_path, "ft")  # another method has files of its own
    assert train(tmp_path, seed=1, conduct=Conduct(overwrite=True)).digest != kept.digest


def test_an_earlier_run_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    kept, metrics = train(tmp_path, "ft"), (tmp_path / "ft.jsonl").read_text()
    with pytest.raises(UserError, match="lower optimisation"):
        train(
            tmp_path, "ft", "optimisation.lr=1e30", "optimisation.warmup=0", conduct=Conduct(overwrite=True)
        )
    assert checkpoint.read(tmp_path / "ft.pt").digest == kept.digest
    assert (tmp_path / "ft.jsonl").read_text() == metrics
    train(tmp_path, "ft", seed=1, conduct=Conduct(overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ft.jsonl", "ft.pt"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        train(tmp_path / "file" / "run")


def test_training_on_test_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shares 597 samples with data\.test=glyphs"):
        loop.train(compose("ft", "glyphs:split=all"), tmp_path)


def test_test_data_that_cannot_be_opened_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nonsense"):
        train(tmp_path, "ft", "data.test=nonsense:x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ("none.pt", "cannot read the checkpoint"),
        ("embedded:best", "no embedded checkpoint 'best'; there are zero-shot, ft"),
        ("open_clip:ViT-Z", "open_clip has no model 'ViT-Z'"),
        (
            "open_clip:ViT-B-32,pretrained=best",
            "no pretrained tag 'best', and no such file; ViT-B-32 has openai",
        ),
    ],
)
def test_a_start_that_is_not_there_is_refused(tmp_path: Path, initial: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path, "ft", initial=initial)


def test_a_method_that_needs_a_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match=r"ft on folder:.* has nothing to start from; give --from CKPT"):
        loop.train(compose("ft", f"folder:{tmp_path / 'images'}"), tmp_path / "run")


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    settings = Optimisation(lr=2.0, weight_decay=0, warmup=4, clip_norm=1, batch_size=1, epochs=1)
    rates = [learning_rate(step, 24, settings) for step in range(24)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[14] == pytest.approx(1.0)
    assert rates[23] == pytest.approx(1 - math.cos(math.pi / 20))


def test_a_warm_up_that_takes_all_steps_is_refused(tmp_path: Path) -> None:
    settings = Optimisation(lr=1, weight_decay=0, warmup=500, clip_norm=1, batch_size=1, epochs=1)
    assert settings.steps(501) == 501
    for steps in (500, 150):
        with pytest.raises(
            UserError, match=f"500 steps takes all {steps} .* set optimisation.warmup .* to {steps // 10}"
        ):
            settings.steps(steps)
    with pytest.raises(UserError, match="warm-up of 3 steps takes all 3 steps"):
        train(tmp_path / "run", "ft", "optimisation.warmup=3")
    assert not (tmp_path / "run").exists()


SIDE = 16


def digits(side: int = SIDE, channels: int = 3, n: int = 24) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def spoiled() -> torch.Tensor:
    images = digits()
    images[7, 0, 0, 0] = torch.nan
    return images


LABELS = torch.arange(24) % 12 % 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((digits(), torch.arange(24) % 12), r"mine:data, id: labels \[10, 11\] are outside .* 10 classes"),
        ((digits(), LABELS - 1), r"mine:data, id: labels \[-1\] are outside the head of 10 classes"),
        ((digits(7), LABELS), r"mine:data: the network cannot take 1 image of shape \(3, 7, 7\)"),
        ((digits(channels=1), LABELS), r"mine:data: the network cannot take 1 image of shape \(1, 16, 16\)"),
        ((digits() * 255, LABELS), r"mine:data, id: images span .*, expected \[0, 1\]; scale them"),
        ((spoiled(), LABELS), "mine:data, id: 1 of 24 images hold NaN or infinite values; clean the data"),
        ((digits()[:0], LABELS[:0]), "mine:data: no images in id"),
        (
            {"a": (digits(), LABELS), "b": (digits(7), LABELS)},
            r"mine:data, b: images of shape \(3, 7, 7\) among those of shape \(3, 16, 16\)",
        ),
    ],
)
@pytest.mark.parametrize("method", ["clip", "ft"])
def test_data_that_cannot_be_used_is_refused_in_one_line(
    data: object, message: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geomlab.data.sources.open_source", lambda spec: Arrays(spec, data))
    recipe = compose(method, "mine:data", settings=[*SHORT, "data.domains=all"])
    with pytest.raises(UserError, match=message) as caught:
        loop.train(recipe, tmp_path, initial=str(embedded.checkpoint_path("zero-shot")))
    assert "lower optimisation" not in str(caught.value)
    assert not (tmp_path / f"{method}.pt").exists()


def test_steps() -> None:
    settings = Optimisation(lr=1, weight_decay=0, warmup=0, clip_norm=1, batch_size=1, epochs=2.5)
    assert settings.steps(10) == 25
    assert settings.model_copy(update={"max_steps": 7}).steps(10) == 7
    assert settings.model_copy(update={"epochs": 0.01}).steps(10) == 1


def test_gains_and_biases_are_not_decayed() -> None:
    weights = [
        torch.nn.Parameter(torch.ones(2, 2)),
        torch.nn.Parameter(torch.ones(2)),
        torch.nn.Parameter(torch.ones(())),
    ]
    groups = make_optimiser(weights, compose("ft").optimisation).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (2, 0.0)]


def test_training_goes_on_from_a_trained_head(tmp_path: Path) -> None:
    start = checkpoint.read(embedded.checkpoint_path("ft"))
    went_on = train(tmp_path, "ft", "optimisation.lr=1e-4", initial="embedded:ft")
    assert went_on.metadata["initial"] == start.digest
    before, after = start.tensors["head.weight"], went_on.tensors["head.weight"]
    assert (after - before).norm() < 0.01 * before.norm()


def test_a_recipe_s_templates_take_the_place_of_the_data_s(tmp_path: Path) -> None:
    templates = ["a photo of the digit {}"]
    read = train(tmp_path, "ft", f"data.templates={templates}", "optimisation.lr=1e-9")
    assert read.metadata["templates"] == templates
    model = models.from_checkpoint(checkpoint.read(embedded.checkpoint_path("zero-shot")), None)
    model.labels = Labels(model.labels.classes, tuple(templates))
    torch.testing.assert_close(read.tensors["head.weight"], model.zero_shot_weight(), rtol=1e-4, atol=1e-4)
