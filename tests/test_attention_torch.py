"""Attention as a place: its probabilities and their gradients, however the attention is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sightline as sl
from sightline.errors import LayerError
from sightline.frameworks.torch import TorchModel, taps
from sightline.model import Target

FRAMEWORKS = ("torch",)
TOKENS, WIDTH = 6, 4
SEEN = torch.ones(TOKENS, TOKENS).tril(2).bool()
LATER = torch.ones(TOKENS, TOKENS).triu(1).bool()
BLIND = SEEN & (torch.arange(TOKENS) != 3)[:, None]  # the fourth token sees none
ADDED = torch.linspace(-2, 2, TOKENS**2, dtype=torch.float64).reshape(TOKENS, TOKENS)


def fused(**options: Any) -> Callable[..., torch.Tensor]:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)


def grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k[:, ::2], v[:, ::2], enable_gqa=True)


def explicit(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (q @ k.mT / WIDTH**0.5).softmax(dim=3) @ v


FORMS: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {  # and their products, by hand
    "fused": (fused(), lambda q, k: q @ k.mT / 2),
    "scaled": (fused(scale=0.3), lambda q, k: q @ k.mT * 0.3),
    "causal": (fused(is_causal=True), lambda q, k: (q @ k.mT / 2).masked_fill(LATER, -1e300)),
    "masked": (fused(attn_mask=SEEN), lambda q, k: (q @ k.mT / 2).masked_fill(~SEEN, -1e300)),
    "added": (fused(attn_mask=ADDED), lambda q, k: q @ k.mT / 2 + ADDED),
    "grouped": (grouped, lambda q, k: q @ k[:, [0, 0, 2, 2]].mT / 2),
    "explicit": (explicit, lambda q, k: q @ k.mT / 2),
}


class Attends(nn.Module):
    """Two times attention of four heads, the second time with another layer's queries."""

    def __init__(self, form: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, 4 * WIDTH) for _ in range(3))
        self.out, self.form, self.last = nn.Linear(4 * WIDTH, WIDTH), form, nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            q, k, v = (part(x).unflatten(-1, (4, WIDTH)).transpose(1, 2) for part in (self.q, self.k, self.v))
            x = x + self.out(self.form(q, k, v).transpose(1, 2).flatten(2))
        return self.last(x[:, 0])


def tokens() -> torch.Tensor:
    return torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def made(module: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return module().double().eval()


def by_hand(net: Attends, x: torch.Tensor, products: Callable[..., torch.Tensor], every: int) -> Any:
    """The probabilities of both calls and their gradients, each matrix on the path by itself; the scores."""
    found = []
    for _ in range(2):
        q, k, v = (part(x).unflatten(-1, (4, WIDTH)).transpose(1, 2) for part in (net.q, net.k, net.v))
        powers = products(q, k).exp()
        found.append(powers / powers.sum(-1, keepdim=True))
        v = v if every == 1 else v[:, [0, 0, 2, 2]]
        x = x + net.out((found[-1] @ v).transpose(1, 2).flatten(2))
    scores = net.last(x[:, 0])
    return found, torch.autograd.grad(scores[:, 1].sum(), found), scores


PLACES = ["#attention", "#attention:2"]


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_and_their_gradients_are_those_by_hand(form: str) -> None:
    net, x = made(lambda: Attends(FORMS[form][0])), tokens()
    model = TorchModel(net, channel=-1)
    assert [(p.name, p.shape) for p in model.places(x) if p.attends] == [(name, (4, TOKENS, TOKENS)) for name in PLACES]
    trace = model.run(x, at=PLACES, target=Target(lambda outputs: outputs.T[1:2]))
    values, grads, scores = by_hand(net, x, FORMS[form][1], 2 if form == "grouped" else 1)
    torch.testing.assert_close(trace.outputs, net(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(trace.outputs, scores, rtol=0, atol=1e-12)
    for place, value, grad in zip(PLACES, values, grads):
        torch.testing.assert_close(trace.values[place], value, rtol=0, atol=1e-12)
        torch.testing.assert_close(trace.grads[place][0], grad, rtol=0, atol=1e-12)


def test_a_token_that_sees_none_takes_in_nothing() -> None:
    net, x = made(lambda: Attends(fused(attn_mask=BLIND))), tokens()
    trace = TorchModel(net, channel=-1).run(x, at=PLACES, target=Target(lambda outputs: outputs.T[1:2]))
    torch.testing.assert_close(trace.outputs, net(x), rtol=0, atol=1e-12)
    assert trace.values[PLACES[0]][:, :, 3].abs().max() == 0
    assert all(grad.isfinite().all() for grad in trace.grads.values())


class Encoder(nn.Module):
    """Attention as a module, with or without its weights, batch first or not, and a mask."""

    def __init__(self, need_weights: bool, batch_first: bool, heads: int, mask: torch.Tensor | None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, heads, batch_first=batch_first)
        self.options, self.head = {"need_weights": need_weights, "attn_mask": mask}, nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = x if self.attention.batch_first else x.transpose(0, 1)
        t = t + self.attention(t, t, t, **self.options)[0]
        return self.head(t.sum(1 if self.attention.batch_first else 0))


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("mask", [None, ~SEEN])
def test_the_module_of_torch_shows_what_it_would_return(
    need_weights: bool, batch_first: bool, heads: int, mask: torch.Tensor | None
) -> None:
    net, x = made(lambda: Encoder(need_weights, batch_first, heads, mask)), tokens()
    model, place = TorchModel(net, channel=-1), "attention#attention"
    assert [layer.shape for layer in model.places(x) if layer.attends] == [(heads, TOKENS, TOKENS)]
    for target in (None, Target(lambda outputs: outputs.T[1:2])):
        trace = model.run(x, at=[place], target=target)
        torch.testing.assert_close(trace.outputs, net(x), rtol=0, atol=1e-12)
        t = x if batch_first else x.transpose(0, 1)
        expected = net.attention(t, t, t, attn_mask=mask, average_attn_weights=False)[1]
        torch.testing.assert_close(trace.values[place], expected, rtol=0, atol=1e-12)
    assert trace.grads[place].shape == (1, 2, heads, TOKENS, TOKENS)
    assert trace.grads[place].abs().max() > 0


def test_a_pass_that_asks_for_no_attention_leaves_it_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = made(lambda: Attends(fused())), tokens()
    model = TorchModel(net, channel=-1)
    opened: list[Any] = []
    monkeypatch.setattr(taps, "Open", lambda seen: opened.append(seen) or taps.nullcontext())
    model.run(x, at=["", "q"], target=Target(lambda outputs: outputs.T[1:2]))
    assert not opened
    with pytest.raises(LayerError):
        model.run(x, at=["#attention"])  # and this one would have opened it
    assert opened


def test_attention_that_is_not_there_is_refused() -> None:
    model = TorchModel(made(lambda: Attends(fused())), channel=-1)
    with pytest.raises(LayerError, match="the model has no module called 'nothing'"):
        model.run(tokens(), at=["nothing#attention"])
    for place in ("q#attention", "#attention:3"):
        with pytest.raises(LayerError, match="never reaches it"):
            model.run(tokens(), at=[place])


class Ordered(nn.Module):
    """An encoder of torch's own, images or tokens first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.patches, self.first = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.zeros(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=batch_first, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.batch_first, self.norm, self.head = batch_first, nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], 1)
        whole = self.encoder(tokens if self.batch_first else tokens.transpose(0, 1))
        return self.head(self.norm(whole if self.batch_first else whole.transpose(0, 1))[:, 0])


@pytest.mark.parametrize("count", [1, 3])
def test_transformer_attribution_is_the_same_whether_tokens_or_images_come_first(count: int) -> None:
    torch.manual_seed(0)
    one = Ordered(batch_first=True).double().eval()
    for p in one.parameters():
        p.data += 0.2 * torch.randn_like(p)
    other = Ordered(batch_first=False).double().eval()
    other.load_state_dict(one.state_dict())
    x = np.random.default_rng(0).normal(size=(count, 3, 16, 24))
    first, second = (sl.explain(m, x, method="transformer-attribution", target=2).attribution for m in (one, other))
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-6 * np.abs(first).max())
