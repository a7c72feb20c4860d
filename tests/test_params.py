import pytest
import torch

from geomlab import params
from geomlab.errors import UserError

NAMES = ["visual.conv1.weight", "visual.proj", "head.weight", "visual.attn.lora_A"]


@pytest.mark.parametrize(
    ("subspace", "expected"),
    [
        ("full", NAMES),
        ("visual", [NAMES[0], NAMES[1], NAMES[3]]),
        ("lora", [NAMES[3]]),
        (r"^head|conv", [NAMES[0], NAMES[2]]),
    ],
)
def test_subspaces(subspace: str, expected: list[str]) -> None:
    assert params.select(NAMES, subspace) == expected


@pytest.mark.parametrize(
    ("subspace", "message"),
    [
        ("nothing", "selects none of the 4"),
        ("(", "not a regular expression"),
        ("", "'' says no parameters; give full"),
    ],
)
def test_a_subspace_of_nothing_is_refused(subspace: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        params.select(NAMES, subspace)


def test_layers_own_their_parameters() -> None:
    assert params.by_layer(["a.b.weight", "a.b.bias", "c"]) == {"a.b": ["a.b.weight", "a.b.bias"], "c": ["c"]}


def test_flattening_goes_there_and_back() -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(7.0)}
    vector = params.flatten(tensors)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert params.digest(params.unflatten(vector, tensors)) == params.digest(tensors)


def test_a_digest_sees_names_shapes_types_and_values_but_not_order() -> None:
    a, b = torch.arange(4.0), torch.ones(2)
    digest = params.digest({"a": a, "b": b})
    assert digest == params.digest({"b": b, "a": a})
    others = [
        {"a": a, "c": b},
        {"a": a.view(2, 2), "b": b},
        {"a": a.double(), "b": b},
        {"a": a + 1e-6, "b": b},
    ]
    assert len({digest, *map(params.digest, others)}) == 5
