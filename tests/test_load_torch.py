"""Models from specs and files in PyTorch, and what sightline refuses to read."""

from __future__ import annotations

import pickle
import sys
import urllib.error
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import sightline as sl
from sightline.arrays import beside, like
from sightline.frameworks import torch as frameworks_torch
from sightline.frameworks.torch import TorchModel, place
from sightline.labels import imagenet

FRAMEWORKS = ("torch",)
NAME = "mobilenet_v3_small"
SPEC = f"torchvision:{NAME}"
PRE = "resize=32,crop=32,mean=0.5,std=0.5"
X = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A net whose weights are told apart from freshly drawn ones."""
    from torchvision import models

    torch.manual_seed(7)
    return models.get_model(NAME, weights=None).eval()


def write(state: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return str(path)


def error_of(kind: type[sl.SightlineError], spec: Any, **options: Any) -> sl.SightlineError:
    with pytest.raises(kind) as error:
        sl.load(spec, **options)
    assert str(error.value).count("\n") == 1
    return error.value


def test_random_weights_come_with_imagenets_names_and_no_preprocessing() -> None:
    loaded = sl.load(SPEC, weights="random")
    assert loaded.name == SPEC
    assert loaded.labels == imagenet()
    assert loaded.preprocessing is None
    assert loaded.hash_weights() == loaded.hash_weights() != sl.load(SPEC, weights="random").hash_weights()


def wrapped(state: Any, how: str) -> Any:
    parallel = {f"module.{name}": value for name, value in state.items()}
    return {
        "plain": state,
        "parallel": parallel,
        "state_dict": {"epoch": 3, "state_dict": state},
        "model_state_dict": {"model_state_dict": parallel, "optimizer": {}},
        "model": {"model": state},
    }[how]


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        *[(".safetensors", "plain"), (".safetensors", "parallel")],
        *((".pth", how) for how in ("plain", "parallel", "state_dict", "model_state_dict", "model")),
    ],
)
def test_weights_of_a_file(trained: nn.Module, tmp_path: Path, suffix: str, how: str) -> None:
    file = write(wrapped(trained.state_dict(), how), tmp_path / f"w{suffix}")
    loaded = sl.load(SPEC, weights=file)
    assert loaded.hash_weights() == sl.load(trained).hash_weights()
    assert loaded.preprocessing is None  # whatever the published weights' is: these are others
    with torch.no_grad():
        expected = trained(torch.as_tensor(X))
    np.testing.assert_allclose(loaded.model.run(loaded.model.array(X)).outputs, expected, rtol=0, atol=1e-5)


def test_weights_that_do_not_fit(trained: nn.Module, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    few = {name: value for name, value in state.items() if not name.startswith("classifier.3")}
    for i, misfit in enumerate((few, {**few, "classifier.3.weight": torch.zeros(7, 1024)}, {**state, "more": X})):
        state_file = {name: torch.as_tensor(value) for name, value in misfit.items()}
        for suffix in (".pth", ".safetensors"):
            said = error_of(sl.ModelError, SPEC, weights=write(state_file, tmp_path / f"{i}{suffix}"))
            assert "of its weights do not fit the architecture, the first is" in said.given
            assert "as many classes" in said.fix


class Evil:
    """Pickled, it writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_that_runs_code_is_refused_and_not_run(trained: nn.Module, tmp_path: Path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "evil.pth"
    torch.save({**trained.state_dict(), "evil": Evil(ran)}, file)
    said = error_of(sl.UntrustedError, SPEC, weights=str(file))
    assert "would run code" in said.given
    assert "trust=True" in said.fix
    file.write_bytes(pickle.dumps(Evil(ran)))
    error_of(sl.UntrustedError, SPEC, weights=str(file))
    assert not ran.exists()


def test_with_trust_a_whole_pickled_model_is_read(trained: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save(trained, file)
    error_of(sl.UntrustedError, SPEC, weights=str(file))
    assert sl.load(SPEC, weights=str(file), trust=True).hash_weights() == sl.load(trained).hash_weights()


@pytest.mark.parametrize(
    ("content", "given"),
    [
        (None, "there is no such file"),
        (b"", "cannot be read"),
        (b"\x00" * 100, ""),
        ({"a": 3}, "holds no state dict"),
        ([1], "holds no state dict"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_hold_no_weights(tmp_path: Path, content: Any, given: str, suffix: str) -> None:
    file = tmp_path / f"w{suffix}"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    said = error_of(sl.SightlineError, SPEC, weights=str(file))
    assert str(file) in said.given
    if suffix == ".pth" or content is None:
        assert given in said.given


@pytest.mark.parametrize(
    "content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", b"<html>404</html>", b"\x89PNG\r\n"]
)
def test_a_file_that_torch_never_wrote_is_not_called_dangerous(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(content)
    said = error_of(sl.ModelError, SPEC, weights=str(file))
    assert "cannot be read" in said.given
    assert "trust" not in str(said)
    assert "weights_only" not in str(said)


def test_a_world_keeps_its_own_weights(tmp_path: Path) -> None:
    said = error_of(sl.ModelError, "world:fish-scales/rings", weights=str(tmp_path / "w.pth"))
    assert "weights= was given with a world" in said.given


def test_a_device_that_torch_was_built_without_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: Any) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    assert "device 'no' was given" in error_of(sl.ModelError, SPEC, weights="random", device="no").given
    monkeypatch.setattr(nn.Module, "to", missing)
    said = error_of(sl.ModelError, SPEC, weights="random", device="cuda")
    assert said.given == "device 'cuda' was given: Torch not compiled with CUDA enabled"


def test_a_video_model_comes_without_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    monkeypatch.setattr(models, "get_model", lambda *args, **options: nn.Identity())  # as if it had been downloaded
    assert sl.load("torchvision:r3d_18").preprocessing is None
    assert sl.load("torchvision:resnet18").preprocessing is not None


def test_other_inputs_may_be_mirrored() -> None:
    class Weighed(nn.Module):
        def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
            return (x.mean(dim=(2, 3)) * by).cumsum(1)

    by = np.array([1.0, 2.0, 3.0], np.float32)
    loaded = sl.load(Weighed(), inputs={"by": by[None, ::-1]})
    expected = (X.mean(axis=(2, 3)) * [3, 2, 1]).cumsum(1)[:1]
    np.testing.assert_allclose(loaded.model.run(loaded.model.array(X[:1])).outputs, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "given", "fix"),
    [
        ("torchvision:resnet5", "torchvision has no model of that name", "'resnet50'"),
        ("torchvision:", "torchvision has no model of that name", ""),
        ("weights.safetensors", "it holds weights without an architecture", "--weights weights.safetensors"),
        ("runs:3/weights.pth", "it holds weights without an architecture", ""),
        ("resnet50", "it is no spec and no file with a model", "torchvision:NAME"),
        ("no_such_package:net", "no_such_package:net was given", "names"),
        ("torch.nn:NoSuchNet", "torch.nn:NoSuchNet was given", "names"),
        ("torch.nn:Linear", "TypeError", ""),
        ("math:pi", "it made a float", "return a model"),
        ("os:getcwd", "it made a str", "return a model"),
        (3, "a builtins.int was given as the model", "nn.Module"),
        (None, "a builtins.NoneType was given as the model", "nn.Module"),
        ([nn.Identity()], "a builtins.list was given", ""),
    ],
)
def test_specs_that_name_no_model(spec: Any, given: str, fix: str) -> None:
    said = error_of(sl.ModelError, spec)
    assert given in said.given
    assert fix in said.fix


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "there = net()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_nets"
    sys.modules.pop("my_nets", None)


def test_a_factory_of_the_users_own(mine: str, tmp_path: Path) -> None:
    made, there = sl.load(f"{mine}:net"), sl.load(f"{mine}:there")
    module = sys.modules[mine].there
    assert (made.name, there.name) == ("my_nets:net", "my_nets:there")
    assert there.hash_weights() == sl.load(module).hash_weights() != made.hash_weights()
    file = write(module.state_dict(), tmp_path / "w.safetensors")
    assert sl.load(f"{mine}:net", weights=file).hash_weights() == there.hash_weights()


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    said = error_of(sl.ModelError, SPEC)
    assert "its weights could not be downloaded" in said.given
    assert "Name or service not known" in said.given
    assert "--weights FILE" in said.fix


def test_published_weights_come_with_their_preprocessing(monkeypatch: pytest.MonkeyPatch, trained: nn.Module) -> None:
    from torchvision import models

    monkeypatch.setattr(models, "get_model", lambda *args, **options: trained)  # as if it had been downloaded
    loaded = sl.load("torchvision:resnet50")
    assert loaded.preprocessing == sl.Preprocessing(
        resize=232, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    assert sl.load("torchvision:resnet50", preprocess=PRE).preprocessing == sl.Preprocessing.parse(PRE)


def test_the_hash_tells_one_weight(trained: nn.Module) -> None:
    import copy

    other = copy.deepcopy(trained)
    same = sl.load(other).hash_weights()
    assert same == sl.load(trained).hash_weights()
    assert len(same) == 16
    with torch.no_grad():
        other.features[0][0].weight[0, 0, 0, 0] += 1e-3
    assert sl.load(other).hash_weights() != same
    buffers = copy.deepcopy(trained)
    buffers.features[0][1].running_mean[0] += 1e-3
    assert sl.load(buffers).hash_weights() != same
    assert sl.load(copy.deepcopy(trained).half()).hash_weights() != same


def test_a_loaded_model_can_be_told_anew(trained: nn.Module) -> None:
    loaded = sl.load(trained, labels="imagenet", preprocess=PRE)
    e = sl.explain(loaded, X, method="gradient", target="tench")
    assert isinstance(e, sl.Explanation)
    assert e.target[0] == {"index": 0, "label": "tench"}
    names = [f"c{i}" for i in range(1000)]
    anew = sl.load(loaded, labels=names, preprocess="resize=64")
    assert (anew.labels, anew.preprocessing) == (tuple(names), sl.Preprocessing(resize=64))
    assert (anew.model, anew.name, loaded.labels) == (loaded.model, loaded.name, imagenet())
    e = sl.explain(loaded, X, method="gradient", target="c7", labels=names)
    assert isinstance(e, sl.Explanation)
    assert e.target[0] == {"index": 7, "label": "c7"}


@pytest.mark.parametrize("option", [{"weights": "w.pth"}, {"device": "cpu"}])
def test_a_model_that_is_there_is_not_changed(trained: nn.Module, option: dict[str, str]) -> None:
    said = error_of(sl.ModelError, trained, **option)
    assert f"{next(iter(option))}= was given with a model that is there already" in said.given


@pytest.mark.parametrize(
    "option", [{"weights": "w.pth"}, {"device": "cpu"}, {"output": 0}, {"input": "x"}, {"inputs": {"mask": X}}]
)
def test_a_loaded_model_does_not_take_options_of_loading(trained: nn.Module, option: dict[str, Any]) -> None:
    said = error_of(sl.ModelError, sl.load(trained), **option)
    assert f"{next(iter(option))}= was given with a loaded model" in said.given
    assert "sightline.load" in said.fix


def test_devices(mine: str) -> None:
    assert sl.load(f"{mine}:net", device="cpu").name == "my_nets:net"
    for device in ("gpu", "cuda:99", ""):
        assert "device" in error_of(sl.ModelError, f"{mine}:net", device=device).given


@pytest.mark.parametrize(("gibibytes", "expected"), [(1, 8), (8, 32), (11, 32), (24, 64), (80, 128), (141, 128)])
def test_a_pass_takes_as_many_images_as_the_card_has_quarters_of_a_gibibyte(
    monkeypatch: pytest.MonkeyPatch, gibibytes: int, expected: int
) -> None:
    card = SimpleNamespace(total_memory=gibibytes * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert frameworks_torch._images_in_a_pass(torch.device("cuda:1")) == expected
    assert frameworks_torch._images_in_a_pass(torch.device("cpu")) == 8


def test_labels_of_a_file(trained: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    names = [f"Käse {i}" for i in range(1000)]
    file.write_text("\n".join(names), encoding="utf-8")
    assert sl.load(trained, labels=file).labels == tuple(names)
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(f" {name}\t" for name in names).encode() + b"\r\n")
    assert sl.load(trained, labels=str(file)).labels == tuple(names)


def test_labels_that_are_none(trained: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for labels in (tmp_path / "none.txt", tmp_path / "binary", tmp_path, {0: "a"}, [1, 2]):
        assert "label" in error_of(sl.InputError, trained, labels=labels).given


def test_a_model_without_a_preprocessing_warns_and_says_what_was_assumed(trained: nn.Module) -> None:
    pixels = np.zeros((300, 280, 3), np.uint8)
    with pytest.warns(sl.PreprocessingWarning, match=r"says nothing of its preprocessing.*preprocess=") as told:
        e = sl.explain(trained, pixels, method="gradient")
    assert isinstance(e, sl.Explanation)
    assert told[0].filename == __file__  # it points at the caller's line
    assert e.map.shape == (1, 224, 224)
    assert e.preprocessing == str(sl.Preprocessing(resize=224, crop=(224, 224)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sl.explain(trained, pixels, method="gradient", preprocess=PRE)
        sl.explain(trained, X, method="gradient")


def test_a_preprocessing_of_another_type(trained: nn.Module) -> None:
    assert "preprocess= was given a dict" in error_of(sl.InputError, trained, preprocess={"resize": 3}).given


@pytest.mark.parametrize(
    ("cuda", "mps", "wide", "expected"),
    [
        (True, True, False, "cuda"),
        (True, False, True, "cuda"),
        (False, True, False, "mps"),
        (False, True, True, "cpu"),  # MPS has no float64
        (False, False, False, "cpu"),
    ],
)
def test_a_spec_goes_to_the_quickest_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, wide: bool, expected: str
) -> None:
    moved: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(nn.Module, "to", lambda module, device: moved.append(device))
    model = nn.Conv2d(3, 2, 1)
    place(model.double() if wide else model, None)
    assert moved == [expected]
    place(nn.Conv2d(3, 2, 1, device="meta"), None)  # its maker has placed it
    sl.load(model)
    assert moved == [expected]


class NoFloat64(TorchDispatchMode):
    """A device that has no float64, as MPS: here "meta", which has no numbers either."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        y = func(*args, **(kwargs or {}))
        if isinstance(y, torch.Tensor) and y.device.type == "meta" and y.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return y


def test_no_float64_reaches_a_device_without_it() -> None:
    model = TorchModel(nn.Conv2d(3, 2, 1, device="meta"))
    with NoFloat64():
        with pytest.raises(TypeError, match="float64"):
            torch.as_tensor(np.ones((1, 3, 4, 4))).to("meta")
        x = model.array(np.ones((1, 3, 4, 4)))
        assert (x.dtype, x.device.type) == (torch.float32, "meta")
        assert beside(np.ones((2, 1, 1), np.int32), x).dtype == torch.int32
        assert like(np.ones((1, 3, 4, 4)), x).dtype == torch.float32
