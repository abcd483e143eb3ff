"""Laws and closed forms of the class activation maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import paper
import paper_cams as cams
import sightline as sl
from asked import with_head
from nets import build, native, use_float64
from rows import BASELINE, CLASSES, IMAGES, NET, attribute
from sightline.arrays import like, to_numpy
from sightline.frameworks import adapt
from sightline.layers import choose_layer
from sightline.method import METHODS
from sightline.methods._eigen import first_component, signed
from sightline.model import rows_of
from sightline.scores import as_target

FRAMEWORKS = ("torch", "keras-tensorflow")  # the rows hold on every backend
use_float64()
CELLS = 36  # of relu2


@pytest.fixture(scope="module")
def model() -> Any:
    return adapt(build(NET))


def ask(model: Any, name: str, layer: str = "relu2", **options: Any) -> np.ndarray:
    """The maps (k, n, h, w) of both classes of both images."""
    place = choose_layer(model.places(native(IMAGES, model)), layer)
    return attribute(model, name, layer=place, **options)[0]


def changed(change: Any, at: int = -1) -> paper.Net:
    """NET with the weights of one of its layers changed."""
    kind, name, *weights = NET[at]
    net = list(NET)
    net[at] = (kind, name, *change(*weights))
    return net


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def unit(maps: np.ndarray) -> np.ndarray:
    """Each map (..., h, w) over its largest absolute value; one that is zero as it is."""
    peaks = np.abs(maps).max(axis=(-2, -1), keepdims=True)
    return maps / np.where(peaks, peaks, 1)


def test_behind_a_mean_and_a_linear_layer_the_family_is_one(model: Any) -> None:
    """The gradient is the same in every cell: the linear layer's weight over the number of cells."""
    plain, whole = ask(model, "cam"), ask(model, "grad-cam")
    assert_close(whole, plain.clip(0) / CELLS)
    for name in ("hires-cam", "xgrad-cam"):
        assert_close(ask(model, name), whole)
    assert_close(ask(model, "recipro-cam"), (plain - plain.min(axis=(2, 3), keepdims=True)) / CELLS)
    assert_close(ask(model, "layer-cam"), ask(model, "elementwise-grad-cam"))
    for k, c in enumerate(CLASSES):
        for i, image in enumerate(IMAGES):
            assert plain[k, i].mean() + NET[-1][3][c] == pytest.approx(paper.scores(NET, image)[c], rel=1e-10)


def test_ablation_cam_of_a_linear_layer_is_each_channels_part_of_the_score(model: Any) -> None:
    expected = np.empty((2, 2, 6, 6))
    for k, c in enumerate(CLASSES):
        for i, image in enumerate(IMAGES):
            a, score = cams.features_of(NET, image, "relu2"), paper.scores(NET, image)[c]
            expected[k, i] = (a @ (NET[-1][2][:, c] * a.mean(axis=(0, 1)) / abs(score))).clip(0)
    assert_close(ask(model, "ablation-cam"), expected)


def test_ablation_cam_is_not_turned_over_by_a_negative_score() -> None:
    low = adapt(build(changed(lambda w, b: (w, b - 1000))))
    score = paper.scores(NET, IMAGES[0])[CLASSES[0]]
    expected = cams.ablation_cam(NET, IMAGES[0], CLASSES[0], "relu2") * abs(score) / abs(score - 1000)
    np.testing.assert_allclose(ask(low, "ablation-cam")[0, 0], expected, rtol=0, atol=1e-10 * expected.max())


def test_cam_refuses_what_is_not_a_mean_and_a_linear_layer(model: Any) -> None:
    rng = np.random.default_rng(1)
    hidden = [*NET[:-1], ("linear", "hidden", rng.normal(size=(6, 4)), rng.normal(size=4)), ("relu", "bent"), _head(4)]
    for other, layer in ((model, "pool1"), (adapt(build(hidden)), "relu2")):
        with pytest.raises(sl.ModelError, match=r"^CAM was asked at the layer .*; expected that a mean .*\n.*grad-cam"):
            ask(other, "cam", layer)


def _head(width: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(2)
    return ("linear", "head", rng.normal(size=(width, 5)), rng.normal(size=5))


def test_half_precision_is_enough_for_cam_and_the_eigen_maps() -> None:
    """Sixteen bits round the scores by up to a hundredth, and linear algebra does not know them."""
    half = build(NET, dtype="bfloat16")
    for name in ("cam", "eigen-cam", "eigen-grad-cam", "kpca-cam"):
        found = sl.explain(half, np.float32(_float_input()), method=name, target=3, layer="relu2").attribution
        expected = np.stack([getattr(cams, name.replace("-", "_"))(NET, image, 3, "relu2") for image in IMAGES])
        assert_close(found, expected, 0.05)


SCALE_FREE = (
    *("cam", "grad-cam", "hires-cam", "elementwise-grad-cam", "xgrad-cam", "layer-cam", "eigen-cam", "eigen-grad-cam"),
    *("kpca-cam", "fem", "ablation-cam", "recipro-cam", "finer-cam", "augmented", "layer-fusion"),
)
SCALES = (1e-3, 1e4)


def test_scaling_the_scores_moves_no_normalised_map_whose_paper_implies_it(model: Any) -> None:
    scaled = [adapt(build(changed(lambda w, b, s=scale: (s * w, s * b)))) for scale in SCALES]
    for name in SCALE_FREE:
        expected = unit(ask(model, name))
        for other in scaled:
            assert_close(unit(ask(other, name)), expected, 1e-9)


def test_grad_cam_plus_plus_overflows_at_no_scale_and_minds_no_constant(model: Any) -> None:
    plain = ask(model, "grad-cam-plus-plus")
    assert_close(ask(adapt(build(changed(lambda w, b: (w, b + 5000)))), "grad-cam-plus-plus"), plain)
    for scale in (1e-100, *SCALES, 1e100):
        net = changed(lambda w, b, s=scale: (s * w, s * b))
        found = ask(adapt(build(net)), "grad-cam-plus-plus")
        assert np.isfinite(found).all()
        assert found.max() > 0
        if scale in SCALES:
            assert_close(unit(found[0, 0]), unit(cams.grad_cam_plus_plus(net, IMAGES[0], 3, "relu2")))


def test_smooth_grad_cam_plus_plus_without_noise_is_grad_cam_plus_plus(model: Any) -> None:
    for layer in ("relu2", "pool1"):
        found = ask(model, "smooth-grad-cam-plus-plus", layer, samples=2, noise=0.0)
        assert_close(found, ask(model, "grad-cam-plus-plus", layer))


def test_the_eigen_maps_grow_with_the_sum_of_the_channels(model: Any) -> None:
    """Also on a layer of both signs, and of the feature map upside down."""
    over = adapt(build(changed(lambda kernel, bias: (-kernel, -bias), at=0)))
    assert ask(model, "eigen-cam").min() > -1e-12  # of a rectified layer
    upside = ask(over, "eigen-cam", "conv1")
    assert_close(upside, -ask(model, "eigen-cam", "conv1"))
    for i, image in enumerate(IMAGES):
        total = cams.features_of(NET, image, "conv1").sum(-1)
        assert (ask(model, "eigen-cam", "conv1")[0, i] * total).sum() > 0
        assert (ask(model, "kpca-cam", "pool1")[0, i] * (total.reshape(6, 2, 6, 2).max((1, 3)))).sum() > 0


@pytest.mark.parametrize("shape", [(3, 20, 5), (3, 5, 20), (2, 3, 7, 7)])
def test_the_smaller_gram_matrix_gives_the_singular_vector(model: Any, shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).normal(size=shape)
    _, _, rows = np.linalg.svd(a)
    expected = (a @ rows[..., 0, :, None])[..., 0]
    expected = expected * np.sign((expected * a.sum(-1)).sum(-1, keepdims=True))
    x = like(a, native(IMAGES, model))
    assert_close(to_numpy(signed(first_component(x), x)), expected)
    assert not to_numpy(signed(first_component(0 * x), 0 * x)).any()


@dataclass(frozen=True)
class Counting:
    """A model that counts the images of its passes."""

    model: Any
    images: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, x: Any, **options: Any) -> Any:
        self.images.append(rows_of(options["edit"]) if options.get("edit") else x.shape[0])
        return self.model.run(x, **options)


DEAD = changed(lambda kernel, bias: (kernel, bias - 1e3 * np.eye(6)[2]), at=3)  # channel 2 is zero everywhere


@pytest.mark.parametrize(
    ("name", "passes"), [("score-cam", 5), ("is-cam", 5 * 2), ("ss-cam", 5 * 4), ("ablation-cam", 5)]
)
def test_a_dead_channel_costs_no_pass(name: str, passes: int) -> None:
    counting = Counting(adapt(build(DEAD)))
    options = {"is-cam": {"steps": 3}, "ss-cam": {"samples": 4}}.get(name, {})
    found = ask(counting, name, **options)
    assert sum(counting.images) == len(IMAGES) * (2 + passes)
    if not options:
        assert_close(found[0, 1], getattr(cams, name.replace("-", "_"))(DEAD, IMAGES[1], CLASSES[0], "relu2"))


def test_a_channel_that_lives_in_the_neighbour_alone_changes_nothing() -> None:
    """Channel 2 needs a bright image; the dark one beside it must not notice. A black net has no map at all."""
    net = changed(lambda kernel, bias: (np.abs(kernel), bias - 30 * np.eye(6)[2]), at=3)
    model = adapt(build(net))
    images = np.stack([IMAGES[0] * 0.3, np.abs(IMAGES[1]) * 50])
    assert not cams.features_of(net, images[0], "relu2")[:, :, 2].any()
    assert cams.features_of(net, images[1], "relu2")[:, :, 2].any()
    layer = choose_layer(model.places(native(images, model)), "relu2")
    for name in ("score-cam", "is-cam", "ablation-cam"):
        x = native(images[:1], model)
        weights = np.eye(5)[None, None, 3]
        options = {"steps": 3} if name == "is-cam" else {}
        alone, _ = METHODS[name].attribute(model, x, as_target(weights, x), layer=layer, **options)
        x = native(images, model)
        both, _ = METHODS[name].attribute(model, x, as_target(weights.repeat(2, 1), x), layer=layer, **options)
        assert_close(to_numpy(both)[:, :1], to_numpy(alone))
    black = adapt(build(changed(lambda kernel, bias: (0 * kernel, bias - 1e3), at=3)))
    for name in ("score-cam", "ablation-cam", "eigen-cam", "kpca-cam", "xgrad-cam", "layer-fusion"):
        assert not ask(black, name).any()


def test_without_their_own_idea_the_kin_of_score_cam_are_score_cam(model: Any) -> None:
    assert_close(ask(model, "ss-cam", samples=2, noise=0.0), ask(model, "score-cam"))
    features = [cams.features_of(NET, image, "relu2") for image in IMAGES]
    even = np.stack([a.sum(-1) / (a.max((0, 1)) > a.min((0, 1))).sum() for a in features])  # of those that vary
    assert_close(ask(model, "is-cam", steps=1), np.stack([even, even]))


def test_finer_cam_of_nothing_is_the_method_and_of_all_classes_takes_what_there_are(model: Any) -> None:
    assert_close(ask(model, "finer-cam", gamma=0.0), ask(model, "grad-cam"))
    assert_close(ask(model, "finer-cam", gamma=0.0, of="layer-cam"), ask(model, "layer-cam"))
    assert_close(ask(model, "finer-cam", references=99), ask(model, "finer-cam", references=4))


ONE = paper.small_net(seed=3, classes=1)


@pytest.mark.parametrize("target", [0, 1])
def test_one_output_is_two_classes_to_finer_cam_and_shapley_cam(target: int) -> None:
    binary, x, sign = with_head(build(ONE), "sigmoid"), _float_input(), 2 * target - 1
    finer = sl.explain(binary, x, method="finer-cam", target=target, gamma=0.5)
    plain = sl.explain(binary, x, method="grad-cam", target=target)
    np.testing.assert_allclose(finer.attribution, 1.5 * plain.attribution, rtol=1e-5, atol=1e-7)
    found = sl.explain(binary, x, method="shapley-cam", target=target).attribution
    for i, image in enumerate(IMAGES):
        a, w, b = cams.features_of(ONE, image, "relu2"), ONE[-1][2][:, 0], ONE[-1][3][0]
        s = sign * paper.scores(ONE, image)[0]
        p = 1 / (1 + np.exp(-s))
        weights = sign * w / CELLS * ((2 - p) + p * (1 - p) * (s - sign * b) / 2)
        np.testing.assert_allclose(found[i], (a @ weights).clip(0), rtol=1e-5, atol=1e-6)


def _float_input() -> Any:
    return np.moveaxis(IMAGES, -1, adapt(build(NET)).channel)


@pytest.mark.parametrize("method", ["finer-cam", "shapley-cam"])
def test_a_target_that_is_no_class_is_refused(method: str) -> None:
    with pytest.raises(sl.TargetError, match=r"^.*-?CAM was asked for a target that is no class; .*\n.*grad-cam\.$"):
        sl.explain(build(NET), _float_input(), method=method, target="1 - 3")


def test_fusion_of_one_layer_is_its_map_between_0_and_1(model: Any) -> None:
    plain = unit(ask(model, "layer-cam"))
    assert_close(attribute(model, "layer-fusion", layers="relu2")[0], np.tanh(2 * plain))
    assert_close(attribute(model, "refine-cam", of="layer-cam", layers=" relu2")[0], plain)


@pytest.mark.parametrize("method", ["layer-fusion", "refine-cam"])
def test_what_fusion_refuses(model: Any, method: str) -> None:
    with pytest.raises(sl.MethodError, match=r"^of='gradient' was given; expected a method that explains at a layer"):
        attribute(model, method, of="gradient")
    with pytest.raises(sl.LayerError, match=r"^layer 'relu3' was given; .*\n.*'relu[12]'"):
        attribute(model, method, layers="relu1,relu3")


def test_augmentation_mirrors_what_belongs_to_the_image(model: Any) -> None:
    """The baseline of integrated gradients goes with its image."""
    found, _ = attribute(model, "augmented", of="integrated-gradients", baseline=BASELINE, steps=2)
    maps = []
    for side in (slice(None), slice(None, None, -1)):
        for f in (0.9, 1.0, 1.1):
            turned = (f * IMAGES[1][:, side], CLASSES[0], f * BASELINE[1][:, side], 2)
            maps.append(paper.integrated_gradients(NET, *turned)[:, side])
    assert_close(found[0, 1], np.mean(maps, axis=0))


@pytest.mark.parametrize(
    ("of", "options"), [("integrated-gradients", {"steps": 2}), ("expected-gradients", {"samples": 2})]
)
def test_augmentation_mirrors_the_baseline_that_explain_makes(of: str, options: dict[str, Any]) -> None:
    """Of several images, several to a pass; a baseline made of the image is that of the copy only if it goes with it."""
    x = _float_input()
    name = "baseline" if of == "integrated-gradients" else "backgrounds"
    given = {name: [np.ascontiguousarray(x[:1]), np.zeros_like(x[:1])], "of": of, **options}
    both = sl.explain(build(NET), x, method="augmented", target=1, **given).attribution
    alone = sl.explain(build(NET), x[1:], method="augmented", target=1, **given).attribution
    np.testing.assert_allclose(both[1:], alone, rtol=0, atol=1e-6 * np.abs(alone).max())
    mirror = -2 if adapt(build(NET)).channel == -1 else -1
    there = {name: [np.flip(b, mirror).copy() for b in given[name]], "of": of, **options}
    turned = sl.explain(build(NET), np.flip(x, mirror).copy(), method="augmented", target=1, **there).attribution
    np.testing.assert_allclose(np.flip(turned, 2), both, rtol=0, atol=1e-6 * np.abs(both).max())


def test_finer_cam_asks_every_pass_for_the_classes_that_are_near_in_the_image(model: Any) -> None:
    """Completeness: the contrast is the same all the way from the baseline, though other classes are near there."""
    start = -3 * IMAGES
    found, _ = attribute(model, "finer-cam", of="integrated-gradients", baseline=start, steps=600, references=1)
    moved = []
    for k, c in enumerate(CLASSES):
        for i, image in enumerate(IMAGES):
            ends = [paper.scores(NET, each) for each in (image, start[i])]
            near, elsewhere = (np.argsort(np.abs(scores - scores[c]))[1] for scores in ends)
            change = ends[0] - ends[1]
            assert found[k, i].sum() == pytest.approx(change[c] - 0.6 * change[near], rel=0.02)
            moved.append(near != elsewhere)
    assert any(moved)
