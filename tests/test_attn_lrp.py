"""AttnLRP against attention by hand, in every form of attention that torch has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sightline.frameworks.torch import TorchModel
from sightline.method import METHODS
from sightline.model import Target
from torch_nets import close, image, made

FRAMEWORKS = ("torch",)
EPSILON = 1e-14


def second(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[None, :, 1]


def mapped(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    found, _ = METHODS["attn-lrp"].attribute(TorchModel(module), x, Target(second), epsilon=EPSILON)
    return found[0]


def explicit(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return ((q @ k.transpose(1, 2)) / 2).softmax(-1) @ v


FORMS: dict[str, Callable[..., torch.Tensor]] = {
    "explicit": explicit,
    "bmm": lambda q, k, v: torch.bmm(F.softmax(torch.bmm(q / 2, k.mT), dim=2), v),
    "fused": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "masked": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.ones(4, 4, dtype=torch.bool)),
}


class Attends(nn.Module):
    """Images cut in four tokens of 48 numbers; query, key and value of 4, without biases."""

    def __init__(self, form: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(48, 4, bias=False) for _ in range(3))
        self.head, self.form = nn.Linear(16, 5, bias=False), form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(len(x), 4, 48)
        return self.head(self.form(self.q(tokens), self.k(tokens), self.v(tokens)).flatten(1))


def share(z: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Relevance of what brings z (i, j) to outputs j."""
    return (z / z.sum(0)) @ r


def by_hand(module: Attends, x: np.ndarray) -> np.ndarray:
    """Equations 8, 12 and 13, number by number, for one image."""
    wq, wk, wv, head = (m.weight.detach().numpy().T for m in (module.q, module.k, module.v, module.head))
    t = x.reshape(4, 48)
    q, k, v = t @ wq, t @ wk, t @ wv
    s = q @ k.T / 2
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    o = p @ v
    r_o = share(o.ravel()[:, None] * head, (o.ravel() @ head) * (np.arange(5) == 1)).reshape(4, 4)
    r_p, r_v, r_q, r_k = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    for i, j, c in np.ndindex(4, 4, 4):
        half = p[i, j] * v[j, c] * r_o[i, c] / (2 * o[i, c])
        r_p[i, j] += half
        r_v[j, c] += half
    r_s = s * (r_p - p * r_p.sum(1, keepdims=True))
    for i, j, c in np.ndindex(4, 4, 4):
        half = q[i, c] * k[j, c] / 2 * r_s[i, j] / (2 * s[i, j])
        r_q[i, c] += half
        r_k[j, c] += half
    found = np.zeros_like(t)
    for i in range(4):
        for r, w in ((r_q, wq), (r_k, wk), (r_v, wv)):
            found[i] += share(t[i][:, None] * w, r[i])
    return found.reshape(x.shape)


@pytest.mark.parametrize("form", FORMS)
def test_attention_equals_the_paper(form: str) -> None:
    module = made(lambda: Attends(FORMS[form])).eval()
    found = mapped(module, image())
    for i in range(2):
        expected = torch.as_tensor(by_hand(module, image()[i].numpy()))
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-10 * expected.abs().max().item())


class Encoder(nn.Module):
    """A transformer's layer with everything in it, its attention with or without its weights."""

    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention, self.need_weights = nn.MultiheadAttention(48, 3, batch_first=True), need_weights
        self.norm, self.one, self.two, self.head = (
            nn.LayerNorm(48),
            nn.Linear(48, 9),
            nn.Linear(9, 48),
            nn.Linear(48, 5),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = x.reshape(len(x), 4, 48)
        n = self.norm(t)
        t = t + self.attention(n, n, n, need_weights=self.need_weights)[0]
        return self.head((t + self.two(F.gelu(self.one(t)))).mean(1))


def test_multihead_attention_is_seen_inside() -> None:
    plain, weighted = (made(lambda w=w: Encoder(w)).eval() for w in (False, True))
    with torch.no_grad():
        torch.testing.assert_close(plain(image()), weighted(image()))
    found = mapped(plain, image())
    assert found.isfinite().all()
    close(found, mapped(weighted, image()), 1e-6)


def test_an_encoder_conserves_what_its_attention_weights_do_not_take() -> None:
    """Queries of zero: the attention weights are constant, and all relevance must arrive through the values."""
    module = made(lambda: Encoder(False)).eval()
    with torch.no_grad():
        module.attention.in_proj_weight[:96] = 0
        for name, p in module.named_parameters():
            if "bias" in name:
                p.zero_()
    half = mapped(module, image()).flatten(1).sum(1)
    score = module(image())[:, 1].detach()
    direct = _through_the_values(module, image())
    torch.testing.assert_close(half, score - direct / 2, rtol=1e-5, atol=1e-7)


def _through_the_values(module: Encoder, x: torch.Tensor) -> torch.Tensor:
    """The relevance at the attention's output: half of it goes to its weights, which here hang on nothing."""
    rule = METHODS["attn-lrp"].function.__globals__
    whole = rule["attention_composite"](rule["epsilon_rule"](EPSILON), EPSILON)
    trace = TorchModel(module).run(x, at=["attention"], target=Target(second), rule=whole)
    return trace.grads["attention"][0].flatten(1).sum(1)


def test_a_layer_norm_divides_relevance_as_the_linear_layer_that_it_is_but_for_its_deviation() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(x.reshape(len(x), 4, 48)[:, 0]))

    module = made(Normed)
    nn.init.normal_(module.norm.weight), nn.init.normal_(module.norm.bias)
    found = mapped(module, image())
    w, b = (p.detach().numpy() for p in (module.norm.weight, module.norm.bias))
    for i in range(2):
        t = image()[i].reshape(4, 48)[0].numpy()
        deviation = np.sqrt(t.var() + module.norm.eps)
        wired = (np.eye(48) - 1 / 48) * w / deviation  # (inputs, outputs)
        y = t @ wired + b
        head, z = module.head.weight[1].detach().numpy(), module.head(torch.as_tensor(y))[1].item()
        r = y * head / z * z
        expected = np.concatenate([(t[:, None] * wired / y) @ r, np.zeros(144)]).reshape(3, 8, 8)
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
