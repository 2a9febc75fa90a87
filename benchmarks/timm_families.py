"""Which timm networks work as backbones: one training step of the smallest network of each family.

``python -m benchmarks.timm_families [families] [--out FILE]`` prints a line per family of timm (one
per module of ``timm.models``): the network, the output strides that can be trained, and in each
precision, or the reason why it can't be used. Each is tried in a process of its own, since a fault
in a library may end the process. Weights are random; about 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import timm
import torch
from rich.progress import track

from tag2mask.errors import Tag2MaskError
from tag2mask.nn.backbones.timm_backbone import STRIDES, TimmBackbone
from tag2mask.training.optim import train_mode

SIZES = ((128, 128), (160, 96))
"""(h, w) of the photos; the second one is a view of another shape."""
SECONDS = 300


def smallest_of(family: str) -> str:
    """Return the name of a family's network with the fewest weights."""

    def weights(name: str) -> int:
        with torch.device("meta"):
            net = timm.create_model(name, num_classes=0)
        return sum(p.numel() for p in net.parameters())

    names: list[str] = timm.list_models(module=family)
    return min(names, key=weights)


def train(name: str, output_stride: int) -> None:
    """Run forward and backward passes in float32 and bf16, with frozen batch norms."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name, output_stride=output_stride)
    train_mode(backbone, freeze_batch_norm=True)
    backbone.to(memory_format=torch.channels_last)
    for size in SIZES:
        for bf16 in (False, True):
            image = torch.randn(4, 3, *size).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                features = backbone(image)
            loss = torch.stack([level.float().square().mean() for level in features]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
    if not all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters()):
        raise ArithmeticError("gradients are not finite")


def tried(name: str, output_stride: int) -> str:
    """Train in a process of its own; return an empty text, or why that failed."""
    command = (sys.executable, "-m", "benchmarks.timm_families", "--child", name)
    try:
        done = subprocess.run(
            (*command, str(output_stride)),
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    return done.stdout.strip() if done.returncode else ""


def line_of(family: str) -> str:
    """Return the line of a family."""
    name = smallest_of(family)
    failures = {stride: tried(name, stride) for stride in STRIDES}
    works = [str(stride) for stride, reason in failures.items() if not reason]
    reason = "" if works else f"; {failures[STRIDES[-1]]}"
    return f"{family}\t{name}\t{', '.join(works) or '-'}{reason}"


def main() -> None:
    """Print a line per family, or in a child process train one network."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timm_families")
    parser.add_argument("families", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, default=Path("timm-families.txt"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        try:
            train(options.child[0], int(options.child[1]))
        except (Tag2MaskError, ArithmeticError, RuntimeError) as error:
            print(str(error).splitlines()[0])
            sys.exit(1)
        return
    families = options.families or [m for m in timm.list_modules() if timm.list_models(module=m)]
    with options.out.open("w") as out:
        for family in track(families, "families"):
            print(line_of(family), file=out, flush=True)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
