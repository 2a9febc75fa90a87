"""Backbones: shapes and strides of their maps, and the weights they load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tag2mask.errors import RecipeError, Tag2MaskError, WeightsError
from tag2mask.nn.backbones import timm_backbone, timm_models
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.weights import packaged_state
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, save_seam

CATS = range(281, 286)
"""Domestic cats among the ImageNet classes."""


def build(name: str, stride: int, levels: tuple[int, int] | None = None) -> TimmBackbone:
    torch.manual_seed(0)
    backbone = build_backbone(name, weights="none", output_stride=stride, pcm_levels=levels)
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()


@pytest.fixture(scope="module")
def lite0() -> TimmBackbone:
    backbone = build_backbone("tf_efficientnet_lite0", weights="packaged", output_stride=16)
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()


def cat_photo(backbone: Backbone, size: tuple[int, int]) -> Tensor:
    """Return a normalized photo of a cat, (1, 3, *size)."""
    photo = torch.from_numpy(np.ascontiguousarray(skimage.data.chelsea()[:, 60:360]))
    image = F.interpolate(photo.permute(2, 0, 1)[None] / 255, size, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.mean, backbone.std))
    return (image - mean) / std


@pytest.mark.parametrize(
    ("name", "stride", "channels", "mid_strides"),
    [
        ("tf_efficientnet_lite0", 8, (40, 320, 1280), (8, 8)),
        ("tf_efficientnet_lite0", 16, (40, 320, 1280), (8, 16)),
        ("tf_efficientnet_lite0", 32, (40, 112, 1280), (8, 16)),
        ("resnet18", 8, (128, 256, 512), (8, 8)),
        ("resnet18", 16, (128, 256, 512), (8, 16)),
        ("convnext_atto", 16, (80, 160, 320), (8, 16)),
        ("regnety_002", 16, (56, 152, 368), (8, 16)),
        ("mobilenetv3_small_100", 32, (24, 48, 576), (8, 16)),
        ("test_vit", 16, (64, 64, 64), (16, 16)),
        ("mambaout_femto", 32, (96, 192, 288), (8, 16)),
    ],
)
def test_maps_have_the_stated_shapes(
    name: str, stride: int, channels: tuple[int, int, int], mid_strides: tuple[int, int]
) -> None:
    backbone = build(name, stride)
    assert (backbone.channels, backbone.stride) == (channels, stride)
    assert backbone.mid_strides == mid_strides
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, 96, 160))
    for one, count, step in zip(features, channels, (*mid_strides, stride), strict=True):
        assert tuple(one.shape) == (2, count, 96 // step, 160 // step)
        assert backbone.signed == (one.min() < 0)
        assert one.std() > 0


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_levels_are_chosen_by_stride(name: str) -> None:
    backbone = build(name, 16, levels=(4, 8))
    assert backbone.mid_strides == (4, 8)
    with torch.no_grad():
        low, mid, last = backbone(torch.randn(1, 3, 64, 64))
    assert [f.shape[-1] for f in (low, mid, last)] == [16, 8, 4]


def test_default_levels_have_stride_8_and_16_or_the_nearest_coarser() -> None:
    for strides, chosen in (
        ([2, 4, 8, 16, 32], (8, 16)),
        ([4, 8, 16], (8, 16)),
        ([4, 16, 32], (16, 16)),
        ([2, 4], (4, 4)),
    ):
        assert timm_backbone._default_strides(strides) == chosen


def test_class_tokens_are_not_part_of_the_map() -> None:
    cells = torch.arange(2 * 5 * 6.0).view(2, 6, 5)  # 2 x 3 cells of 5 channels
    tokens = torch.cat([torch.full((2, 3, 5), -1.0), cells], dim=1)  # after 3 other tokens
    found = timm_models.as_map(tokens, torch.zeros(2, 7, 2, 3), "tokens")
    assert torch.equal(found, cells.view(2, 2, 3, 5).permute(0, 3, 1, 2))


def test_last_block_as_mid_level_map() -> None:
    assert build("resnet18", 32, levels=(4, 32)).channels == (64, 512, 512)


@pytest.mark.parametrize("levels", [(5, 8), (16, 8), (4, 64), (4, 4)])
def test_error_for_impossible_levels_lists_the_strides(levels: tuple[int, int]) -> None:
    with pytest.raises(RecipeError, match=r"resnet18.*backbone\.pcm_levels.*2, 4, 8, 16"):
        build("resnet18", 16, levels)


def test_dilated_network_equals_strided_one_at_shared_cells() -> None:
    """A dilated network computes the same values as the strided one, on a finer grid."""
    coarse = build("resnet18", 32)
    image = torch.randn(1, 3, 128, 96)
    for stride in (16, 8):
        fine = build("resnet18", stride)
        fine.load_state_dict(coarse.state_dict())
        step = 32 // stride
        with torch.no_grad():
            sampled = fine(image).last[:, :, ::step, ::step]
            torch.testing.assert_close(sampled, coarse(image).last, atol=1e-4, rtol=1e-4)


def test_last_map_is_the_input_of_the_imagenet_classifier(lite0: TimmBackbone) -> None:
    """The ImageNet classifier on the pooled last map recognizes a cat."""
    state, _ = packaged_state("tf_efficientnet_lite0")
    with torch.no_grad():
        last = lite0(cat_photo(lite0, (224, 224))).last
    scores = state["_fc.weight"] @ last.mean(dim=(2, 3))[0] + state["_fc.bias"]
    assert int(scores.argmax()) in CATS


def test_flipped_maps_agree_best_at_the_size_multiple(lite0: TimmBackbone) -> None:
    def disagreement(side: int) -> float:
        image = cat_photo(lite0, (side, side))
        with torch.no_grad():
            plain, mirrored = lite0(image).last, lite0(image.flip(-1)).last.flip(-1)
        return float((plain - mirrored).norm() / plain.norm())

    fitting = [disagreement(15 * lite0.size_multiple), disagreement(16 * lite0.size_multiple)]
    assert max(fitting) < min(disagreement(232), disagreement(249))


def test_one_forward_pass_gives_all_maps(lite0: TimmBackbone) -> None:
    calls = []
    convolutions = [m for m in lite0.modules() if isinstance(m, nn.Conv2d)]
    hooks = [m.register_forward_hook(lambda *_: calls.append(1)) for m in convolutions]
    with torch.no_grad():
        lite0(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert len(calls) == len(convolutions)


def test_normalization_of_the_network(lite0: TimmBackbone) -> None:
    assert (lite0.mean, lite0.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert build("resnet18", 32).mean == ResNet38.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "resnet18"])
def test_frozen_parameters_are_those_without_gradient(name: str) -> None:
    backbone = build(name, 32)
    backbone(torch.randn(1, 3, 64, 64)).last.sum().backward()
    frozen = {id(p) for p in backbone.frozen()}
    assert {id(p) for p in backbone.parameters() if p.grad is None} == frozen
    assert bool(frozen) == (name == "mobilenetv3_small_100")


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet9000", 16, r"no backbone 'resnet9000'"),
        ("resnet18.in9000", 16, r"no backbone 'resnet18\.in9000'"),
        ("densenet121", 16, r"stride 32 only, not 16.*Set it to 32"),
        ("test_vit", 32, r"stride 16 only, not 32"),
        ("mixer_s32_224", 32, r"can't read photos of any size"),
        ("resnet38", 16, r"stride 8 only, not 16"),
    ],
)
def test_unsupported_networks_and_strides(name: str, stride: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_backbone(name, weights="none", output_stride=stride)


def test_models_without_intermediate_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(nn.Module):
        pretrained_cfg: dict[str, object] = {}  # noqa: RUF012

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: Plain())
    with pytest.raises(RecipeError, match="resnet18 gives no intermediate maps"):
        build_backbone("resnet18", weights="none", output_stride=32)


@pytest.mark.parametrize(
    ("name", "weights", "levels", "message"),
    [
        ("resnet38", "hub", None, "resnet38 has no hub weights"),
        ("resnet38", "nowhere.pth", None, r"nowhere\.pth"),
        ("resnet38", "none", (8, 16), "two maps for PCM at stride 8"),
    ],
)
def test_resnet38_settings(
    name: str, weights: str, levels: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(Tag2MaskError, match=message):
        build_backbone(name, weights=weights, output_stride=8, pcm_levels=levels)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [("fc8", "f8_3", "f8_4", "f9"), ("f8_3", "f8_4", "f8_5", "f9")])
def test_released_checkpoints_load_as_resnet38(tmp_path: Path, heads: tuple[str, ...]) -> None:
    state = {name: t.half() for name, t in ResNet38().state_dict().items()}
    state |= {f"{head}.weight": torch.zeros(3, 4, 1, 1) for head in heads}
    torch.save({f"module.{name}": t for name, t in state.items()}, tmp_path / "released.pth")
    weights = str(tmp_path / "released.pth")
    backbone = build_backbone("resnet38", weights=weights, output_stride=8)
    assert isinstance(backbone, ResNet38)
    assert torch.equal(backbone.b7.conv_branch1.weight.half(), state["b7.conv_branch1.weight"])


def test_files_load_without_their_classifier(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = timm.create_model("resnet18", num_classes=7)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    for file in ("net.safetensors", "net.pth"):
        backbone = build_backbone("resnet18", weights=str(tmp_path / file), output_stride=16)
        assert isinstance(backbone, TimmBackbone)
        assert torch.equal(backbone.net.layer4[1].conv2.weight, net.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    ("name", "stride"),
    [("test_efficientnet", 16), pytest.param("resnet38", 8, marks=pytest.mark.slow)],
)
def test_backbone_of_a_trained_network_is_loaded(tmp_path: Path, name: str, stride: int) -> None:
    file, spec = (
        tmp_path / "model.safetensors",
        replace(OFFICIAL_SEAM, classes=("cat", "dog"), backbone=name, output_stride=stride),
    )
    torch.manual_seed(3)
    trained = build_seam(spec)
    save_seam(file, trained, spec)
    backbone = build_backbone(name, weights=str(file), output_stride=stride)
    for key, tensor in trained.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], tensor), key
    with pytest.raises(WeightsError, match=r"another network.*model\.safetensors"):
        build_backbone("resnet18", weights=str(file), output_stride=16)


def test_error_for_other_weights_names_the_tensors(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"missing.*layer1\.1\.conv1\.weight.*other\.pth"):
        build_backbone("resnet18", weights=str(tmp_path / "other.pth"), output_stride=16)
    with pytest.raises(WeightsError, match="no packaged weights for 'resnet18'"):
        build_backbone("resnet18", weights="packaged", output_stride=16)


def test_lite_weights_load_only_into_lite_of_the_same_size(tmp_path: Path) -> None:
    state, path = packaged_state("tf_efficientnet_lite0")
    backbone = build_backbone("tf_efficientnet_lite0", weights=str(path), output_stride=32)
    assert isinstance(backbone, TimmBackbone)
    assert torch.equal(backbone.net.conv_head.weight, state["_conv_head.weight"])
    with pytest.raises(WeightsError, match="EfficientNet-Lite"):
        build_backbone("tf_efficientnet_lite2", weights=str(path), output_stride=32)


def test_download_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        WeightsError, match=r"resnet18 can't be downloaded \(Name or service not known"
    ):
        build_backbone("resnet18", weights="hub", output_stride=16)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("deit_small_patch16_224", "timm/deit_small_patch16_224.fb_in1k"),
        ("vit_small_patch14_reg4_dinov2", "timm/vit_small_patch14_reg4_dinov2.lvd142m"),
        ("vit_small_patch16_dinov3", "timm/vit_small_patch16_dinov3.lvd1689m"),
        ("tf_efficientnet_lite2", "timm/tf_efficientnet_lite2.in1k"),
    ],
)
def test_without_the_hub_the_message_names_the_file(
    name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    url = f"https://huggingface.co/{file}/resolve/main/model.safetensors"
    with pytest.raises(WeightsError, match=r"can't be downloaded") as raised:
        build_backbone(name, weights="hub", output_stride="auto")
    assert f"download {url} on another machine" in str(raised.value)
    assert "set backbone.weights to the path of that file" in str(raised.value)


def test_a_network_without_weights_is_named() -> None:
    assert timm_models.weights_url("test_vit") is not None
    name = next(n for n in timm.list_models() if timm_models.weights_url(n) is None)
    error = timm_models._not_downloaded(name, RuntimeError("No pretrained"), "backbone.weights")
    assert f"timm has no weights of {name}" in str(error)
    assert "Set backbone.weights to the path of a file or to none" in str(error)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_truncated_network_ends_at_its_stride(stride: int) -> None:
    """Its last map is that of the complete network, and the deeper stages aren't computed."""
    torch.manual_seed(0)
    built = build_backbone(
        "tf_efficientnet_lite0", weights="none", output_stride=stride, truncated=True
    )
    assert isinstance(built, TimmBackbone)
    truncated = built.eval()
    assert truncated.stride == truncated.size_multiple == stride
    assert truncated.channels[2] == {8: 40, 16: 112}[stride]
    image = torch.rand(1, 3, 64, 96)
    computed: list[str] = []
    for name, module in truncated.net.blocks.named_children():
        module.register_forward_hook(lambda *_, name=name: computed.append(name))
    maps = truncated(image)
    assert computed == ["0", "1", "2", "3", "4"][: {8: 3, 16: 5}[stride]]
    assert maps.last.shape[2:] == (64 // stride, 96 // stride)
    _, complete = truncated.net.forward_intermediates(image)
    torch.testing.assert_close(maps.last, F.relu(complete[{8: 2, 16: 3}[stride]]))


def test_a_truncated_network_freezes_what_it_leaves_out() -> None:
    truncated = build_backbone(
        "tf_efficientnet_lite0", weights="none", output_stride=8, truncated=True
    )
    frozen = {id(parameter) for parameter in truncated.frozen()}
    truncated(torch.rand(1, 3, 64, 64)).last.sum().backward()
    assert isinstance(truncated, TimmBackbone)
    for parameter in truncated.net.parameters():
        assert (id(parameter) in frozen) == (parameter.grad is None)


def test_resnet38_can_not_be_truncated() -> None:
    with pytest.raises(RecipeError, match="no stages to leave out"):
        build_backbone("resnet38", weights="none", output_stride=8, truncated=True)
