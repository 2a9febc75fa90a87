"""Model files: round trip, the authors' format, and files of other kinds."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from tag2mask.classes import VOC_NAMES
from tag2mask.errors import WeightsError
from tag2mask.nn.model_file import read_model
from tag2mask.nn.official_checkpoints import SEAM_HEAD_NAMES
from tag2mask.seam.model import OFFICIAL_SEAM, SEAM_KIND, SeamSpec, build_seam, load_seam, save_seam
from tag2mask.seam.network import SeamNet

SPEC = replace(
    OFFICIAL_SEAM,
    classes=("cat", "traffic light"),
    backbone="resnet10t",
    output_stride=16,
    pcm_channels=(3, 4),
    pcm_power=2.0,
    dropout=0.1,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    torch.manual_seed(0)
    save_seam(path, build_seam(SPEC), SPEC)
    return path


@pytest.mark.parametrize("pcm", [True, False])
def test_round_trip(tmp_path: Path, pcm: bool) -> None:
    spec = replace(
        OFFICIAL_SEAM, classes=("a", "b", "c"), backbone="resnet10t", output_stride=32, pcm=pcm
    )
    net = build_seam(spec).eval()
    save_seam(tmp_path / "model.safetensors", net, spec)
    loaded, loaded_spec = load_seam(tmp_path / "model.safetensors")
    assert loaded_spec == spec and not loaded.training
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(net(image), loaded(image), strict=True):
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)


def test_specification_is_read_back(model: Path) -> None:
    _, spec = load_seam(model)
    assert spec == SPEC
    assert spec.class_set.names == SPEC.classes


def test_file_has_default_permissions(model: Path) -> None:
    beside = model.with_name("beside")
    beside.write_text("")
    assert stat.S_IMODE(model.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


@pytest.mark.slow
def test_official_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_seam(OFFICIAL_SEAM)
    heads = {ours: official for official, ours in SEAM_HEAD_NAMES.items()}
    state = {
        "module." + heads.get(name, name.removeprefix("backbone.")): tensor
        for name, tensor in net.state_dict().items()
    }
    path = tmp_path / "resnet38_SEAM.pth"
    torch.save(state, path)
    del state
    loaded, spec = load_seam(path)
    assert spec.classes == VOC_NAMES
    expected = net.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such model file.*nowhere\.safetensors"):
        load_seam(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0.0, 0.0001, 0.5, 0.999])
def test_truncated_file(model: Path, tmp_path: Path, keep: float) -> None:
    content = model.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(WeightsError, match=r"cut\.safetensors"):
        load_seam(cut)


def test_safetensors_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds no tag2mask model"):
        load_seam(path)


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[1]",
        "null",
        json.dumps({"backbone": "resnet18"}),
        json.dumps({"classes": ["a"], "color": 1}),
    ],
)
def test_damaged_specification(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={SEAM_KIND.key: metadata})
    with pytest.raises(WeightsError, match="another version"):
        load_seam(path)


def test_error_for_other_tensors_names_them(model: Path, tmp_path: Path) -> None:
    net, spec = load_seam(model)
    state = {k: v.contiguous() for k, v in net.state_dict().items() if k != "head.weight"}
    wrong = {
        "classes": spec.classes,
        "backbone": spec.backbone,
        "output_stride": 16,
        "pcm_channels": [3, 4],
    }
    path = tmp_path / "model.safetensors"
    save_file(state, path, metadata={SEAM_KIND.key: json.dumps(wrong)})
    with pytest.raises(WeightsError, match=r"1 missing \(head\.weight\)"):
        load_seam(path)


def test_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"another network.*conv1\.weight.*other\.pth"):
        load_seam(path)


def rewritten(model: Path, to: Path, **changes: object) -> Path:
    """Write a copy of a model file whose specification has other values."""
    content = model.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    values = json.loads(header["__metadata__"]["tag2mask"]) | changes
    header["__metadata__"]["tag2mask"] = json.dumps(values)
    new = json.dumps(header).encode()
    to.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + length :])
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vit_giant_patch14_224", "output_stride": 14}, "weights of another network"),
        ({"backbone": "resnetv2_152x4_bit", "output_stride": 32}, "weights of another network"),
        ({"classes": ["x" * (k + 1) for k in range(250)]}, "weights of another network"),
        ({"pcm_channels": [90_000, 90_000]}, "weights of another network"),
        ({"pcm_channels": [10**9, 4]}, "impossible values of pcm_channels"),
        ({"pcm_channels": [-3, 4]}, "impossible values of pcm_channels"),
        ({"dropout": 7.0}, "impossible values of dropout"),
        ({"pooling": "sum"}, "impossible values of pooling"),
        ({"output_stride": "many"}, "impossible values of output_stride"),
        ({"mdc_rates": [1] * 100_000}, "impossible values of mdc_rates"),
        ({"backbone": None}, "impossible values of backbone"),
    ],
)
def test_a_network_that_does_not_fit_the_file_takes_no_memory(
    model: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    limit = 3 * model.stat().st_size
    filled = 0

    class Filled(TorchFunctionMode):
        """Counts bytes that random numbers are written to."""

        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal filled
            if func in (torch.Tensor.uniform_, torch.Tensor.normal_) and not args[0].is_meta:
                filled += args[0].nbytes
            return func(*args, **(kwargs or {}))

    with Filled(), pytest.raises(WeightsError, match=message):
        read_model(rewritten(model, tmp_path / "model.safetensors", **changes), SEAM_KIND)
    assert filled < limit


@pytest.mark.parametrize("kept", [True, False])
def test_parts_that_are_dropped_while_a_network_is_built(model: Path, kept: bool) -> None:
    """Half of VGG's numbers are those of its classifier."""
    built = []

    def build(spec: SeamSpec) -> SeamNet:
        built.append(torch.get_default_device().type)
        net = build_seam(spec)
        net.classifier = nn.Linear(10_000, 10_000)
        if not kept:
            del net.classifier
        return net

    kind = replace(SEAM_KIND, build=build)
    random = torch.get_rng_state()
    if kept:
        with pytest.raises(WeightsError, match=r"another network.*classifier\.weight"):
            read_model(model, kind)
        assert built == ["cpu", "meta"]
    else:
        net, spec = read_model(model, kind)
        assert spec == SPEC and built == ["cpu", "meta", "cpu"]
        assert not any(tensor.is_meta for tensor in net.state_dict().values())
        after = torch.get_rng_state()
        torch.set_rng_state(random)
        build(spec)
        assert torch.equal(after, torch.get_rng_state())


def test_impossible_values_together(model: Path) -> None:
    def build(spec: SeamSpec) -> SeamNet:
        raise RuntimeError("no data")

    with pytest.raises(WeightsError, match="no network has this specification: no data"):
        read_model(model, replace(SEAM_KIND, build=build))
