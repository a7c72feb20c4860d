"""Attacks from SPECs."""

from dataclasses import replace
from typing import Literal, TypeVar

from geomlab.data.attacks.apgd import APGD
from geomlab.data.attacks.balls import NORMS
from geomlab.data.attacks.features import FeaturePGD
from geomlab.data.attacks.goal import RULES, Target
from geomlab.data.attacks.pgd import FGSM, PGD
from geomlab.data.attacks.standard import AutoAttack
from geomlab.data.attacks.worst import Single, Worst
from geomlab.errors import UserError
from geomlab.spec import Spec, integer, number

Choice = TypeVar("Choice", bound=str)
EPS = 4 / 255
KNOWN = (
    "fgsm:eps=4/255",
    "pgd:eps=4/255,steps=10[,step=…,restarts=1,norm=linf|l2,loss=ce|dlr,target=CLASS|least|next,keep=last|best,"
    "stop=no]",
    "features:eps=4/255,steps=10[,step=…,restarts=1,norm=linf|l2]",
    "apgd:eps=4/255[,steps=100,restarts=1,norm=linf|l2,loss=ce|dlr|dlr-t,stop=yes]",
    "autoattack:eps=4/255[,norm=linf|l2,seed=0]",
    "worst:apgd+apgd-dlr-t+pgd,eps=4/255[,OPTION=… for all that take it]",
)
TAKES = {
    "fgsm": ("eps",),
    "pgd": ("eps", "steps", "step", "restarts", "norm", "loss", "target", "keep", "stop"),
    "features": ("eps", "steps", "step", "restarts", "norm"),
    "apgd": ("eps", "steps", "restarts", "norm", "loss", "stop"),
}
PGD_LOSSES: tuple[Literal["ce", "dlr"], ...] = ("ce", "dlr")
APGD_LOSSES: tuple[Literal["ce", "dlr", "dlr-t"], ...] = ("ce", "dlr", "dlr-t")
LOSSES: dict[str, tuple[str, ...]] = {"pgd": PGD_LOSSES, "apgd": APGD_LOSSES}


def attack_of(spec: Spec) -> Single | Worst | AutoAttack | None:
    """The attack of a SPEC, or None if its head is no attack's.

    The members of `worst:` are joined by +, each NAME or NAME-LOSS; an option is given to every one that takes it.

    Raises:
        UserError: if an option is not known or has no such value.
    """
    if spec.head == "worst":
        return _worst(spec)
    if spec.head == "autoattack":
        _nothing_else(spec, ("eps", "norm", "seed"))
        seed = int(number(spec, "seed", 0))
        return AutoAttack(number(spec, "eps", EPS), _choice(spec, "norm", NORMS), seed)
    return _single(spec) if spec.head in TAKES else None


def _single(spec: Spec) -> Single:
    _nothing_else(spec, TAKES[spec.head])
    eps, restarts = number(spec, "eps", EPS), integer(spec, "restarts", 1)
    norm = _choice(spec, "norm", NORMS)
    match spec.head:
        case "fgsm":
            return FGSM(eps)
        case "features":
            return FeaturePGD(eps, integer(spec, "steps", 10), _step(spec), restarts, norm)
        case "apgd":
            loss, stop = _choice(spec, "loss", APGD_LOSSES), _choice(spec, "stop", ("yes", "no"))
            return APGD(eps, integer(spec, "steps", 100), restarts, norm, loss, stop == "yes")
        case _:
            return PGD(
                eps,
                integer(spec, "steps", 10),
                _step(spec),
                restarts,
                norm,
                _choice(spec, "loss", PGD_LOSSES),
                _target(spec),
                _choice(spec, "keep", ("last", "best")),
                _choice(spec, "stop", ("no", "yes")) == "yes",
            )


def _worst(spec: Spec) -> Worst:
    members = []
    for name in spec.positional.split("+"):
        head, dash, loss = name.strip().partition("-")
        if head not in TAKES or (dash and loss not in LOSSES.get(head, ())):
            raise UserError(
                f"'{spec.text}': no attack '{name}'; write worst:NAME+NAME,eps=4/255 of {', '.join(_names())}"
            )
        members.append((head, (("loss", loss),) if dash else ()))
    taken = {key for head, _ in members for key in TAKES[head]} - {"loss"}
    spec.only(*sorted(taken))
    return Worst(
        tuple(
            _single(replace(spec, head=head, positional="", options=(*loss, *_for(head, spec))))
            for head, loss in members
        )
    )


def _for(head: str, spec: Spec) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in spec.options if key in TAKES[head])


def _names() -> list[str]:
    return [name for head in TAKES for name in (head, *(f"{head}-{loss}" for loss in LOSSES.get(head, ())))]


def _nothing_else(spec: Spec, keys: tuple[str, ...]) -> None:
    spec.only(*keys)
    if spec.positional:
        raise UserError(
            f"'{spec.text}': cannot read '{spec.positional}'; write {spec.head}:key=value, of {', '.join(keys)}"
        )


def _step(spec: Spec) -> float | None:
    if spec.option("step") is None:
        return None
    step = number(spec, "step", 0.0)
    if step == 0:
        raise UserError(f"'{spec.text}': step must be above 0; leave it out for 2.5·eps/steps")
    return step


def _target(spec: Spec) -> Target | None:
    text = spec.option("target")
    for rule in RULES:
        if text == rule:
            return rule
    if text is not None and not (text.isascii() and text.isdigit()):
        raise UserError(
            f"'{spec.text}': target must be the number of a class, {' or '.join(RULES)}, got '{text}'"
        )
    return None if text is None else int(text)


def _choice(spec: Spec, key: str, options: tuple[Choice, ...]) -> Choice:
    """One of the values, the first of which is the default."""
    text = spec.option(key, options[0])
    for option in options:
        if option == text:
            return option
    raise UserError(f"'{spec.text}': {key} must be {' or '.join(options)}, got '{text}'")
