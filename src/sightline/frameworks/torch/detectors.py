"""Detectors: what they found, as one tensor (n, detections, 6) of box, class and probability; see `sightline.boxes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

_ROOM = "torchvision.models.detection"


def is_torchvision(module: nn.Module, kind: str | None = None) -> bool:
    """Whether a module is one of torchvision's detectors, which take a list of images; or one of a `kind` of them."""
    kinds = [k for k in type(module).__mro__ if k.__module__.startswith(_ROOM)]
    return bool(kinds) if kind is None else any(k.__name__ == kind for k in kinds)


def candidates(module: Any, x: torch.Tensor) -> torch.Tensor:
    """All that a Faster, Mask or Keypoint R-CNN considers: each class at each proposal, before any is thrown away.

    Its own order of parts (torchvision's `GeneralizedRCNN.forward`), up to where scores are compared with a threshold.
    """
    images, _ = module.transform(list(x))
    features = module.backbone(images.tensors)
    features = {"0": features} if isinstance(features, torch.Tensor) else features
    proposals, _ = module.rpn(images, features)
    heads, sizes = module.roi_heads, images.image_sizes
    logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
    boxes, sure, counts = heads.box_coder.decode(deltas, proposals), logits.softmax(-1), [len(p) for p in proposals]
    each = zip(boxes.split(counts), sure.split(counts), sizes)
    return pad_sequence([_of_proposals(*one) for one in each], batch_first=True)


def _of_proposals(boxes: torch.Tensor, sure: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (proposals, classes, 4) in pixels and probabilities (proposals, classes), the first of them background."""
    classes = torch.arange(sure.shape[1], device=sure.device, dtype=sure.dtype).expand_as(sure)
    return _packed(_fractions(boxes, size), classes, sure)[:, 1:].flatten(0, 1)


def as_detections(module: nn.Module, given: Any, x: torch.Tensor) -> Any:
    """What a detector gave for the images `x`, as detections; anything else as it is."""
    logits = next((given[k] for k in ("logits", "pred_logits") if k in given), None) if _has_boxes(given) else None
    if logits is not None:
        return _of_queries(logits, given["pred_boxes"], getattr(module, "config", None))
    if not _is_list(given):
        return given
    each = [_packed(_fractions(one["boxes"], x.shape[-2:]), one["labels"].to(x.dtype), one["scores"]) for one in given]
    return pad_sequence([*each, x.new_zeros(1, 6)], batch_first=True)[: len(each)]  # one row, where nothing was found


def _has_boxes(given: Any) -> bool:
    return isinstance(given, Mapping) and "pred_boxes" in given


def _is_list(given: Any) -> bool:
    """Whether it is torchvision's list of a dictionary for each image."""
    return isinstance(given, list) and all(
        isinstance(one, Mapping) and {"boxes", "labels", "scores"} <= set(one) for one in given
    )


def _of_queries(logits: torch.Tensor, boxes: torch.Tensor, config: Any) -> torch.Tensor:
    """Logits (n, queries, classes), boxes (n, queries, 4) as centre and size: those of DETR, whose last class is none.

    A descendant of it with as many logits as classes takes the sigmoid of each.
    """
    plain = config is not None and logits.shape[-1] == config.num_labels
    sure = logits.sigmoid() if plain else logits.softmax(-1)[..., :-1]
    classes = torch.arange(sure.shape[-1], device=sure.device, dtype=sure.dtype).expand_as(sure)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([centre - half, centre + half], dim=-1)
    return _packed(corners[:, :, None].expand(*sure.shape, 4), classes, sure).flatten(1, 2)


def _fractions(boxes: torch.Tensor, size: Any) -> torch.Tensor:
    """Boxes (..., 4) in pixels of an image (height, width), clipped to it, as fractions of its sides."""
    height, width = size
    return (boxes / boxes.new_tensor([width, height, width, height])).clamp(0, 1)


def _packed(boxes: torch.Tensor, classes: torch.Tensor, sure: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes, classes[..., None], sure[..., None]], dim=-1)
