"""Segmentation networks: every architecture, weights of encoders, model files, and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from tag2mask.classes import VOC_NAMES
from tag2mask.errors import RecipeError, WeightsError
from tag2mask.nn.weights import packaged_state
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, save_seam
from tag2mask.segmentation.deeplab_v1 import DEEPLAB_V1
from tag2mask.segmentation.encoder_decoder import DecoderBatchNorm, EncoderDecoder
from tag2mask.segmentation.networks import (
    ARCHITECTURES,
    SegmenterSpec,
    build_segmenter,
    load_segmenter,
    save_segmenter,
)

STRIDES = {"deeplabv3": 8, "deeplabv3plus": 16, "pan": 16, "pspnet": 8, "dpt": 16}
"""An output stride of the architecture; 32 for the others."""


def spec(
    architecture: str = "deeplabv3plus",
    encoder: str = "test_efficientnet",
    stride: int | None = None,
) -> SegmenterSpec:
    stride = STRIDES.get(architecture, 32) if stride is None else stride
    return SegmenterSpec(
        ("cat", "traffic light"), architecture, encoder, stride, 64, decoder_channels=None
    )


def build(*arguments: str | int, weights: str = "none") -> EncoderDecoder:
    torch.manual_seed(0)
    net = build_segmenter(spec(*arguments), weights=weights)  # type: ignore[arg-type]
    assert isinstance(net, EncoderDecoder)
    return net


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != DEEPLAB_V1])
def test_every_architecture_gives_logits_of_the_image_size_and_gradients(architecture: str) -> None:
    net = build(architecture, "test_vit" if architecture == "dpt" else "test_efficientnet")
    side = net.size_multiple
    with torch.no_grad():
        assert net.eval()(torch.randn(1, 3, side, 2 * side)).shape == (1, 3, side, 2 * side)
    # With a single photo, batch norms after a global pooling see one value per channel.
    net.train()(torch.randn(1, 3, *(2 * (max(side, 64),)))).square().mean().backward()
    new = {id(parameter) for parameter in net.new_parameters()}
    inside = {id(parameter) for parameter in net.backbone.parameters()}
    assert not new & inside
    assert new | inside == {id(parameter) for parameter in net.parameters()}
    assert any(p.grad is not None and p.grad.any() for p in net.new_parameters())
    assert any(p.grad is not None and p.grad.any() for p in net.backbone.parameters())


@pytest.mark.parametrize("architecture", ["deeplabv3", "deeplabv3plus", "unet", "dpt"])
def test_logits_on_a_grid_are_those_of_the_image_resized(architecture: str) -> None:
    net = build(architecture, "test_vit" if architecture == "dpt" else "test_efficientnet").eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        own = net.net(image)
        torch.testing.assert_close(net(image), net.logits_at(image, 1), atol=0, rtol=0)
        for stride in (1, 2, 4, 8):
            logits = net.logits_at(image, stride)
            assert logits.shape == (1, 3, 64 // stride, 96 // stride)
            grid = 64 // own.shape[2]
            expected = torch.nn.functional.interpolate(
                own, scale_factor=grid / stride, mode="bilinear", align_corners=False
            )
            torch.testing.assert_close(logits, expected)


def test_logits_equal_those_of_the_library() -> None:
    net = build("deeplabv3plus", "test_efficientnet", 16).eval()
    image = torch.randn(1, 3, 64, 96)
    ours = net(image)
    net.net.segmentation_head[1] = torch.nn.Upsample(scale_factor=4.0, mode="bilinear")
    torch.testing.assert_close(ours, net.net(image), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("encoder", "layers"),
    [
        ("tf_efficientnet_lite0", {"conv_stem", "bn1", "blocks.0", "blocks.1"}),
        ("test_resnet", {"conv1", "bn1", "layer1"}),
    ],
)
def test_the_first_layers_of_an_encoder(encoder: str, layers: set[str]) -> None:
    net = build("deeplabv3plus", encoder, 16)
    frozen = {id(parameter) for parameter in net.frozen(4)}
    for name, parameter in net.backbone.model.named_parameters():
        assert (id(parameter) in frozen) == any(name.startswith(f"{layer}.") for layer in layers)
    assert not net.frozen(1)


def test_a_transformer_has_no_layers_of_a_smaller_stride_than_its_patch() -> None:
    assert not build("dpt", "test_vit").frozen(4)


def test_first_layers_without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build("deeplabv3plus")
    monkeypatch.setattr(net.backbone.model, "feature_info", [{"module": "stem", "reduction": 2}])
    with pytest.raises(RecipeError, match="first layers of the encoder"):
        net.frozen(4)


def test_channels_of_the_decoder() -> None:
    light = replace(spec("deeplabv3plus"), decoder_channels=32)
    net = build_segmenter(light)
    assert isinstance(net, EncoderDecoder)
    assert net.net.segmentation_head[0].in_channels == 32
    assert build("deeplabv3plus").net.segmentation_head[0].in_channels == 256
    assert build_segmenter(replace(spec("unet"), decoder_channels=32))


@pytest.mark.parametrize("stride", [8, 16])
def test_pyramid_has_the_same_width_in_pixels_at_all_strides(stride: int) -> None:
    net = build("deeplabv3plus", "test_efficientnet", stride)
    assert net.size_multiple == stride
    with torch.no_grad():
        assert net.backbone(torch.zeros(1, 3, 64, 64))[-1].shape[2:] == (64 // stride, 64 // stride)
    rates = {
        m.dilation[0] * stride
        for m in net.net.decoder.modules()
        if isinstance(m, torch.nn.Conv2d) and m.dilation[0] > 1
    }
    assert rates == {96, 192, 288}, "6, 12 and 18 cells at stride 16, as published"


def test_faster_convolutions_give_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = build().eval()
    monkeypatch.setattr("tag2mask.segmentation.encoder_decoder.fold_batch_norms", lambda *_: None)
    plain = build().eval()
    assert list(plain.state_dict()) == list(fast.state_dict())
    for module in (plain, fast):
        state = module.state_dict()
        generator = torch.Generator().manual_seed(1)
        for name in state:
            if name.endswith(("running_mean", "running_var")):
                state[name].uniform_(0.5, 1.5, generator=generator)
    image = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(fast(image), plain(image), atol=1e-4, rtol=1e-4)


def test_batch_norm_with_one_value_per_channel() -> None:
    norm = torch.nn.BatchNorm2d(3)
    assert norm.running_mean is not None
    norm.running_mean += torch.tensor([0.0, 1.0, 2.0])
    pooled = DecoderBatchNorm(norm)
    one = torch.randn(1, 3, 1, 1)
    assert torch.equal(pooled.train()(one), norm.eval()(one))
    assert norm.running_mean.tolist() == [0, 1, 2]
    more = torch.randn(4, 3, 1, 1)
    assert torch.equal(pooled(more), norm.train()(more))
    assert not any(type(module) is torch.nn.BatchNorm2d for module in build().net.decoder.modules())


def test_packaged_weights_of_the_encoder() -> None:
    net = build("deeplabv3plus", "tf_efficientnet_lite0", weights="packaged")
    state, _ = packaged_state("tf_efficientnet_lite0")
    encoder = net.net.encoder.model
    assert torch.equal(encoder.conv_stem.weight, state["_conv_stem.weight"])
    last = encoder.blocks[-1][-1].conv_pwl.weight
    assert any(last.shape == t.shape and torch.equal(last, t) for t in state.values())
    assert (net.mean, net.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext"])
def test_files_with_a_classifier(tmp_path: Path, name: str) -> None:
    """For some networks timm flattens the names of the feature extractor."""
    torch.manual_seed(3)
    classifier = timm.create_model(name, num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "net.pth")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = classifier.eval().forward_intermediates(image, intermediates_only=True)[-1]
        for file in ("net.safetensors", "net.pth"):
            net = build("unet", name, weights=str(tmp_path / file)).eval()
            torch.testing.assert_close(net.backbone(image)[-1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [8, 16])
def test_encoder_of_a_trained_cam_network(tmp_path: Path, stride: int) -> None:
    name = "tf_efficientnet_lite0"
    file, cam = (
        tmp_path / "model.safetensors",
        replace(OFFICIAL_SEAM, classes=("cat", "dog"), backbone=name, output_stride=16),
    )
    torch.manual_seed(3)
    trained = build_seam(cam)
    save_seam(file, trained, cam)
    net = build("deeplabv3plus", name, stride, weights=str(file)).eval()
    theirs = trained.backbone.state_dict()
    ours = net.net.encoder.model.state_dict()
    same = [key for key in ours if torch.equal(ours[key], theirs[f"net.{key}"])]
    assert same == list(ours) and len(same) > 200


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "larger.pth")
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "other.pth")
    # Has all the tensors of ResNet-18, and more.
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "resnet34.pth")
    for name, file, message in (
        ("resnet10t", "larger.pth", r"another network.*larger\.pth"),
        ("resnet18", "other.pth", r"missing.*conv1\.weight.*other\.pth"),
        ("resnet18", "resnet34.pth", r"unexpected.*layer1\.2.*resnet34\.pth"),
        ("resnet18", "nowhere.pth", r"no such weight file.*nowhere\.pth"),
    ):
        with pytest.raises(WeightsError, match=message):
            build("unet", name, weights=str(tmp_path / file))
    with pytest.raises(WeightsError, match=r"no packaged weights for 'resnet18' \[network\.weigh"):
        build("unet", "resnet18", weights="packaged")


def test_download_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = timm.create_model

    def offline(*arguments: object, pretrained: bool = False, **options: object) -> object:
        if pretrained:
            raise ConnectionError("Name or service not known")
        return real(*arguments, **options)

    monkeypatch.setattr("tag2mask.nn.backbones.timm_models.timm.create_model", offline)
    with pytest.raises(WeightsError, match=r"can't be downloaded \(Name or.*\[network\.weights\]"):
        build("unet", "resnet10t", weights="hub")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("unett", "resnet10t", 32),
            r"no architecture 'unett'; did you mean 'unet'.*deeplabv3plus",
        ),
        (("unet", "reznet18", 32), r"no encoder 'reznet18'; did you mean 'resnet18'"),
        (("unet", "resnet38", 32), r"resnet38 is for deeplabv1"),
        (("unet", "resnet10t", 16), r"unet gives output stride 32 only, not 16.*output_stride\]"),
        (("pspnet", "resnet10t", 32), r"pspnet gives output stride 8 only.*Set it to 8"),
        (("deeplabv3plus", "resnet10t", 32), r"stride 8 or 16 only, not 32"),
        (("pan", "resnet10t", 8), r"stride 16 or 32 only, not 8"),
        (("deeplabv1", "resnet10t", 8), r"deeplabv1 has the encoder resnet38, not resnet10t"),
        (("deeplabv1", "resnet38", 16), r"deeplabv1 gives output stride 8 only"),
        (("unet", "test_vit", 32), r"unet can't be built on test_vit"),
        (("deeplabv3plus", "mixer_s32_224", 16), r"can't be built on mixer_s32_224"),
    ],
)
def test_unsupported_networks_and_strides(arguments: tuple[str, str, int], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_segmenter(spec(*arguments))


def test_round_trip(tmp_path: Path) -> None:
    net = build().eval()
    save_segmenter(tmp_path / "model.safetensors", net, spec())
    loaded, loaded_spec = load_segmenter(tmp_path / "model.safetensors")
    assert loaded_spec == spec() and not loaded.training
    assert loaded_spec.class_set.names == ("cat", "traffic light")
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(net(image), loaded(image))


def test_files_of_other_kinds(tmp_path: Path) -> None:
    cam = replace(OFFICIAL_SEAM, classes=("a",), backbone="resnet10t", output_stride=32, pcm=False)
    save_seam(tmp_path / "cam.safetensors", build_seam(cam), cam)
    with pytest.raises(WeightsError, match=r"this is a CAM model, not a segmentation network"):
        load_segmenter(tmp_path / "cam.safetensors")
    save_segmenter(tmp_path / "model.safetensors", build(), spec())
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"cut off.*cut\.safetensors"):
        load_segmenter(tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match=r"no such model file"):
        load_segmenter(tmp_path / "nowhere.safetensors")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"another network.*other\.pth"):
        load_segmenter(tmp_path / "other.pth")


def test_file_with_an_unknown_architecture(tmp_path: Path) -> None:
    later = replace(spec(), architecture="deeplabv9")
    save_segmenter(tmp_path / "model.safetensors", build(), later)
    with pytest.raises(WeightsError, match=r"another version.*'deeplabv9'.*model\.safetensors"):
        load_segmenter(tmp_path / "model.safetensors")


@pytest.mark.slow
def test_official_deeplab_checkpoint(tmp_path: Path) -> None:
    official = SegmenterSpec(VOC_NAMES, DEEPLAB_V1, "resnet38", 8, 500, decoder_channels=None)
    state = build_segmenter(official).state_dict()
    torch.save(
        {f"module.{name.removeprefix('backbone.')}": t for name, t in state.items()},
        tmp_path / "deeplab.pth",
    )
    net, found = load_segmenter(tmp_path / "deeplab.pth")
    assert found == official
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
