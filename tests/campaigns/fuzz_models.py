"""Files of networks: ours, checkpoints, exported networks, and weights of other programs."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from params_file import array_bytes, list_bytes
from torch import nn

from campaigns.fuzz_target import Target
from onnx_file import SPEC, network
from tag2mask.nn.weights import load_state
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, load_seam, save_seam
from tag2mask.segmentation.inference.export_spec import KEY, ExportedSpec
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.loading import open_segmenter
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter, save_segmenter
from tag2mask.training.checkpoint import _append_checksum, restore_checkpoint, save_checkpoint

_SEAM = replace(
    OFFICIAL_SEAM,
    classes=("cat", "traffic light"),
    backbone="test_efficientnet",
    output_stride=16,
    pcm_channels=(3, 4),
    pcm_power=2.0,
    dropout=0.1,
)
_SEGMENTER = SegmenterSpec(
    ("cat", "dog"), "deeplabv3plus", "test_efficientnet", 16, long_side=64, decoder_channels=None
)
_FIELDS = (
    *(b'"classes"', b'"backbone"', b'"output_stride"', b'"pcm_channels"', b'"dropout"', b'"kind"'),
    *(b'"architecture"', b'"encoder"', b'"long_side"', b'"dtype"', b'"shape"', b'"data_offsets"'),
    *(b'"F64"', b'"BF16"', b'"I64"', b'"unet"', b'"resnet18"', b'"vit_base_patch16_224"', b"1e9"),
    *(b'"format"', b'"mean"', b'"std"', b'"colors"', b'"size_multiple"', b"[1e999]", b"[0, 0, 0]"),
    *(b'"huge_net"', b'"resnet152"', b'"efficientnet_b7"', b"[100000, 100000]", b'["a", "a"]'),
)


def _write_models(folder: Path) -> list[Path]:
    torch.manual_seed(0)
    save_seam(folder / "seam.safetensors", build_seam(_SEAM), _SEAM)
    save_segmenter(folder / "segmenter.safetensors", build_segmenter(_SEGMENTER), _SEGMENTER)
    return [folder / "seam.safetensors", folder / "segmenter.safetensors"]


def _read_model(file: Path) -> None:
    if file.stem == "seam":
        load_seam(file)
    else:
        open_segmenter(file, device="cpu")


def _write_headers(folder: Path) -> list[Path]:
    headers = []
    for model in _write_models(folder):
        length = struct.unpack("<Q", model.read_bytes()[:8])[0]
        headers.append(model.with_suffix(".json"))
        headers[-1].write_bytes(model.read_bytes()[8 : 8 + length])
    return headers


def _read_header(file: Path) -> None:
    model = file.with_suffix(".safetensors")
    valid, header = model.read_bytes(), file.read_bytes()
    length = struct.unpack("<Q", valid[:8])[0]
    model.write_bytes(struct.pack("<Q", len(header)) + header + valid[8 + length :])
    try:
        _read_model(model)
    finally:
        model.write_bytes(valid)


def _write_specifications(folder: Path) -> list[Path]:
    files = []
    for header in _write_headers(folder):
        ((_, text),) = json.loads(header.read_bytes())["__metadata__"].items()
        files.append(header.with_suffix(".spec"))
        files[-1].write_text(text)
    return files


def _read_specification(file: Path) -> None:
    header = file.with_suffix(".json")
    valid = header.read_bytes()
    values = json.loads(valid)
    (key,) = values["__metadata__"]
    values["__metadata__"] = {key: file.read_bytes().decode("utf-8", "replace")}
    header.write_text(json.dumps(values))
    try:
        _read_header(header)
    finally:
        header.write_bytes(valid)


def _training() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def _write_checkpoint(folder: Path) -> list[Path]:
    module, optimizer = _training()
    path = folder / "checkpoint.pt"
    state = {"model": module.state_dict(), "optimizer": optimizer.state_dict()}
    save_checkpoint(path, {**state, "scaler": {}, "step": 1})
    return [path]


def _read_checkpoint(file: Path) -> None:
    module, optimizer = _training()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    restore_checkpoint(file, module, optimizer, scaler, None)


def _write_checkpoint_parts(folder: Path) -> list[Path]:
    (checkpoint,) = _write_checkpoint(folder)
    with zipfile.ZipFile(checkpoint) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        (folder / "data.pkl").write_bytes(archive.read(name))
    return [folder / "data.pkl"]


def _read_checkpoint_parts(file: Path) -> None:
    """Read a checkpoint with a damaged pickle and a right checksum."""
    changed = file.with_name("changed.pt")
    with (
        zipfile.ZipFile(file.with_name("checkpoint.pt")) as valid,
        zipfile.ZipFile(changed, "w") as archive,
    ):
        for name in valid.namelist():
            damaged = name.endswith("data.pkl")
            archive.writestr(name, file.read_bytes() if damaged else valid.read(name))
    _append_checksum(changed)
    _read_checkpoint(changed)


def _write_weights(folder: Path) -> list[Path]:
    module, _ = _training()
    torch.save(module.state_dict(), folder / "weights.pth")
    torch.save({"state_dict": module.state_dict()}, folder / "wrapped.pth")
    torch.save(module.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return [folder / "weights.pth", folder / "wrapped.pth", folder / "old.pth"]


def _write_params(folder: Path) -> list[Path]:
    files = []
    for layout in ("legacy", "v1", "v2", "v3"):
        arrays = {
            "arg:conv1a_weight": array_bytes(np.ones((2, 3, 3, 3), np.float32), layout),
            "aux:bn7_moving_var": array_bytes(np.ones(4, np.float16), layout),
        }
        files.append(folder / f"{layout}.params")
        files[-1].write_bytes(list_bytes(arrays))
    return files


def _write_onnx(folder: Path) -> list[Path]:
    (folder / "model.onnx").write_bytes(network().SerializeToString())
    return [folder / "model.onnx"]


def _read_onnx(file: Path) -> None:
    OnnxSegmenter.open(file, threads=1)


def _write_exported(folder: Path) -> list[Path]:
    (folder / "spec.json").write_text(SPEC.to_json())
    return [folder / "spec.json"]


def _read_exported(file: Path) -> None:
    text = file.read_bytes().decode("utf-8", "replace")
    spec = ExportedSpec.from_json(text, where=file)
    model = file.with_name("model.onnx")
    model.write_bytes(network({KEY: text}).SerializeToString())
    assert OnnxSegmenter.open(model, threads=1).spec == spec


TARGETS = (
    Target("model file", _write_models, _read_model, _FIELDS, share=0.2),
    Target("header of a model file", _write_headers, _read_header, _FIELDS, share=0.3),
    Target("specification", _write_specifications, _read_specification, _FIELDS, share=0.5),
    Target("checkpoint", _write_checkpoint, _read_checkpoint, share=0.5),
    Target("pickle of a checkpoint", _write_checkpoint_parts, _read_checkpoint_parts),
    Target("weights of torch", _write_weights, load_state, share=0.5),
    Target("weights of MXNet", _write_params, load_state, share=0.5),
    Target("ONNX file", _write_onnx, _read_onnx, (KEY.encode(), *_FIELDS)),
    Target("exported specification", _write_exported, _read_exported, _FIELDS),
)
