"""What a method is given: the model in training, and all that belongs to the run around it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from geomlab.data.attacks import ascend
from geomlab.data.attacks.losses import cross_entropy
from geomlab.rng import generator
from geomlab.typing import Float, Images, Labels, Params, Scalar
from grace.batches import Pool
from grace.model import Model
from grace.settings import Attack, Lora, Recipe

Result = TypeVar("Result")


@dataclass(eq=False)
class Run:
    """A training run, as its method sees it.

    Attributes:
        model: what is trained.
        recipe: what to do.
        pool: the training samples.
        validation: the samples held back; None where the recipe holds none back.
        steps: of the whole run.
        step: the present one, from 0.
        part: of its batch, from 0, where gradients are accumulated over parts.
        weights: what trains, by name; empty until the method has prepared the model.
        anchor: copies of `weights` as training began, θ0 of the weights that train.
        original: a frozen copy of the model as `keep_original` found it.
        memory: tensors that the method keeps from step to step; they are saved with the run.
    """

    model: Model
    recipe: Recipe
    pool: Pool
    validation: Pool | None
    steps: int
    step: int = 0
    part: int = 0
    weights: dict[str, nn.Parameter] = field(default_factory=dict)
    anchor: dict[str, Tensor] = field(default_factory=dict)
    original: Model | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    @property
    def options(self) -> Any:
        """The method's own options."""
        return self.recipe.options

    @property
    def attack(self) -> Attack:
        """The recipe's attack; only for methods that use one."""
        assert self.recipe.attack is not None
        return self.recipe.attack

    @property
    def lora(self) -> Lora:
        """The recipe's adapters; only for methods that use them."""
        assert self.recipe.lora is not None
        return self.recipe.lora

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.pool.seed

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.get_buffer("mean").device

    def rng(self, purpose: str) -> torch.Generator:
        """A generator for one purpose at this step; a run that goes on later draws the same."""
        return generator(self.seed, purpose, self.step, *([self.part] if self.part else []))

    def keep_original(self) -> None:
        """Keep a frozen copy of the model as it is now, in eval mode."""
        self.original = deepcopy(self.model).eval().requires_grad_(False)

    def craft(self, images: Images, loss: Callable[[Images], Float[Tensor, "n"]]) -> Images:
        """Adversarial examples by the recipe's attack.

        The weights need no gradient meanwhile, so none is computed or left in `.grad`. The signs are of float32, also
        where training is in bfloat16.

        Args:
            images: (n, C, H, W) in [0, 1].
            loss: images -> (n,) what the attack raises.
        """
        attack = self.attack
        share = min(1.0, (self.step + 1) / (attack.ramp * self.steps)) if attack.ramp else 1.0
        eps, length = share * attack.eps, share * attack.length
        begin = images
        if attack.start == "random":
            drawn = torch.rand(images.shape, generator=self.rng("attack"), dtype=images.dtype)
            begin = images + eps * (2 * drawn - 1).to(images.device)

        def attacked() -> Images:
            return ascend(loss, images, begin, eps=eps, step=length, steps=attack.steps)

        return self.under_attack(attacked)

    def under_attack(self, function: Callable[[], Result]) -> Result:
        """What a function of the model gives while it is attacked: in the attack's mode, in float32, weights frozen.

        Args:
            function: called once, without arguments.
        """
        training = self.attack.mode == "train"
        with _frozen(self.model, training=training):
            return self.at({}, function) if training else function()

    def craft_against(self, images: Images, labels: Labels) -> Images:
        """Adversarial examples that raise the cross-entropy of the model's logits."""
        return self.craft(images, lambda x: cross_entropy(self.model.logits(x), labels))

    def gradient(self, loss: Scalar) -> dict[str, Tensor]:
        """The loss's gradient in the weights that train, by name; zero for those it does not use."""
        found = torch.autograd.grad(
            loss, list(self.weights.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(self.weights, found, strict=True))

    def at(self, weights: Params, function: Callable[[], Result]) -> Result:
        """What a function of the model gives with other weights, which are differentiable.

        Nothing is written into the model, running statistics neither: it is the same after, also when the function
        raises.

        Args:
            weights: by the names of `Model.parameters_by_name`; all others stay.
            function: called once, without arguments.
        """
        names = {plain: raw for raw, plain in self.model.plain_names().items()}
        swapped = {f"model.{names[name]}": tensor for name, tensor in weights.items()}
        swapped |= {f"model.{name}": buffer.clone() for name, buffer in self.model.named_buffers()}
        result: Result = torch.func.functional_call(_Holder(self.model), swapped, (function,))
        return result


class _Holder(nn.Module):
    """Lets `functional_call`, which calls a module, call any function of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], Result]) -> Result:
        return function()


@contextmanager
def _frozen(model: Model, *, training: bool) -> Iterator[None]:
    """No weight needs a gradient, in the given mode and in float32; all as it was after."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before, precision = model.training, model.precision
    model.train(training)
    model.precision = torch.float32
    for parameter in weights:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in weights:
            parameter.requires_grad_(True)
        model.precision = precision
        model.train(before)
