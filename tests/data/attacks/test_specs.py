import pytest

from geomlab.data.attacks import APGD, FGSM, PGD, Attack, AutoAttack, FeaturePGD, Worst, attack_of
from geomlab.errors import UserError
from geomlab.spec import parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fgsm", FGSM(4 / 255)),
        ("pgd:eps=8/255,steps=3", PGD(8 / 255, 3)),
        ("pgd:eps=0.5,norm=l2,restarts=2,step=0.1", PGD(0.5, 10, 0.1, 2, "l2")),
        ("pgd:loss=dlr,target=least,keep=best", PGD(loss="dlr", target="least", keep="best")),
        ("pgd:target=7,stop=yes", PGD(target=7, stop=True)),
        ("apgd", APGD(4 / 255, 100, 1, "linf", "ce", True)),
        ("apgd:eps=1/255,loss=dlr-t,norm=l2,stop=no", APGD(1 / 255, norm="l2", loss="dlr-t", stop=False)),
        ("features:eps=2/255,steps=50", FeaturePGD(2 / 255, 50)),
        ("autoattack:eps=8/255,norm=l2,seed=3", AutoAttack(8 / 255, "l2", 3)),
        (
            "worst:fgsm+pgd-dlr+apgd-dlr-t+features,eps=2/255,steps=20,restarts=2",
            Worst(
                (
                    FGSM(2 / 255),
                    PGD(2 / 255, 20, restarts=2, loss="dlr"),
                    APGD(2 / 255, 20, 2, loss="dlr-t"),
                    FeaturePGD(2 / 255, 20, restarts=2),
                )
            ),
        ),
        ("clean", None),
    ],
)
def test_a_spec_is_its_attack(text: str, expected: Attack | None) -> None:
    assert attack_of(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:norm=l1", "norm must be linf or l2, got 'l1'"),
        ("pgd:loss=cw", "loss must be ce or dlr, got 'cw'"),
        ("pgd:loss=dlr-t", "loss must be ce or dlr"),
        ("pgd:target=cat", "target must be the number of a class, least or next, got 'cat'"),
        ("pgd:step=0", r"step must be above 0; leave it out for 2\.5"),
        ("pgd:stop=maybe", "stop must be no or yes, got 'maybe'"),
        ("pgd:fast", "cannot read 'fast'; write pgd:key=value, of eps"),
        ("apgd:step=1/255", "unknown option step; 'apgd' takes: eps, steps, restarts, norm, loss, stop"),
        ("fgsm:norm=l2", "unknown option norm"),
        ("autoattack:version=plus", "unknown option version"),
        ("worst:eps=4/255", "no attack ''; write worst:NAME[+]NAME,eps=4/255 of fgsm, pgd, pgd-ce, pgd-dlr"),
        ("worst:pgd+square", "no attack 'square'"),
        ("worst:pgd-cw", "no attack 'pgd-cw'"),
        ("worst:pgd+fgsm,loss=ce", "unknown option loss"),
    ],
)
def test_what_is_not_known_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        attack_of(parse(text))
