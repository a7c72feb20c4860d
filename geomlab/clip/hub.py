"""What a config from elsewhere may ask open_clip to load: nothing but what stands beside it.

open_clip passes a config's `tokenizer_kwargs` on to `transformers.AutoTokenizer`, among whose options is one that runs
code of a repository, and it fetches towers by the names in the config.
"""

import json
from collections.abc import Mapping
from typing import Any

import open_clip

from geomlab.clip import limits
from geomlab.errors import UserError, first_line
from geomlab.spec import Spec

HARMLESS = frozenset({"clean", "strip_sep_token", "language"})
"""Options of open_clip's own tokenizers."""


def check(spec: Spec) -> None:
    """Read the config of `hf-hub:` or `local-dir:`, and refuse one that asks for more than its own files.

    Raises:
        UserError: if there is none, or it does.
    """
    name = spec.positional
    try:
        config = open_clip.get_model_config(name)
    except json.JSONDecodeError as error:
        raise UserError(f"'{spec.text}': its open_clip_config.json is no JSON ({error})") from error
    except Exception as error:  # the hub's library fails in many ways
        said = first_line(error)
        raise UserError(
            f"'{spec.text}': no open_clip_config.json can be had: {said}; with the hub out of reach, give a folder "
            "that holds the files, open_clip:local-dir:FOLDER"
        ) from error
    if not isinstance(config, dict) or not all(
        isinstance(config.get(key), dict) for key in ("vision_cfg", "text_cfg")
    ):
        raise UserError(f"'{spec.text}': its open_clip_config.json describes no CLIP (vision_cfg, text_cfg)")
    asked = _asked(config, name)
    if asked:
        raise UserError(
            f"'{spec.text}': its config asks for what it does not hold ({', '.join(asked)}); geomlab loads what the "
            "SPEC names and nothing else"
        )
    _check_size(spec, config)


def _check_size(spec: Spec, config: Mapping[str, Any]) -> None:
    try:
        limits.check_open_clip(config)
    except limits.TooLarge as error:
        raise UserError(f"'{spec.text}': its open_clip_config.json asks for {error}") from error
    except Exception:  # of what is no plain CLIP, or none: open_clip itself says what
        return


def check_built_in(spec: Spec, config: Mapping[str, Any]) -> None:
    """Refuse a model of open_clip's list that would download a tower though the SPEC asks for no download.

    Raises:
        UserError: naming it, or if it has a text decoder.
    """
    if "multimodal_cfg" in config:
        raise UserError(f"'{spec.text}': a CoCa, whose image tower gives more than an embedding; take a CLIP")
    tower = config["text_cfg"].get("hf_model_name")
    if tower and spec.option("pretrained") is None:
        raise UserError(
            f"'{spec.text}': its text tower {tower} would be downloaded, which the SPEC does not ask for; "
            "add pretrained=TAG"
        )


def _asked(config: Mapping[str, Any], name: str) -> list[str]:
    vision, text = config["vision_cfg"], config["text_cfg"]
    asked = [key for key in (*vision, *text) if key in ("hf_model_name", "timm_model_name")]
    if "timm_model_name" in asked and _plain(vision.get("timm_model_name")):
        asked.remove("timm_model_name")
    repository = name.partition(":")[2]
    if name.startswith("hf-hub:") and text.get("hf_tokenizer_name", repository) != repository:
        asked.append("hf_tokenizer_name")
    options = text.get("tokenizer_kwargs") or {}
    options = options if isinstance(options, dict) else {"": options}
    asked += [f"tokenizer_kwargs.{key}" for key in options if key not in HARMLESS]
    return asked + [key for key in ("multimodal_cfg",) if key in config]


def _plain(name: object) -> bool:
    """Whether it is a model of timm itself: a name with a colon is one of the hub's or of a folder."""
    return isinstance(name, str) and ":" not in name and "/" not in name
