import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from geomlab import checkpoint, clip, prompts, subject
from geomlab.architectures import Labels, Preprocessing
from geomlab.checkpoint import Checkpoint
from geomlab.clip import WordTokenizer
from geomlab.data import embedded
from geomlab.errors import UserError
from grace import model as models
from grace.methods import vpt_pmg_aft
from grace.model import Model

START = checkpoint.read(embedded.checkpoint_path("zero-shot"))
CONFIG = START.metadata["architecture"]["config"]


def small(**vision: object) -> CLIP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return clip.build({**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], **vision}}).double().eval()


def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_tokens_follow_the_normalised_patches_into_the_first_block() -> None:
    visual = small().visual
    tokens = torch.randn(2, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        before = visual._embeds(images())
        prompts.add(visual, tokens)
        after = visual._embeds(images())
        x = torch.cat([before, tokens.expand(4, 2, 64)], dim=1)
        expected = visual.ln_post(visual.transformer(x))[:, 0] @ visual.proj
        torch.testing.assert_close(visual(images()), expected)
    assert torch.equal(after, x)
    assert set(dict(visual.ln_pre.named_parameters())) == {"weight", "bias", "prompts"}


def test_a_config_with_prompts_builds_them_and_other_values_are_refused() -> None:
    with torch.random.fork_rng():
        built = clip.build({**CONFIG, "prompts": 5})
    assert built.state_dict()["visual.ln_pre.prompts"].shape == (5, 64)
    for wrong in ("five", -1, 1.5, None):
        with (
            torch.random.fork_rng(),
            pytest.raises(UserError, match="its config does not describe a CLIP of open_clip"),
        ):
            clip.build({**CONFIG, "prompts": wrong})


def test_other_towers_are_refused() -> None:
    tokens = torch.zeros(2, 64)
    with torch.random.fork_rng():
        resnet = clip.build({**CONFIG, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16}})
    with pytest.raises(
        UserError, match=r"need open_clip's own ViT, got a ModifiedResNet; start from ViT-B-32"
    ):
        prompts.width(resnet.visual)
    with pytest.raises(UserError, match="got a ModifiedResNet"):
        prompts.add(resnet.visual, tokens)
    visual = small().visual
    prompts.add(visual, tokens.double())
    with pytest.raises(UserError, match="has prompt tokens already"):
        prompts.add(visual, tokens.double())


def test_a_model_of_open_clips_list_describes_itself_once_it_has_prompts() -> None:
    """Its checkpoint loads for analysis and for training, and is the same network."""
    labels = Labels(("cat", "dog"))
    model = models.from_open_clip("open_clip:ViT-S-32-alt", labels, seed=1).eval()
    model.add_zero_shot_head()
    vpt_pmg_aft.add_prompts(model, 3, torch.Generator().manual_seed(0))
    assert model.architecture["spec"] == "open_clip:custom"
    preprocessing = {"size": 224, "mean": model.preprocessing.mean, "std": model.preprocessing.std}
    about = {
        "architecture": model.architecture,
        "preprocessing": preprocessing,
        "classes": list(labels.classes),
    }
    written = Checkpoint(model.tensors(), about)
    shown = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.logits(shown)
        torch.testing.assert_close(subject.load(written)(shown), logits)
        again = models.from_checkpoint(written, labels).eval()
        torch.testing.assert_close(again.logits(shown), logits)
    assert torch.equal(again.tokenize(["a cat"]), model.tokenize(["a cat"]))


def test_what_a_checkpoint_could_not_describe_is_refused() -> None:
    network = small()
    words = WordTokenizer(CONFIG["words"], 8)
    architecture = {"spec": "open_clip:ViT-B-16-SigLIP", "config": None}
    model = Model(network, words, Labels(("a", "b")), Preprocessing(16), architecture)
    with pytest.raises(UserError, match=r"ViT-B-16-SigLIP is no plain CLIP \(custom_text"):
        vpt_pmg_aft.add_prompts(model, 3, torch.Generator().manual_seed(0))
