"""The table of the steps of ``tag2mask run``, in order."""

from __future__ import annotations

from dataclasses import dataclass

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    TrainedModel,
    WalkedMaps,
)


@dataclass(frozen=True)
class RunStep:
    """One row of the table of steps.

    Attributes:
        handle: class of the step's folder.
        enabled_by: keys of the recipe with the values that include the step, such as
            ``walk.enabled`` and True; none: every recipe includes it.
        makes_masks: whether the step is needed only to make the pseudo masks; a run that is given
            masks leaves it out.
    """

    handle: type[Handle]
    enabled_by: tuple[tuple[str, object], ...] = ()
    makes_masks: bool = False

    @property
    def name(self) -> str:
        """Name of the step, its command and its folder."""
        return self.handle.step

    @property
    def trains(self) -> bool:
        """Whether it trains a network, which a change of the data may keep."""
        return issubclass(self.handle, TrainedModel)


_WALK, _SEGMENTER = (("walk.enabled", True),), (("train_segmenter.enabled", True),)
_AFFINITY_NET = (*_WALK, ("walk.affinity", "trained"))
RUN_STEPS = (
    RunStep(PreparedData),
    RunStep(CamModel, makes_masks=True),
    RunStep(CamMaps, makes_masks=True),
    RunStep(AffinityLabels, enabled_by=_AFFINITY_NET, makes_masks=True),
    RunStep(AffinityModel, enabled_by=_AFFINITY_NET, makes_masks=True),
    RunStep(WalkedMaps, enabled_by=_WALK, makes_masks=True),
    RunStep(PseudoMaskFolder, makes_masks=True),
    RunStep(SegmenterModel, enabled_by=_SEGMENTER),
    RunStep(Predictions, enabled_by=_SEGMENTER),
    RunStep(Evaluation),
    RunStep(ReportPage),
)
"""The steps of ``tag2mask run`` in order."""
STEPS = tuple(row.handle for row in RUN_STEPS)
"""Their handles."""
STEP_NAMES = tuple(row.name for row in RUN_STEPS)
REPORTED_STEPS = tuple(kind for kind in STEPS if kind is not ReportPage)
MODELS = tuple(row.handle for row in RUN_STEPS if row.trains)
"""Handles of the training steps."""
