"""Small detectors and segmentation nets of torch, torchvision and transformers, with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from torchvision.models import detection, segmentation
from torchvision.models.detection import faster_rcnn as faster_rcnn_parts
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign


class Linear(nn.Module):
    """A segmentation whose scores are a weighed mean of the colours of two by two pixels, beside another output."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(weights.shape[1], weights.shape[0], 1, bias=False)
        self.conv.weight.data = weights[:, :, None, None].clone()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = nn.functional.avg_pool2d(self.conv(x), 2)
        return {"out": y, "aux": -y}


class Finder(nn.Module):
    """A detector of fixed boxes: each is as sure as its part of the image is bright, of each class by another colour."""

    def __init__(self, boxes: list[list[int]], size: int) -> None:
        super().__init__()
        self.boxes, self.size = boxes, size
        self.register_buffer("gain", torch.ones((), dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = []
        for x0, y0, x1, y1 in self.boxes:
            sure = x[:, :, y0:y1, x0:x1].mean((2, 3)) * self.gain
            for c in range(x.shape[1]):
                edges = x.new_tensor([x0, y0, x1, y1]).div(self.size).expand(len(x), 4)
                rows.append(torch.cat([edges, x.new_full((len(x), 1), c), sure[:, c : c + 1]], dim=1))
        return torch.stack(rows, dim=1)


def fcn() -> Any:
    torch.manual_seed(0)
    return segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True).eval()


def deeplab() -> Any:
    torch.manual_seed(0)
    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).double().eval()


def segformer() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [8, 16], "decoder_hidden_size": 16, "depths": [1, 1], "sr_ratios": [2, 1]}
    patches = {"patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}
    config = transformers.SegformerConfig(num_encoder_blocks=2, num_labels=5, **sizes, **patches)
    return transformers.SegformerForSemanticSegmentation(config).double().eval()


def detr() -> Any:
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    depths = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    own = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None, "backbone_config": backbone}
    config = transformers.DetrConfig(d_model=16, num_queries=7, num_labels=4, **own, **heads, **depths)
    return transformers.DetrForObjectDetection(config).double().eval()


def faster_rcnn(**options: Any) -> Any:
    torch.manual_seed(0)
    small = {"min_size": 64, "max_size": 64, "rpn_post_nms_top_n_test": 30}
    net = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4, **small, **options
    )
    nn.init.normal_(net.roi_heads.box_predictor.cls_score.weight, std=0.2)
    return net.double().eval()


def small_rcnn(**options: Any) -> Any:
    """A Faster R-CNN of one map, which is quick."""
    torch.manual_seed(0)
    backbone: Any = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    backbone.out_channels = 8
    heads = {"box_head": faster_rcnn_parts.TwoMLPHead(8 * 9, 16), "box_predictor": FastRCNNPredictor(16, 4)}
    nn.init.normal_(heads["box_predictor"].cls_score.weight, std=0.5)
    grid = {"rpn_anchor_generator": AnchorGenerator(((16, 32),), ((0.5, 1.0),)), "rpn_post_nms_top_n_test": 20}
    pool = MultiScaleRoIAlign(["0"], 3, 2)
    size = {"min_size": 64, "max_size": 64}
    return detection.FasterRCNN(backbone, box_roi_pool=pool, **size, **grid, **heads, **options).double().eval()


def retina() -> Any:
    """A detector that gives a list, after its threshold and its suppression of doubles."""
    torch.manual_seed(0)
    backbone: Any = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    backbone.out_channels = 8
    anchors = AnchorGenerator(((16, 32),), ((0.5, 1.0),))
    head = detection.retinanet.RetinaNetHead(8, 4, 3, norm_layer=nn.Identity)
    for layer in (head.classification_head.cls_logits, head.regression_head.bbox_reg):
        nn.init.normal_(layer.weight, std=0.5)
    size = {"min_size": 64, "max_size": 64, "score_thresh": 0.0}
    return detection.RetinaNet(backbone, 3, anchor_generator=anchors, head=head, **size).double().eval()


def clip() -> Any:
    torch.manual_seed(0)
    half = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": 50, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=half | text, vision_config=half | {"image_size": 32, "patch_size": 8}, projection_dim=8
    )
    return transformers.CLIPModel(config).double().eval()
