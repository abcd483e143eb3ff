"""The methods of attention once more, from their papers: one image of a SmallViT, its attention matrices in the open."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from token_nets import SmallViT


class Opened:
    """A pass of one image: what goes into each operation, attention (heads, tokens, tokens) on the gradient's path."""

    def __init__(self, net: SmallViT, image: torch.Tensor) -> None:
        self.net, self.blocks = net, []
        self.extra = net.first.shape[1]
        t = torch.cat([net.first[0], net.patches(image[None])[0].flatten(1).T])
        for block in net.blocks:
            t = self.block(block, t)
        self.end = t

    def block(self, block: nn.Module, t: torch.Tensor) -> torch.Tensor:
        mha, heads = block.attention, block.attention.num_heads
        normed = block.norm1(t)
        q, k, v = (
            (normed @ w.T + b).reshape(len(t), heads, -1).transpose(0, 1)
            for w, b in zip(mha.in_proj_weight.chunk(3), mha.in_proj_bias.chunk(3))
        )
        products = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        powers = torch.exp(products)
        a = powers / powers.sum(-1, keepdim=True)
        mixed = (a @ v).transpose(0, 1).reshape(len(t), -1)
        out = mixed @ mha.out_proj.weight.T + mha.out_proj.bias
        middle = t + out
        normed2 = block.norm2(middle)
        wide = block.mlp[0](normed2)
        bent = block.mlp[1](wide)
        last = block.mlp[2](bent)
        self.blocks.append(
            {"t": t, "normed": normed, "q": q, "k": k, "v": v, "products": products, "a": a, "mixed": mixed}
            | {"out": out, "middle": middle, "normed2": normed2, "bent": bent, "last": last, "end": middle + last}
        )
        return self.blocks[-1]["end"]

    def score(self, t: torch.Tensor, target: int) -> torch.Tensor:
        normed = self.net.norm(t)
        return self.net.head(normed[0] if self.extra else normed.mean(0))[target]

    def attention(self) -> list[torch.Tensor]:
        return [block["a"] for block in self.blocks]

    def gradients(self, target: int) -> list[torch.Tensor]:
        return list(torch.autograd.grad(self.score(self.end, target), self.attention(), retain_graph=True))

    def cells(self, rows: torch.Tensor) -> np.ndarray:
        """The token of the class's row, or the mean of all, without tokens that are no cells."""
        row = rows[0] if self.extra else rows.mean(0)
        side = round((len(row) - self.extra) ** 0.5)
        return row[self.extra :].reshape(side, side).detach().numpy()


def product(steps: list[torch.Tensor]) -> torch.Tensor:
    found = torch.eye(len(steps[0]), dtype=steps[0].dtype)
    for step in steps:
        found = step @ found
    return found


def attention_rollout(net: SmallViT, image: torch.Tensor, target: int) -> np.ndarray:
    o = Opened(net, image)
    steps = [0.5 * a.mean(0) + 0.5 * torch.eye(a.shape[-1]) for a in o.attention()]
    return o.cells(product([step / step.sum(-1, keepdim=True) for step in steps]))


def gradient_attention_rollout(net: SmallViT, image: torch.Tensor, target: int) -> np.ndarray:
    o = Opened(net, image)
    steps = []
    for a, g in zip(o.attention(), o.gradients(target)):
        fused = (a * g).mean(0)
        fused[fused < 0] = 0
        step = (fused + torch.eye(len(fused))) / 2
        steps.append(step / step.sum(-1, keepdim=True))
    return o.cells(product(steps))


def generic_attention(net: SmallViT, image: torch.Tensor, target: int) -> np.ndarray:
    o = Opened(net, image)
    r = torch.eye(len(o.end), dtype=o.end.dtype)
    for a, g in zip(o.attention(), o.gradients(target)):
        r = r + (g * a).clamp(min=0).mean(0) @ r
    return o.cells(r - torch.eye(len(r)))


def legrad(net: SmallViT, image: torch.Tensor, target: int) -> np.ndarray:
    o = Opened(net, image)
    found = torch.zeros(len(o.end), dtype=o.end.dtype)
    for block in o.blocks:
        score = net.head(net.norm(block["end"].mean(0)))[target]
        (g,) = torch.autograd.grad(score, [block["a"]], retain_graph=True)
        found += g.clamp(min=0).mean(0).mean(0)
    side = round((len(found) - o.extra) ** 0.5)
    return found[o.extra :].reshape(side, side).numpy()


def transformer_attribution(net: SmallViT, image: torch.Tensor, target: int) -> np.ndarray:
    o = Opened(net, image)
    gradients = o.gradients(target)
    with torch.no_grad():
        relevance = relevance_at_attention(o, target)
        steps = [(g * r).clamp(min=0).mean(0) + torch.eye(r.shape[-1]) for g, r in zip(gradients, relevance)]
        return o.cells(product(steps) - torch.eye(len(steps[0])))


def relevance_at_attention(o: Opened, target: int) -> list[torch.Tensor]:
    """Relevance of each block's attention, one at the class."""
    net = o.net
    normed = net.norm(o.end)
    read = normed[0] if o.extra else normed.mean(0)
    r_read = z_plus(read, net.head.weight[target], torch.ones(1, dtype=read.dtype))
    r = torch.zeros_like(normed)
    if o.extra:
        r[0] = r_read
    else:
        r = normed / len(normed) * (r_read / read)
    found = []
    for block, own in zip(net.blocks[::-1], o.blocks[::-1]):
        mha = block.attention
        r_skip, r_mlp = added(own["middle"], own["last"], r)
        r_mlp = z_plus(own["bent"], block.mlp[2].weight, r_mlp)
        r_skip = r_skip + z_plus(own["normed2"], block.mlp[0].weight, r_mlp)
        r_skip, r_out = added(own["t"], own["out"], r_skip)
        r_mixed = z_plus(own["mixed"], mha.out_proj.weight, r_out)
        r_mixed = r_mixed.reshape(len(r), mha.num_heads, -1).transpose(0, 1)
        share = r_mixed / (own["a"] @ own["v"])
        r_a = torch.einsum("hij,hjc,hic->hij", own["a"], own["v"], share) / 2
        r_v = torch.einsum("hij,hjc,hic->hjc", own["a"], own["v"], share) / 2
        found.insert(0, r_a)
        inner = r_a / (own["q"] @ own["k"].transpose(1, 2))
        r_q = torch.einsum("hic,hjc,hij->hic", own["q"], own["k"], inner) / 2
        r_k = torch.einsum("hic,hjc,hij->hjc", own["q"], own["k"], inner) / 2
        joint = torch.cat([part.transpose(0, 1).reshape(len(r), -1) for part in (r_q, r_k, r_v)], 1)
        r = r_skip + z_plus(own["normed"], mha.in_proj_weight, joint)
    return found


def z_plus(x: torch.Tensor, w: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """What x_i w_ji > 0 brings to each output j divides its relevance; the bias takes nothing."""
    up = (x[..., None, :] * w).clamp(min=0)
    total = up.sum(-1, keepdim=True)
    return (up / torch.where(total == 0, 1, total) * r[..., None]).sum(-2)


def added(a: torch.Tensor, b: torch.Tensor, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """In proportion to the values, then each part scaled, so that the parts sum to the whole."""
    a, b = a * r / (a + b), b * r / (a + b)
    size = a.sum().abs() + b.sum().abs()
    return tuple(part * (part.sum().abs() / size * r.sum() / part.sum()) for part in (a, b))
