"""Tags in the training of the segmentation network: absent classes, and an image-level head.

    python -m benchmarks.experiments.segmenter_tags [--absent 0.1] [--head 0.1] run --data DATA
        --out RUN ...

Besides the cross-entropy on the pseudo masks, with p the probabilities of a pixel, absent the
classes that its photo's tags exclude, and σ(z) the tag probabilities of a linear head on the
average of the encoder's last map::

    absent   mean over all pixels of  -log(1 - Σ_absent p)
    tags     mean over photos and classes of  -y · log σ(z) - (1 - y) · log(1 - σ(z))

Also pixels that the masks leave unlabeled learn from the first. The head is not saved.
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
from tag2mask.segmentation.losses import SegmenterObjective, cross_entropy
from tag2mask.steps import train_segmenter
from tag2mask.steps.trainers.segmenter_task import SegmenterTask


def absent_classes(logits: Tensor, tags: Tensor, inside: Tensor) -> Mean:
    """Compute the mean of -log(1 - the sum of the probabilities of absent classes).

    Args:
        logits: (b, C+1, h, w).
        tags: 0/1 (b, C).
        inside: bool (b, h, w), False on padding.
    """
    allowed = torch.cat([torch.ones_like(tags[:, :1]), tags], dim=1).bool()  # (b, C+1)
    rest = logits.masked_fill(~allowed[:, :, None, None], -torch.inf).logsumexp(dim=1)
    terms = logits.logsumexp(dim=1) - rest  # (b, h, w)
    return Mean((terms * inside).sum(), inside.sum().to(terms.dtype))


class TaggedObjective(SegmenterObjective):
    """The network with its head and all terms.

    Args:
        net: the segmentation network.
        stride: as for `SegmenterObjective`.
        classes: number of foreground classes C.
    """

    def __init__(self, net: EncoderDecoder, stride: int, classes: int) -> None:
        super().__init__(net, stride)
        self.head = nn.Linear(net.net.encoder.out_channels[-1], classes)

    def forward(  # type: ignore[override]
        self, image: Tensor, labels: Tensor, tags: Tensor, photo_weights: Tensor | None = None
    ) -> dict[str, Mean]:
        """Compute the terms of a batch; ``tags``: 0/1 (b, C), the others as the base class."""
        assert isinstance(self.net, EncoderDecoder)
        maps: list[Tensor] = []
        hook = self.net.backbone.register_forward_hook(
            lambda module, given, found: maps.append(found[-1])
        )
        try:
            logits = self.net.logits_at(image, self.stride).float()  # (b, C+1, h, w)
        finally:
            hook.remove()
        center = slice(self.stride // 2, None, self.stride)
        inside = (image != 0).any(dim=1)  # padding has the mean color
        average = global_average(maps[0], cells_inside(inside, maps[0].shape[2:]))  # (b, c)
        return {
            "cross_entropy": cross_entropy(logits, labels[:, center, center], photo_weights),
            "absent": absent_classes(logits, tags, inside[:, center, center]),
            "tags": classification(self.head(average.to(self.head.weight.dtype))[:, None], tags),
        }


class TaggedTask(SegmenterTask):
    """The task with both terms.

    Args:
        *given: as for `SegmenterTask`.
        absent: weight of the term of absent classes.
        head: weight of the term of the image-level head.
    """

    def __init__(self, *given: Any, absent: float, head: float) -> None:
        super().__init__(*given)
        net = self.module.net
        if not isinstance(net, EncoderDecoder):
            raise RecipeError(
                "tags can't be used with the authors' network",
                where="train_segmenter.network.architecture",
                fix="Set it to deeplabv3plus.",
            )
        self.tagged = TaggedObjective(net, self.section.loss_stride, self.photos.num_classes)
        self.module = self.tagged
        self.term_weights = {"cross_entropy": 1.0, "absent": absent, "tags": head}
        self.tags = {sample.id: sample.tags for sample in self.photos.samples}

    def new_parameters(self) -> list[nn.Parameter]:
        """Return also the parameters of the head."""
        return [*super().new_parameters(), *self.tagged.head.parameters()]

    def inputs(self, batch: SegmenterBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return also the tags."""
        image, labels, *weights = super().inputs(batch, step, device)
        tags = torch.zeros(len(batch.ids), self.photos.num_classes)
        for row, photo in enumerate(batch.ids):
            tags[row, list(self.tags[photo])] = 1.0
        return image, labels, tags.to(device, non_blocking=True), *weights

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of each term."""
        return self.term_weights


def main(words: Sequence[str] | None = None) -> None:
    """Run ``tag2mask`` with both terms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--absent", type=float, default=0.1)
    parser.add_argument("--head", type=float, default=0.1)
    options = parse(parser, words)
    task = partial(TaggedTask, absent=options.absent, head=options.head)
    run_changed(train_segmenter, "SegmenterTask", task, options.command)


if __name__ == "__main__":
    main()
