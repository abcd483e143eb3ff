"""Models of timm and of Hugging Face's transformers, with the preprocessing and the names that they carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sightline.errors import ModelError, nearest, told_by
from sightline.frameworks import Source
from sightline.frameworks.torch.load import with_weights
from sightline.frameworks.torch.processors import carried
from sightline.labels import read_labels
from sightline.preprocessing import Preprocessing


def load_timm(name: str, *, weights: str | None = None, trust: bool = False) -> Source:
    """The timm model called `name`, with its published weights, those of a file, or "random" ones."""
    timm = _library("timm", f"timm:{name}")
    if not timm.is_model(name.partition(".")[0]):
        hint = nearest(name, timm.list_models(), "timm.list_models()")
        raise ModelError(f"timm:{name} was given; timm has no model of that name.", hint)
    module = _made(f"timm:{name}", lambda: timm.create_model(name, pretrained=weights is None))
    pre = timm_preprocessing(timm.data.resolve_model_data_config(module)) if weights is None else None
    labels = tuple(read_labels("imagenet")) if module.num_classes == 1000 else ()
    return Source(_weighted(module, weights, trust), f"timm:{name}", pre, labels)


def timm_preprocessing(config: Mapping[str, Any]) -> Preprocessing | None:
    """What timm does to a picture before a model of that configuration; None where it is no resize and crop."""
    height, width = config["input_size"][1:]
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        return None
    sides = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    resize = sides[0] if mode == "center" else sides
    own = {"mean": tuple(config["mean"]), "std": tuple(config["std"]), "interpolation": config["interpolation"]}
    return Preprocessing(resize, (height, width), **own)


def load_hf(name: str, *, weights: str | None = None, trust: bool = False) -> Source:
    """The model OWNER/NAME of Hugging Face, or of a folder that transformers has saved, for what it was trained for.

    It classifies images, segments them or finds objects; else its output is the image's embedding, beside the text's
    where it knows texts.
    """
    transformers, spec = _library("transformers", f"hf:{name}"), f"hf:{name}"
    config = _made(spec, lambda: transformers.AutoConfig.from_pretrained(name, trust_remote_code=trust))
    task = _task(config)
    kind = getattr(transformers, f"AutoModel{task}")
    if weights is None:
        module = _made(spec, lambda: kind.from_pretrained(name, trust_remote_code=trust))
        pre, notes = _preprocessing(transformers.AutoImageProcessor, name, trust)
    else:
        module, pre, notes = kind.from_config(config), None, ()
    module = _weighted(module, weights, trust)
    if not task:
        return Source(module, spec, pre, notes=notes, head="none", embed_text=_embed_text(module, name, spec))
    labels = tuple(module.config.id2label[i] for i in range(module.config.num_labels))
    output = "logits" if task == _CLASSIFIER else None
    head = _HEADS.get(module.config.problem_type or "")
    return Source(module, spec, pre, labels, notes=notes, output=output, head=head)


_CLASSIFIER = "ForImageClassification"
_HEADS = {"multi_label_classification": "sigmoid", "regression": "none"}
_SETTINGS = "preprocessor_config.json", "processor_config.json"  # where a folder has its processor's


def _preprocessing(kind: Any, name: str, trust: bool) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """What the model's processor does, and notes on it; None, too, for a folder that was saved without one."""
    if Path(name).is_dir() and not any((Path(name) / file).exists() for file in _SETTINGS):
        return None, ()
    return carried(_made(f"hf:{name}", lambda: kind.from_pretrained(name, trust_remote_code=trust)))


def _task(config: Any) -> str:
    """What a configuration's model was trained for, as transformers ends its names; "" for an embedding."""
    name = next(iter(config.architectures or ()), "")
    told = (task for task in ("ForSemanticSegmentation", "ForObjectDetection") if name.endswith(task))
    return next(told, "" if name.endswith("Model") else _CLASSIFIER)


def _embed_text(module: Any, name: str, spec: str) -> Callable[[str], Any] | None:
    """A text's vector by the model's own tokenizer, which is fetched when it is first asked for."""
    if not hasattr(module, "get_text_features"):
        return None

    def embed(text: str) -> Any:
        transformers = _library("transformers", spec)
        tokens = _made(spec, lambda: transformers.AutoTokenizer.from_pretrained(name))
        if len(tokens) <= len(tokens.all_special_ids):  # made of nothing, since there was none
            raise ModelError(f"{spec} was given with a text; it has no tokenizer.", "Save its tokenizer beside it.")
        with torch.no_grad():
            given = tokens([text], return_tensors="pt").to(module.device)
            return module.get_text_features(**given).pooler_output[0].float().cpu().numpy()

    return embed


def _library(package: str, spec: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise ModelError(
            f"{spec} was given; the package {package} is not installed.", f"Install it: pip install {package}"
        ) from None


def _made(spec: str, make: Any) -> Any:
    """What a library makes, its weights or settings fetched by its own loader."""
    try:
        return make()
    except Exception as error:
        raise ModelError(
            f"{spec} was given; it could not be loaded: {told_by(error)}",
            "Check the name and the network, or give a file you have with weights (--weights FILE, and --preprocess).",
        ) from error


def _weighted(module: nn.Module, weights: str | None, trust: bool) -> nn.Module:
    own = weights in (None, "random")
    return (module if own else with_weights(module, str(weights), trust=trust)).eval()
