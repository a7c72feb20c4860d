"""The parts of a recipe, each validated on its own."""

import dataclasses
import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from geomlab import spec
from geomlab.data.attacks import step_length
from geomlab.errors import UserError

_SIZES = ("image_size", "patch_size", "width", "head_width", "heads", "layers", "context_length")
_Share = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Part of a recipe: unknown keys and numbers that are not finite are refused; nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoOptions(Strict):
    """For a method that has none of its own."""


class Data(Strict):
    """What is trained on.

    Attributes:
        train: SPEC of the training data.
        test: SPEC recorded in the checkpoint as the data to judge it by; None records `train`.
        domains: `id` (the first domain), `all` that are not held out, or a list of names.
        held_out: domains that no method may train on.
        initial: what training starts from without `--from`: a file, `open_clip:NAME` or `embedded:NAME`.
        shift: images are moved by up to this many pixels either way.
        flip: whether half of the images are mirrored.
        templates: texts of captions and of the zero-shot head, `{}` the class name; none takes the data's own.
        validation: share of the training samples that no step sees, for what a method learns of held-back data;
            chosen by the samples' ids, so alike in every domain and for every seed.
    """

    train: str
    test: str | None = None
    domains: Literal["id", "all"] | tuple[str, ...]
    held_out: tuple[str, ...] = ()
    initial: str | None = None
    shift: int = Field(0, ge=0)
    flip: bool = False
    templates: tuple[Annotated[str, Field(pattern=r"\{\}")], ...] = ()
    validation: _Share = 0.0


class Optimisation(Strict):
    """The optimiser, and warm-up with cosine decay to zero.

    Attributes:
        optimiser: `adamw`, or `sgd` with momentum.
        lr: the peak learning rate.
        weight_decay: of matrices only, as in open_clip; decoupled with AdamW.
        betas: of AdamW.
        eps: of AdamW.
        momentum: of SGD.
        warmup: steps of linear warm-up, fewer than the run has.
        clip_norm: largest norm of the whole gradient.
        batch_size: samples a step.
        accumulate: parts that a batch is split into, one after another through the network, for less memory. What
            ascends by a batch's gradient (AWP, SAM) then does so for each part (m-sharpness), and a contrastive loss
            contrasts within a part.
        epochs: passes over the training data.
        max_steps: ends earlier, the schedule with it.
        precision: of the image tower's arithmetic; weights, embeddings, losses and the attack's steps are float32.
        ema: decay of an exponential moving average of the weights, which is then what is written; 0 keeps none.
    """

    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    betas: tuple[_Share, _Share] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    momentum: _Share = 0.9
    warmup: int = Field(ge=0)
    clip_norm: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(1, ge=1)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(None, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    ema: _Share = 0.0

    def steps(self, steps_per_epoch: int) -> int:
        """Number of steps of a run.

        Raises:
            UserError: if the warm-up takes them all: the learning rate would reach its peak at the end or never.
        """
        steps = max(1, round(self.epochs * steps_per_epoch))
        steps = steps if self.max_steps is None else min(steps, self.max_steps)
        if self.warmup >= steps:
            raise UserError(
                f"a warm-up of {self.warmup} steps takes all {steps} steps of the run; set optimisation.warmup "
                f"below that, for example to {steps // 10}, or train longer"
            )
        return steps


def _fraction(value: Any) -> Any:
    """`4/255` as a number; all else is left to the validation."""
    if not isinstance(value, str):
        return value
    try:
        return spec.fraction(value)
    except ValueError as error:
        raise ValueError(f"expected a number such as 0.03 or 8/255; got '{value}'") from error


Fraction = Annotated[float, BeforeValidator(_fraction)]


class Attack(Strict):
    """The adversarial examples of training, in the ℓ∞ ball (Madry et al. 2018).

    Attributes:
        eps: radius in pixel units of [0, 1]; a fraction such as "4/255" may be written. Default [N].
        steps: gradient steps; default [N].
        step: length of one; None is 2.5·eps/steps (`step_length`), 1/255 at the other defaults [N].
        start: where it begins: a `random` point of the ball, or the `clean` image.
        mode: whether the network is in `eval` mode under attack, as when it is judged, or in `train` mode.
        ramp: share of the run over which the radius grows linearly to `eps`, the steps' length with it; 0 is none.
    """

    eps: Annotated[Fraction, Field(gt=0, le=1)] = 4 / 255
    steps: int = Field(10, ge=1)
    step: Annotated[Fraction, Field(gt=0)] | None = None
    start: Literal["random", "clean"] = "random"
    mode: Literal["eval", "train"] = "eval"
    ramp: float = Field(0.0, ge=0, le=1)

    @property
    def length(self) -> float:
        """Length of one step."""
        return step_length(self.eps, self.steps) if self.step is None else self.step


class Lora(Strict):
    """The low-rank adapters (Hu et al. 2022, 2106.09685).

    Attributes:
        rank: of each weight's update; q, k and v have one each. Default for ViT-B/32 [n].
        targets: regular expression over weight names: those that get adapters. Default [O]: attention and MLP of the
            image tower, or the convolutions and the attention pool of a ResNet.
        scale: what B A is multiplied by; 1 as in METHOD.md's W(θ0) + B A.
    """

    rank: int = Field(64, ge=1)
    targets: str = r"^visual\.(transformer|trunk\.blocks|layer\d|attnpool)\."
    scale: float = Field(1.0, gt=0)


def nearest(key: str, known: list[str]) -> str:
    """What a key that is not known may have meant; keys may be dotted."""
    leaf = key.rpartition(".")[2]
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, known, n=1) or [
        by_leaf[name] for name in difflib.get_close_matches(leaf, by_leaf, n=1)
    ]
    return f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"


def _check_tower(kind: str, needed: str) -> AfterValidator:
    """Refuse keys that open_clip's table of a tower has not, and sizes that are no sizes; the rest is left to it."""

    def check(config: dict[str, Any]) -> dict[str, Any]:
        from open_clip import model

        known = [field.name for field in dataclasses.fields(getattr(model, kind))]
        for key in config:
            if key not in known:
                raise ValueError(f"there is no '{key}'; {nearest(key, known)}")
        if not isinstance(config.get(needed), int):
            raise ValueError(f"{needed} is needed, a whole number; got {config.get(needed)!r}")
        for key in _SIZES:
            value = config.get(key, 1)
            for size in value if isinstance(value, list | tuple) else [value]:  # a ResNet has layers by stage
                if not isinstance(size, int) or size < 1:
                    raise ValueError(f"{key} must be a whole number of at least 1; got {value!r}")
        return config

    return AfterValidator(check)


def _one_or_three(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (1, 3):
        raise ValueError(f"expected one number, or three, one a colour; got {list(values)}")
    return values


class Architecture(Strict):
    """The CLIP that is built where training starts from scratch.

    Attributes:
        embed_dim: dimension of the shared space.
        vision_cfg: open_clip's `CLIPVisionCfg`; `image_size` is needed, sizes are at least 1.
        text_cfg: open_clip's `CLIPTextCfg`, the same for `context_length`; the vocabulary is added.
        mean: of each of the three channels, or one for all.
        std: of each of the three channels, or one for all; positive.
    """

    embed_dim: int = Field(ge=1)
    vision_cfg: Annotated[dict[str, Any], _check_tower("CLIPVisionCfg", "image_size")]
    text_cfg: Annotated[dict[str, Any], _check_tower("CLIPTextCfg", "context_length")]
    mean: Annotated[tuple[float, ...], AfterValidator(_one_or_three)]
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(_one_or_three)]


class Recipe(Strict):
    """Everything a run does but its seed and its start.

    Attributes:
        method: name of the method.
        options: the method's own.
        data: what is trained on.
        optimisation: how.
        attack: the adversarial examples; None for a method that makes none.
        lora: the adapters; None for a method that has none.
        architecture: of a run from scratch; None for a method, or on data, that must start from a checkpoint.
    """

    method: str
    options: Strict
    data: Data
    optimisation: Optimisation
    attack: Attack | None = None
    lora: Lora | None = None
    architecture: Architecture | None = None
