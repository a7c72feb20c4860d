from collections.abc import Callable

import pytest
import torch

from grace.batches import Batch
from grace.methods import clip, flyp
from grace.run import Run

RunOf = Callable[..., Run]


@pytest.mark.parametrize("equal", [False, True])
def test_only_the_diagonal_is_positive(run_of: RunOf, batch: Batch, equal: bool) -> None:
    run = run_of("flyp", f"options.equal_captions={str(equal).lower()}")
    model, terms = run.model, flyp.loss(run, batch)
    captions = clip.write_captions(model.labels, batch, clip.Options(any_template=1.0), run.rng("loss"))
    same = torch.tensor([[a == b for b in captions] for a in captions])
    assert same.sum() > 40  # else there is nothing to tell apart
    positive = (same if equal else torch.eye(40, dtype=torch.bool)).double()
    target = positive / positive.sum(1, keepdim=True)
    similar = model.embed(batch.images) @ model.embed_texts(captions).T * model.clip.logit_scale.exp()
    for name, scores in (("image_to_text", similar), ("text_to_image", similar.T)):
        expected = -(target * scores.log_softmax(1)).sum(1).mean() / 2
        assert terms[name].item() == pytest.approx(expected.item(), rel=1e-10)


def test_the_head_is_of_the_fine_tuned_text_tower(run_of: RunOf, batch: Batch) -> None:
    run = run_of("flyp")
    assert run.model.head is None
    sum(flyp.loss(run, batch).values()).backward()  # type: ignore[union-attr]
    texts = [name for name, weight in run.weights.items() if "visual" not in name and weight.grad is not None]
    assert "logit_scale" in texts
    assert "text_projection" in texts
    with torch.no_grad():
        for weight in run.weights.values():
            if weight.grad is not None:
                weight.sub_(0.01 * weight.grad)
    flyp.finish(run)
    means = [
        run.model.embed_texts([text.format(name) for text in run.model.labels.templates]).mean(0)
        for name in run.model.labels.classes
    ]
    expected = torch.stack([mean / mean.norm() for mean in means]) * run.model.clip.logit_scale.exp()
    assert run.model.head is not None
    torch.testing.assert_close(run.model.head.weight, expected)
