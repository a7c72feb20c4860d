import pickle
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from geomlab.errors import UserError
from grace import methods
from grace.recipe import budget_names, compose, data_names, dotted_keys, merge, recipe_of


@pytest.mark.parametrize("method", methods.names())
@pytest.mark.parametrize("data", [*data_names(), "folder:images"])
def test_every_shipped_recipe_is_valid_and_survives_being_saved(method: str, data: str) -> None:
    recipe = compose(method, data)
    saved = recipe.model_dump(mode="json")
    assert recipe_of(methods.get(method)).model_validate(saved) == recipe


@pytest.mark.parametrize("method", methods.names())
@pytest.mark.parametrize("budget", budget_names("glyphs"))
def test_every_budget_is_valid_for_every_method(method: str, budget: str) -> None:
    recipe = compose(method, budget=budget)
    assert recipe.data.validation == 0.1
    assert recipe.optimisation.max_steps is not None
    assert recipe.optimisation.warmup < recipe.optimisation.max_steps


def test_a_budget_gives_all_methods_the_same_work() -> None:
    assert budget_names("glyphs") == ("quick", "standard")
    recipes = [compose(method, budget="standard") for method in methods.names() if method != "clip"]
    work = {(r.optimisation.batch_size, r.optimisation.max_steps, r.optimisation.warmup) for r in recipes}
    assert work == {(64, 200, 20)}
    lengths = [recipe.attack.length for recipe in recipes if recipe.attack]
    assert lengths == pytest.approx([2.5 * 8 / 255 / 5] * len(lengths))


def test_sections_for_a_data_set_or_a_method_name_one_that_there_is() -> None:
    folder = resources.files("grace") / "recipes"
    data = {path.name.removesuffix(".toml") for path in (folder / "data").iterdir()}
    for path in (folder / "methods").iterdir():
        assert set(tomllib.loads(path.read_text()).get("on", {})) <= data, path
    for path in (folder / "budgets").iterdir():
        assert set(tomllib.loads(path.read_text()).get("for", {})) <= set(methods.names()), path


def test_methods_of_one_optimiser_train_by_it_on_the_photographs() -> None:
    for name in methods.names():
        assert compose(name, "domains:R,id=photo").optimisation.optimiser == "adamw", name


def test_a_recipe_travels_to_another_process() -> None:
    recipe = compose("grace", settings=["options.rho=0.125", "attack.eps='3/255'"])
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_layers_in_order(tmp_path: Path) -> None:
    assert compose("ft", "folder:x").optimisation.lr == 3e-5  # the method's own
    assert compose("ft").optimisation.batch_size == 256  # the data's
    assert compose("ft").optimisation.lr == 1e-3  # the method's, on this data
    mine = tmp_path / "mine.toml"
    mine.write_text("[optimisation]\nlr = 2e-3\nwarmup = 7\n")
    recipe = compose("ft", file=mine, settings=["optimisation.lr=4e-3", "data.domains=['photo', 'sketch']"])
    assert (recipe.optimisation.lr, recipe.optimisation.warmup) == (4e-3, 7)
    assert recipe.data.domains == ("photo", "sketch")


def test_the_data_spec_is_what_is_trained_on() -> None:
    recipe = compose("ft", "domains:ROOT,id=photo")
    assert recipe.data.train == "domains:ROOT,id=photo"
    assert recipe.data.test is None
    assert compose("ft", "glyphs:split=all").data.train == "glyphs:split=all"


def test_text_needs_no_quotes_in_a_setting() -> None:
    assert (
        compose("clip", settings=["options.caption=a {domain} {name}"]).options.caption == "a {domain} {name}"
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimisation.lrr=1", "no key 'optimisation.lrr'; did you mean 'optimisation.lr'\\?"),
        ("max_steps=1", "no key 'max_steps'; did you mean 'optimisation.max_steps'\\?"),
        ("options.captions='x'", "no key 'options.captions'; did you mean 'options.caption'\\?"),
        ("qqqq=1", "no key 'qqqq'; it has method, options"),
        ("optimisation.lr=-1", "recipe, optimisation.lr: Input should be greater than 0; got -1"),
        ("optimisation.lr=fast", "recipe, optimisation.lr: .*valid number.*; got 'fast'"),
        ("data.domains=1", "recipe, data.domains: .*; got 1"),
        ("optimisation=1", "recipe, optimisation: .*; got 1"),
        ("optimisation.betas=[1.5,2]", "recipe, optimisation.betas.0: .*less than 1; got 1.5"),
        ("optimisation.betas=[0.9,-1]", "recipe, optimisation.betas.1: .*greater than or equal to 0; got -1"),
        ("optimisation.epochs=inf", "recipe, optimisation.epochs: Input should be a finite number"),
        ("architecture.mean=[0.5,0.5]", "recipe, architecture.mean: .* or three, .*; got .0.5, 0.5."),
        ("architecture.std=[1,1]", "recipe, architecture.std: .* or three, .*; got .1.0, 1.0."),
        ("architecture.std=[0]", "recipe, architecture.std.0: .*greater than 0; got 0"),
        ("architecture.vision_cfg.image_size=-4", "vision_cfg: image_size must be .* at least 1; got -4"),
        ("architecture.vision_cfg.patch_size=0", "vision_cfg: patch_size must be .* at least 1; got 0"),
        ("architecture.vision_cfg.image_size=[16,16]", "vision_cfg: image_size is needed, .*; got .16, 16."),
        ("architecture.vision_cfg.widht=3", "vision_cfg: there is no 'widht'; did you mean 'width'\\?"),
        ("architecture.text_cfg.layers=-1", "text_cfg: layers must be .* at least 1; got -1"),
        (
            "options.caption='a {style} {name}'",
            "caption: only {domain} and {name} .*; got 'a {style} {name}'",
        ),
        ("options.caption='a {name'", "caption: only {domain} and {name} .*; got 'a {name'"),
        ("options.caption='a {}'", "caption: only {domain} and {name} .*; got 'a {}'"),
        ("method=ft", "it is for the method 'ft', not 'clip'"),
        ("optimisation.lr", "write key=value"),
        ("=3", "write key=value"),
    ],
)
def test_what_is_not_valid_is_refused_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compose("clip", settings=[setting])
    assert "\n" not in str(caught.value)


def test_a_section_that_a_method_has_no_use_for_is_refused() -> None:
    for setting in ("attack.eps=0.1", "lora.rank=2", "architecture.embed_dim=7"):
        section = setting.partition(".")[0]
        with pytest.raises(UserError, match=f"no section '{section}': ft has no use for it; leave it out"):
            compose("ft", settings=[setting])
    assert compose("ft").architecture is None
    assert compose("clip").architecture is not None


def test_an_architecture_must_say_its_sizes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[architecture]\nembed_dim = 8\nmean = [0]\nstd = [1]\nvision_cfg = {}\ntext_cfg = {}\n")
    with pytest.raises(UserError, match="vision_cfg: image_size is needed, a whole number; got None"):
        compose("clip", "folder:x", file=mine)


def test_an_own_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the recipe"):
        compose("clip", file=tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[optimisation\n")
    with pytest.raises(UserError, match="not TOML"):
        compose("clip", file=broken)


def test_merge_replaces_values_and_joins_tables() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": {"e": 1}}) == {
        "a": {"b": 5, "c": 2},
        "d": {"e": 1},
    }


def test_dotted_keys_reach_into_every_part() -> None:
    keys = dotted_keys(recipe_of(methods.get("clip")))
    assert {"method", "options.caption", "data.train", "optimisation.lr", "architecture.embed_dim"} <= set(
        keys
    )


def test_the_paper_s_settings_are_the_recipe_of_imagenet() -> None:
    recipe = compose("grace", "imagenet:ROOT,split=train")
    assert recipe.data.train == "imagenet:ROOT,split=train"
    assert recipe.data.initial == "open_clip:ViT-B-32,pretrained=openai"
    optimisation, attack, lora = recipe.optimisation, recipe.attack, recipe.lora
    assert (optimisation.optimiser, optimisation.lr, optimisation.batch_size, optimisation.epochs) == (
        *("adamw", 2e-4, 256, 50),
    )
    assert attack is not None
    assert lora is not None
    assert (attack.eps, attack.steps, attack.length) == (4 / 255, 10, pytest.approx(1 / 255))
    options = recipe.options.model_dump()
    assert (lora.rank, options["max_rank"], options["percentile"]) == (64, 4, 80)
    assert compose("ft", "imagenet:ROOT").optimisation.batch_size == 512


def test_templates_of_a_recipe_hold_the_name() -> None:
    assert "a cartoon of a {}" in compose("ft", "domains:ROOT").data.templates
    with pytest.raises(UserError, match=r"recipe, data\.templates\.0: .*pattern.*; got 'a photo'"):
        compose("ft", settings=["data.templates=['a photo']"])
