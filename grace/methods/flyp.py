"""FLYP: fine-tune as pre-trained, by the contrastive loss on class captions (Goyal et al. 2023, 2212.00638)."""

from geomlab.typing import Scalar
from grace.batches import Batch
from grace.method import Method
from grace.methods import clip
from grace.run import Run
from grace.settings import Strict


class Options(Strict):
    """Options of `flyp`.

    Attributes:
        equal_captions: whether images with the same caption are positives of each other. Default as in the paper's
            code: only an image's own caption is, and an equal one of another image counts against it.
    """

    equal_captions: bool = False


_RANDOM = clip.Options(any_template=1.0)


def loss(run: Run, batch: Batch) -> dict[str, Scalar]:
    """Both directions of InfoNCE of images and a random template of their class."""
    captions = clip.write_captions(run.model.labels, batch, _RANDOM, run.rng("loss"))
    return clip.contrast(run.model, batch.images, captions, equal=run.options.equal_captions)


def finish(run: Run) -> None:
    """Only now there is a head: the zero-shot head by the fine-tuned text tower."""
    run.model.set_head(run.model.zero_shot_weight())


METHOD = Method(
    name="flyp",
    summary="fine-tuning by the contrastive loss on class captions: both towers and the scale",
    reference="Goyal et al. 2023 (2212.00638)",
    terms="",
    trains=clip.METHOD.trains,
    loss=loss,
    finish=finish,
    options=Options,
)
