"""MXNet list files: all dense formats, damaged files, and the names of ResNet-38."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from params_file import MAGIC, TYPES, array_bytes, list_bytes

from tag2mask.errors import WeightsError
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.mxnet_params import read_params, resnet38_names

LAYOUTS = ("legacy", "v1", "v2", "v3")
RELAXED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_all_formats_and_element_types(tmp_path: Path, layout: str, dtype: str) -> None:
    weight = np.arange(24).reshape(2, 3, 4).astype(dtype)
    mean = np.array([1, 2], dtype=dtype)
    path = tmp_path / "net.params"
    path.write_bytes(
        list_bytes(
            {
                "arg:fc_weight": array_bytes(weight, layout),
                "aux:bn_moving_mean": array_bytes(mean, layout),
            }
        )
    )
    arrays = read_params(path)
    assert list(arrays) == ["fc_weight", "bn_moving_mean"]
    assert arrays["fc_weight"].shape == (2, 3, 4)
    assert arrays["fc_weight"].dtype == torch.from_numpy(weight).dtype
    np.testing.assert_array_equal(arrays["fc_weight"].numpy(), weight)
    np.testing.assert_array_equal(arrays["bn_moving_mean"].numpy(), mean)


def test_scalars_and_arrays_without_values(tmp_path: Path) -> None:
    path = tmp_path / "net.params"
    nothing = struct.pack("<IiI", MAGIC["v2"], 0, 0)
    unknown = struct.pack("<Iii", MAGIC["v3"], 0, -1)
    scalar = array_bytes(np.array(2.5, dtype=np.float32), "v3")
    empty = array_bytes(np.zeros((0, 3), dtype=np.float32), "v3")
    path.write_bytes(list_bytes({"a": nothing, "b": unknown, "c": scalar, "d": empty}))
    arrays = read_params(path)
    assert list(arrays) == ["c", "d"]
    assert arrays["c"].item() == 2.5
    assert arrays["d"].shape == (0, 3)


@settings(max_examples=25, **RELAXED)
@given(share=st.floats(0, 1, exclude_max=True), layout=st.sampled_from(LAYOUTS))
def test_truncated_file(tmp_path: Path, share: float, layout: str) -> None:
    whole = list_bytes({"arg:a": array_bytes(np.ones((3, 5), dtype=np.float32), layout)})
    path = tmp_path / "cut.params"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"cut\.params"):
        read_params(path)


@settings(max_examples=50, **RELAXED)
@given(place=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_changed_byte_never_crashes(tmp_path: Path, place: int, byte: int) -> None:
    data = bytearray(list_bytes({"arg:a": array_bytes(np.ones((3, 5), dtype=np.float32), "v2")}))
    data[place % len(data)] = byte
    path = tmp_path / "changed.params"
    path.write_bytes(data)
    try:
        arrays = read_params(path)
    except WeightsError:
        return
    assert len(arrays) <= 1


def test_unsupported_files(tmp_path: Path) -> None:
    path = tmp_path / "odd.params"
    one = np.ones(2, dtype=np.float32)
    cases = {
        "not an MXNet": b"PK\x03\x04" + bytes(40),
        "sparse": list_bytes({"a": array_bytes(one, "v2", storage=1)}),
        "bytes follow": list_bytes({"a": array_bytes(one)}) + b"x",
        "2 arrays but 1 distinct names": struct.pack("<3Q", 0x112, 0, 2)
        + 2 * array_bytes(one)
        + struct.pack("<2Qc", 1, 1, b"a"),
        "element type 12": list_bytes(
            {
                "a": array_bytes(one).replace(
                    struct.pack("<3i", 1, 0, 0), struct.pack("<3i", 1, 0, 12)
                )
            }
        ),
        "9000000000000 bytes|announced": struct.pack("<3Q", 0x112, 0, 9_000_000_000_000),
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=message):
            read_params(path)
    with pytest.raises(WeightsError, match="nowhere"):
        read_params(tmp_path / "nowhere.params")


def mxnet_names() -> list[str]:
    """Return all array names of psa's ImageNet ResNet-38, listed by its structure."""
    units = {2: 3, 3: 3, 4: 6, 5: 3, 6: 1, 7: 1}
    names = ["conv1a_weight"]
    for stage, count in units.items():
        bottleneck = stage >= 6
        inner = ["branch2a", "branch2b1"] + (["branch2b2"] if bottleneck else [])
        for unit in range(count):
            block = f"{stage}a" if unit == 0 else f"{stage}b{unit}"
            names += [f"res{block}_{branch}_weight" for branch in inner]
            if unit == 0:
                names.append(f"res{block}_branch1_weight")
            for branch in inner:
                for leaf in ("gamma", "beta", "moving_mean", "moving_var"):
                    names.append(f"bn{block}_{branch}_{leaf}")
    names += ["bn7_gamma", "bn7_beta", "bn7_moving_mean", "bn7_moving_var"]
    return [*names, "linear1000_weight", "linear1000_bias"]


def test_resnet38_names_cover_the_network() -> None:
    arrays = {name: torch.tensor(float(i)) for i, name in enumerate(mxnet_names())}
    renamed = resnet38_names(arrays)
    with torch.device("meta"):
        own = ResNet38().state_dict()
    assert set(renamed) == {name for name in own if not name.endswith("num_batches_tracked")}
    assert renamed["b4_5.conv_branch2b1.weight"] == arrays["res4b5_branch2b1_weight"]
    assert renamed["b2.bn_branch2a.running_var"] == arrays["bn2a_branch2a_moving_var"]
    assert renamed["bn7.bias"] == arrays["bn7_beta"]


@pytest.mark.slow
def test_complete_imagenet_file_loads_into_the_network(tmp_path: Path) -> None:
    path = tmp_path / "resnet_38d.params"
    with torch.device("meta"):
        own = ResNet38().state_dict()
    shapes = {
        name: tuple(own[new].shape)
        for name in mxnet_names()
        for new in resnet38_names({name: torch.ones(1)})
    }
    shapes["linear1000_weight"] = (1000, 4096)
    values = {name: i / 256 for i, name in enumerate(shapes)}
    with path.open("wb") as file:
        file.write(struct.pack("<3Q", 0x112, 0, len(shapes)))
        for name, shape in shapes.items():
            file.write(array_bytes(np.full(shape, values[name], dtype=np.float16), "legacy"))
        file.write(struct.pack("<Q", len(shapes)))
        for name in shapes:
            full = ("aux:" if "moving" in name else "arg:") + name
            file.write(struct.pack("<Q", len(full)) + full.encode())
    backbone = build_backbone("resnet38", weights=str(path), output_stride=8)
    assert isinstance(backbone, ResNet38)
    assert (backbone.b6.conv_branch2b2.weight == values["res6a_branch2b2_weight"]).all()
    assert (backbone.bn7.running_var == values["bn7_moving_var"]).all()
    assert backbone.conv1a.weight.dtype == torch.float32


def test_unknown_names_are_kept() -> None:
    strange = ("res2a_branch1_gamma", "fc_weight", "bn2a_branch2a_weight", "bn9_gamma")
    assert tuple(resnet38_names({name: torch.ones(1) for name in strange})) == strange
