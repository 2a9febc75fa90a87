"""Families of timm's backbones: accepted, their strides, and the maps that PCM reads.

Each is a tiny random network of its kind; the table in the docs lists the same families.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from tag2mask.errors import RecipeError, WeightsError
from tag2mask.nn.backbones.build import build_backbone, found_stride
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.gradient_checkpointing import checkpoint_gradients, saved_bytes
from tag2mask.training.optim import freeze, train_mode

VIT: dict[str, Any] = {"depth": 6, "embed_dim": 48, "num_heads": 3}
SWIN: dict[str, Any] = {"depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 2, 2)}
CONVNEXT: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}


class Family(NamedTuple):
    """A network of a family and what is expected of it."""

    title: str
    name: str
    small: dict[str, Any]
    stride: int
    mid_strides: tuple[int, int]
    signed: bool


FAMILIES = [
    Family("DeiT", "deit_small_patch16_224", VIT, 16, (16, 16), True),
    Family("DINOv2", "vit_small_patch14_dinov2", VIT, 14, (14, 14), True),
    Family("DINOv2 with registers", "vit_small_patch14_reg4_dinov2", VIT, 14, (14, 14), True),
    Family("DINOv3", "vit_small_patch16_dinov3", VIT, 16, (16, 16), True),
    Family("CLIP", "vit_base_patch16_clip_224", VIT, 16, (16, 16), True),
    Family("SigLIP", "vit_base_patch16_siglip_224", VIT, 16, (16, 16), True),
    Family("EVA-02", "eva02_tiny_patch14_224", VIT, 14, (14, 14), True),
    Family("Swin", "swin_tiny_patch4_window7_224", SWIN, 32, (8, 16), True),
    Family("ConvNeXt", "convnext_atto", CONVNEXT, 16, (8, 16), True),
    Family("ResNet", "resnet10t", {}, 16, (8, 16), False),
    Family("RegNet", "regnetx_002", {}, 16, (8, 16), False),
    Family("MobileNetV4", "mobilenetv4_conv_small_035", {}, 32, (8, 16), False),
    Family("FastViT", "fastvit_t8", {}, 32, (8, 16), False),
]
VITS = [family for family in FAMILIES if family.small is VIT]
Small = Callable[[dict[str, Any]], None]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    """Make timm build networks of these sizes."""
    create = timm.create_model

    def use(sizes: dict[str, Any]) -> None:
        monkeypatch.setattr(timm, "create_model", lambda *a, **o: create(*a, **sizes, **o))

    return use


def build(family: Family, small: Small) -> TimmBackbone:
    small(family.small)
    torch.manual_seed(0)
    backbone = build_backbone(family.name, weights="none", output_stride="auto")
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_stride_and_maps_of_a_family(family: Family, small: Small) -> None:
    backbone = build(family, small)
    assert (backbone.stride, backbone.mid_strides) == (family.stride, family.mid_strides)
    assert backbone.signed == family.signed
    assert found_stride(family.name, "auto") == family.stride
    height, width = (cells * backbone.size_multiple for cells in (4, 7))
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, height, width))
    for one, channels, step in zip(
        features, backbone.channels, (*family.mid_strides, family.stride), strict=True
    ):
        assert tuple(one.shape) == (2, channels, height // step, width // step)
        assert one.std() > 0
        assert (one.min() < 0) == family.signed
    if family.signed:
        for one in features[:2]:
            torch.testing.assert_close(one.mean(dim=1), torch.zeros_like(one[:, 0]))


def test_the_docs_list_the_families() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "backbones.md"
    table = page.read_text().partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    wanted = []
    for family in FAMILIES:
        kind = "tokens of two blocks" if family.small is VIT else "maps of two stages"
        sign = "signed" if family.signed else "rectified"
        low, mid = family.mid_strides
        wanted.append(
            f"| {family.title} | `{family.name}` | {family.stride} "
            f"| {sign} {kind}, at strides {low} and {mid} |"
        )
    assert rows[1:-1] == wanted
    assert "`hiera_tiny_224`" in rows[-1]


@pytest.mark.parametrize("family", VITS, ids=lambda family: family.title)
def test_pcm_reads_two_late_blocks_of_a_vit(family: Family, small: Small) -> None:
    backbone = build(family, small)
    outputs: list[torch.Tensor] = []
    for block in backbone.net.blocks:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    side = 4 * backbone.stride
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, side, side))
    assert len(outputs) == 6
    for found, block_output in ((features.low, outputs[3]), (features.mid, outputs[5])):
        tokens = block_output[:, -16:]  # without class and register tokens
        wanted = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
        torch.testing.assert_close(found.flatten(2).mT, wanted)


@pytest.mark.parametrize("family", VITS, ids=lambda family: family.title)
def test_a_vit_reads_sides_that_its_patches_do_not_divide(family: Family, small: Small) -> None:
    backbone = build(family, small)
    with torch.no_grad():
        last = backbone(torch.randn(1, 3, 50, 73)).last
    assert tuple(last.shape[2:]) == (-(-50 // backbone.stride), -(-73 // backbone.stride))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_weights_of_the_hub_are_read_from_their_file(
    family: Family, small: Small, tmp_path: Path
) -> None:
    """A file as timm stores it, with the classifier, gives the same network."""
    small(family.small)
    torch.manual_seed(1)
    stored = timm.create_model(family.name)
    save_file(stored.state_dict(), tmp_path / "model.safetensors")
    weights = str(tmp_path / "model.safetensors")
    backbone = build_backbone(family.name, weights=weights, output_stride="auto")
    assert isinstance(backbone, TimmBackbone)
    own = backbone.net.state_dict()
    assert len(own) > 10 and all(torch.equal(own[n], stored.state_dict()[n]) for n in own)


def test_positions_of_a_vit_are_interpolated() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit", output_stride="auto").eval()
    net, image = backbone.net, torch.randn(1, 3, 96, 64)  # timm builds it for 160 x 160
    assert net.pos_embed.shape == (1, 101, 64)
    with torch.no_grad():
        positions = resample_abs_pos_embed(net.pos_embed, [6, 4], num_prefix_tokens=1)
        cells = net.patch_embed(image).flatten(1, 2)
        tokens = torch.cat([net.cls_token, cells], dim=1) + positions
        for block in net.blocks:
            tokens = block(tokens)
        wanted = net.norm(tokens)[:, 1:].mT.reshape(1, 64, 6, 4)
        torch.testing.assert_close(backbone(image).last, wanted, atol=1e-4, rtol=1e-4)


def test_weights_of_another_vit_are_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    small(VIT)
    save_file(timm.create_model("vit_small_patch14_reg4_dinov2").state_dict(), path)
    with pytest.raises(WeightsError, match=r"another network: .*unexpected.*another shape"):
        build_backbone("deit_small_patch16_224", weights=str(path), output_stride="auto")
    save_file(timm.create_model("deit_small_patch16_224", img_size=384).state_dict(), path)
    with pytest.raises(WeightsError, match=r"1 of another shape \(pos_embed \(1, 577, 48\) inst"):
        build_backbone("deit_small_patch16_224", weights=str(path), output_stride="auto")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_gradient_checkpointing_of_a_family(family: Family, small: Small) -> None:
    """It keeps less for the backward pass, and the gradients stay the same."""
    backbone = build(family, small)
    train_mode(backbone, freeze_batch_norm=True)
    freeze(backbone, backbone.frozen(), batch_norm=True)
    side = 4 * backbone.size_multiple
    image = torch.randn(2, 3, side, side)

    def gradients() -> dict[str, torch.Tensor]:
        torch.manual_seed(1)  # of dropout
        backbone.zero_grad(set_to_none=True)
        sum(one.square().mean() for one in backbone(image)).backward()  # type: ignore[union-attr]
        return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}

    usual, kept = gradients(), saved_bytes(lambda: backbone(image))
    checkpoint_gradients(backbone.net, lambda: backbone(image), where="here")
    assert saved_bytes(lambda: backbone(image)) < 0.8 * kept
    found = gradients()
    assert found.keys() == usual.keys() and len(found) > 10
    assert all(torch.equal(found[name], usual[name]) for name in usual)


def test_hiera_is_refused_with_the_reason(small: Small) -> None:
    small({"embed_dim": 24})
    with pytest.raises(RecipeError, match=r"timm fixes its grid of tokens when it is built"):
        build_backbone("hiera_tiny_224", weights="none", output_stride="auto")


def test_stride_of_a_vit_in_an_error_can_be_set(small: Small) -> None:
    small(VIT)
    with pytest.raises(RecipeError, match=r"stride 14 only, not 16.*Set it to auto"):
        build_backbone("vit_small_patch14_dinov2", weights="none", output_stride=16)


def test_levels_of_a_vit_have_its_stride_only(small: Small) -> None:
    small(VIT)
    name = "deit_small_patch16_224"
    same = build_backbone(name, weights="none", output_stride=16, pcm_levels=(16, 16))
    assert same.mid_strides == (16, 16)
    with pytest.raises(RecipeError, match=r"at strides 8 and 16.*its strides 16"):
        build_backbone(name, weights="none", output_stride=16, pcm_levels=(8, 16))
