import re

import pytest

from geomlab.errors import UserError
from grace import loop, methods
from grace.model import Model


def test_every_file_is_a_method_under_its_name() -> None:
    assert {"clip", "ft"} <= set(methods.names())
    for name in methods.names():
        method = methods.get(name)
        assert method.name == name
        assert method.summary
        assert method.reference
        assert set(method.terms) <= set("ABC")


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no method 'clipp'; did you mean 'clip'"):
        methods.get("clipp")


@pytest.mark.parametrize(("name", "trains"), [("clip", r"^(?!head)"), ("ft", r"^(visual|head)\.")])
def test_only_what_a_method_trains_has_gradients(model: Model, name: str, trains: str) -> None:
    method = methods.get(name)
    model.add_zero_shot_head()
    weights = loop.trained(model, method)
    for key, parameter in model.parameters_by_name().items():
        assert parameter.requires_grad == (key in weights) == bool(re.search(trains, key)), key
