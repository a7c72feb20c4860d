import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomlab.errors import UserError
from geomlab.spec import escape, parse

VALUES = st.one_of(st.text(r"a\,=:/ "), st.text()).filter(lambda value: value == value.strip())


@given(VALUES, VALUES.filter(bool))
def test_any_path_is_read_back(path: str, name: str) -> None:
    text = f"domains:{escape(path)},id={escape(name)}"
    spec = parse(text)
    assert (spec.head, spec.positional, spec.options) == ("domains", path, (("id", name),))
    assert spec.text == text
    assert parse(f"folder:{escape(path)}").positional == path


@pytest.mark.parametrize(
    ("text", "positional"),
    [
        (r"folder:/data/a\,b\=c", "/data/a,b=c"),
        (r"folder:C:\data\new", r"C:\data\new"),
        ("folder:/data\\", "/data\\"),
        (r"folder:\\\\host\share", r"\\host\share"),
        (r"folder:a\\", "a\\"),
    ],
)
def test_a_backslash_makes_a_sign_ordinary_and_is_else_itself(text: str, positional: str) -> None:
    spec = parse(text)
    assert (spec.positional, spec.options, spec.text) == (positional, (), text)


def test_an_escaped_backslash_ends_before_a_comma() -> None:
    assert parse(r"domains:C:\data\\,id=photo").options == (("id", "photo"),)


def test_a_value_keeps_an_equals_sign() -> None:
    assert parse("m:f,key=a=b").option("key") == "a=b"


@pytest.mark.parametrize("text", ["domains:/a,b", "domains:/a,id=", "domains:/a,=b", "domains:/a,,id=b"])
def test_what_is_no_option_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(
        UserError, match=r"write key=value.*a comma or = inside a value is written \\, or \\="
    ):
        parse(text)


@pytest.mark.parametrize("text", ["folder:/data/lr=1", "domains:/data/a,b=c/d,id=photo", r"folder:a\b,c=d"])
def test_a_path_that_was_cut_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(UserError, match=r"unknown option .*; .* takes: id; .* written \\, or \\="):
        parse(text).only("id")


def test_an_unknown_option_is_refused_with_what_there_is() -> None:
    with pytest.raises(UserError, match=r"unknown option epsilon; 'pgd' takes: eps$"):
        parse("pgd:epsilon=1").only("eps")
