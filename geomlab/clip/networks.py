"""CLIPs of open_clip: from a config, by name, from the hub or a folder."""

import logging
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from geomlab import checkpoint, prompts
from geomlab.clip import activation, forms, hub, limits
from geomlab.errors import UserError, first_line
from geomlab.files import is_file
from geomlab.spec import Spec


def build(config: Mapping[str, Any]) -> CLIP:
    """An open_clip `CLIP` from `{"embed_dim", "vision_cfg", "text_cfg"[, "quick_gelu"]}`, randomly initialised.

    With a number of `prompts` its image tower has so many prompt tokens (geomlab/prompts.py), which are zero.

    Raises:
        UserError: if it does not describe one, or asks for a tower that other libraries would fetch.
    """
    try:
        towers = [*config["vision_cfg"], *config["text_cfg"]]
        fetched = [key for key in towers if key.startswith(("hf_", "timm_"))]
        if fetched:
            raise UserError(
                f"the config names what would be downloaded ({', '.join(fetched[:5])}); remove it"
            )
        limits.check_open_clip(config)
        if config.get(prompts.NAME, 0) > limits.PROMPTS:
            raise limits.TooLarge(f"{config[prompts.NAME]} prompt tokens")
        network = CLIP(
            embed_dim=config["embed_dim"],
            vision_cfg=CLIPVisionCfg(**config["vision_cfg"]),
            text_cfg=CLIPTextCfg(**config["text_cfg"]),
            quick_gelu=config.get("quick_gelu", False),
        )
        if prompts.NAME in config:
            tokens = torch.zeros(config[prompts.NAME], prompts.width(network.visual))
            prompts.add(network.visual, tokens)
        return network
    except UserError:
        raise
    except Exception as error:  # open_clip's constructors fail in any way on numbers they do not expect
        raise UserError(
            f"its config does not describe a CLIP of open_clip ({type(error).__name__}: {error}); write it anew"
        ) from error


def config_of(name: str) -> dict[str, Any]:
    """The full description of a model of open_clip's own list, as `build` takes it.

    Raises:
        UserError: if it has parts that `build` does not make.
    """
    config: dict[str, Any] = open_clip.get_model_config(name)
    other = sorted(set(config) - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
    if other:
        raise UserError(f"{name} is no plain CLIP ({', '.join(other)}); start from ViT-B-32, say")
    return config


def brings_weights(spec: Spec) -> bool:
    """Whether a SPEC names pretrained weights, and so allows what is missing to be downloaded."""
    return spec.option("pretrained") is not None or _elsewhere(spec.positional)


def create(spec: Spec, *, pretrained: bool = True) -> Any:
    """A CLIP by `open_clip:NAME[,pretrained=TAG or FILE]`, `open_clip:hf-hub:ORG/REPO` or `open_clip:local-dir:FOLDER`.

    What open_clip logs of weights that are not loaded is kept back: it was asked for, or it is raised.

    Args:
        spec: the SPEC.
        pretrained: whether the weights it names are loaded. Without, those of a tag are not downloaded.

    Returns:
        A `CLIP`, or one of open_clip's classes with a text tower of its own, `CustomTextCLIP`.

    Raises:
        UserError: if there is no such model, tag, folder or repository, its weights cannot be had, are of the other
            activation or do not fit, or it would download what the SPEC does not name.
    """
    spec.only("pretrained")
    name, wanted = spec.positional, spec.option("pretrained")
    if _elsewhere(name):
        hub.check(spec)
        return _made(spec, require_pretrained=pretrained, load_weights=pretrained)
    if name not in open_clip.list_models():
        raise UserError(f"'{spec.text}': open_clip has no model '{name}'; see open_clip.list_models()")
    config = open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if wanted is None or wanted in tags:
        if wanted is not None:
            activation.check_tag(name, wanted)
        hub.check_built_in(spec, config)
        pixels = open_clip.get_pretrained_cfg(name, wanted) if wanted is not None else {}
        return _made(
            spec,
            pretrained=wanted if pretrained else None,
            force_preprocess_cfg={key: pixels[key] for key in ("mean", "std") if key in pixels},
        )
    if not is_file(wanted):
        raise UserError(
            f"'{spec.text}': no pretrained tag '{wanted}', and no such file; {name} has {', '.join(tags) or 'none'}"
        )
    hub.check_built_in(spec, config)
    model = _made(spec)
    if pretrained:
        state = checkpoint.read(wanted)
        activation.check_recorded(state.architecture, f"open_clip:{name}")
        forms.fill(model, forms.of_clip(state.tensors), name, spec.text, whole=True)
    return model


def _made(spec: Spec, **options: Any) -> Any:
    """What open_clip makes; its towers' own base weights are never fetched."""
    root = logging.getLogger()
    root.addFilter(_is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "QuickGELU mismatch")  # looked at before
            return open_clip.create_model(
                spec.positional, pretrained_image=False, pretrained_text=False, **options
            )
    except pickle.UnpicklingError as error:
        raise UserError(
            f"'{spec.text}': its weights would run code, which geomlab never does; take a folder or repository with "
            "safetensors"
        ) from error
    except Exception as error:  # open_clip, the hub and the constructors fail in many ways
        said = first_line(error)
        raise UserError(f"'{spec.text}': open_clip cannot get its weights: {said}") from error
    finally:
        root.removeFilter(_is_news)


def _elsewhere(name: str) -> bool:
    return name.startswith(("hf-hub:", "local-dir:"))


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not message.startswith(
        ("No pretrained weights loaded", "Failed to download", "Could not find/download")
    )
