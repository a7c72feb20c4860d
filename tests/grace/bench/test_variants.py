import pytest

from geomlab.errors import UserError
from grace import methods
from grace.bench.variants import parse, shared


def test_all_methods_that_start_from_a_checkpoint_in_order() -> None:
    names = [variant.method for variant in parse([])]
    assert set(names) == {name for name in methods.names() if not methods.get(name).from_scratch}
    assert names[-1] == "grace"
    middle = [name for name in names[:-1] if name != "zero-shot"]
    assert middle == sorted(middle)
    assert names[: len(names) - 1 - len(middle)] in ([], ["zero-shot"])


def test_what_follows_a_comma_belongs_to_the_variant_before_it() -> None:
    found = parse(['ft, grace:lambda_lar=0,lambda_gv=0,lora-ft:data.domains=["photo","sketch"]', "grace"])
    assert [(variant.label, variant.settings) for variant in found] == [
        ("ft", ()),
        ("grace:lambda_lar=0,lambda_gv=0", ("options.lambda_lar=0", "options.lambda_gv=0")),
        ('lora-ft:data.domains=["photo","sketch"]', ('data.domains=["photo","sketch"]',)),
        ("grace", ()),
    ]
    recipe = found[1].recipe("glyphs", "quick", ["optimisation.lr=0.5"])
    assert (recipe.options.lambda_gv, recipe.optimisation.lr) == (0, 0.5)  # type: ignore[attr-defined]


def test_folders_are_names_of_files_and_their_own() -> None:
    texts = ["grace", "grace:rho=1", "grace:data.train=a/b", "grace:data.train=a_b"]
    folders = [variant.folder for variant in parse(texts)]
    assert folders[:2] == ["grace", "grace.rho=1"]
    assert len(set(folders)) == 4
    assert not any("/" in folder or ":" in folder for folder in folders)


def test_settings_of_a_section_go_to_the_methods_that_use_it() -> None:
    ft, grace = parse(["ft,grace"])
    taken = shared(["attack.steps=3", "optimisation.lr=1"], [ft, grace])
    assert taken == {ft: ["optimisation.lr=1"], grace: ["attack.steps=3", "optimisation.lr=1"]}
    with pytest.raises(UserError, match=r"--set lora\.rank=3: none of the methods uses the section 'lora'"):
        shared(["lora.rank=3"], [ft])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftt", "no method 'ftt'; did you mean 'ft'"),
        ("ft,", "no method ''"),
        ("ft,grace,ft", "names 'ft' twice; leave one out"),
        ("clip", "clip starts from scratch; .* leave it out"),
        ("grace:", "'grace:': write NAME or NAME:key=value"),
        ("grace:rho", "'grace:rho': write NAME or NAME:key=value"),
        ("grace:rho=", "'grace:rho=': write NAME or NAME:key=value"),
    ],
)
def test_what_is_no_method_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse([text])


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UserError, match=r"no key 'options\.lamda_gv'; did you mean 'options\.lambda_gv'"):
        parse(["grace:lamda_gv=0"])[0].recipe("glyphs", None, [])
