"""An image-level head beside the segmentation network, which learns the photo's tags.

    python -m benchmarks.experiments.tags_alone.segmenter_tags [--head 0.1] run --data DATA
        --out RUN ...

Besides the losses of `SegmenterObjective`, with the tags y of a photo and the tag probabilities
σ(z) of a linear head on the average of the encoder's last map::

    tags     mean over photos and classes of  -y · log σ(z) - (1 - y) · log(1 - σ(z))

The head is not saved.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiments.changed_run import parse, run_changed
from tag2mask.errors import RecipeError
from tag2mask.nn.masked_resize import cells_inside, global_average
from tag2mask.nn.mean import Mean
from tag2mask.seam.losses import classification
from tag2mask.segmentation.dataset import SegmenterBatch
from tag2mask.segmentation.encoder_decoder import EncoderDecoder
from tag2mask.segmentation.losses import SegmenterObjective
from tag2mask.steps import train_segmenter
from tag2mask.steps.trainers.segmenter_task import SegmenterTask


class TaggedObjective(SegmenterObjective):
    """The network with its head and all losses.

    Args:
        net: the segmentation network.
        stride: as for `SegmenterObjective`.
        classes: number of foreground classes C.
    """

    def __init__(self, net: EncoderDecoder, stride: int, classes: int) -> None:
        super().__init__(net, stride)
        self.head = nn.Linear(net.net.encoder.out_channels[-1], classes)

    def forward(
        self,
        image: Tensor,
        labels: Tensor,
        photo_weights: Tensor | None = None,
        tags: Tensor | None = None,
        tags_apply: Tensor | None = None,
    ) -> dict[str, Mean]:
        """Compute the losses of a batch, as the base class; ``tags`` are needed."""
        assert isinstance(self.net, EncoderDecoder) and tags is not None
        maps: list[Tensor] = []
        hook = self.net.backbone.register_forward_hook(
            lambda module, given, found: maps.append(found[-1])
        )
        try:
            losses = super().forward(image, labels, photo_weights, tags, tags_apply)
        finally:
            hook.remove()
        inside = (image != 0).any(dim=1)  # padding has the mean color
        average = global_average(maps[0], cells_inside(inside, maps[0].shape[2:]))  # (b, c)
        own = self.head(average.to(self.head.weight.dtype))
        return losses | {"tags": classification(own[:, None], tags)}


class TaggedTask(SegmenterTask):
    """The task with the head.

    Args:
        *given: as for `SegmenterTask`.
        head: weight of the head's loss.
    """

    def __init__(self, *given: Any, head: float) -> None:
        super().__init__(*given)
        net = self.module.net
        if not isinstance(net, EncoderDecoder):
            raise RecipeError(
                "tags can't be used with the authors' network",
                where="train_segmenter.network.architecture",
                fix="Set it to deeplabv3plus.",
            )
        self.objective = TaggedObjective(net, self.section.loss_stride, self.photos.num_classes)
        self.module = self.objective
        self.head = head

    def new_parameters(self) -> list[nn.Parameter]:
        """Return also the parameters of the head."""
        return [*super().new_parameters(), *self.objective.head.parameters()]

    def inputs(self, batch: SegmenterBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return the tags whether absent classes have a loss or not."""
        image, labels, weights, *_ = super().inputs(batch, step, device)
        return image, labels, weights, batch.tags.to(device), batch.tags_apply.to(device)

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of each loss."""
        return {**super().weights(step), "tags": self.head}


def main(words: Sequence[str] | None = None) -> None:
    """Run ``tag2mask`` with the head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--head", type=float, default=0.1)
    options = parse(parser, words)
    task = partial(TaggedTask, head=options.head)
    run_changed(train_segmenter, "SegmenterTask", task, options.command)


if __name__ == "__main__":
    main()
