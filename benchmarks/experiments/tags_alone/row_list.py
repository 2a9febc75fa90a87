"""The experiments on masks from tags alone, in the order in which `run_rows` runs them.

An experiment is a run of the default recipe, or one that starts from the finished steps of another
experiment, with something changed: settings, the masks that its network learns from, the maps that
its masks are made from, or the code of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

Source = tuple[str, int]
"""An experiment, and what is added to the seed."""


@dataclass(frozen=True)
class Script:
    """A module that combines what other experiments made.

    Attributes:
        module: called as ``python -m MODULE OUT SOURCE...``.
        sources: the experiments.
        words: further words of its command.
    """

    module: str
    sources: tuple[Source, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        name: of its rows.
        base: the experiment whose finished steps it starts from and that its scores are compared
            with; None: it starts from nothing.
        settings: ``section.key=value`` that differ from the base, or from the default recipe;
            ``{base}`` stands for the base's run folder.
        masks: makes the folder of masks that the network learns from, OUT, of the pseudo-masks
            folders of its sources.
        maps: replaces the maps in ``infer-cam`` of the run folder OUT; its sources are the run
            folders of experiments.
        keep: the last step that is taken from the base; None: every step that the settings leave
            the same, or with ``maps`` those up to ``infer-cam``. Needed where ``program`` changes
            what a step does.
        program: module, and words for it, that is called with ``run`` and its options in place of
            ``tag2mask``.
    """

    name: str
    base: str | None = None
    settings: tuple[str, ...] = ()
    masks: Script | None = None
    maps: Script | None = None
    keep: str | None = None
    program: tuple[str, ...] = ("tag2mask",)


def _threshold(value: float) -> tuple[str, ...]:
    return ("pseudo_masks.threshold_from=fixed", f"pseudo_masks.background_threshold={value}")


def _agreement(*sources: Source) -> Script:
    return Script("benchmarks.experiments.tags_alone.agreement", sources)


def _ensemble(*sources: Source) -> Script:
    return Script("benchmarks.experiments.tags_alone.ensemble", sources)


CAM, MDC, SEAM = "CAM + walk", "MDC + walk", "SEAM + walk"
PLAIN = ("train_cam.pcm.enabled=false", "train_cam.views.enabled=false")
"""Settings of a network that learns from single views."""
METHODS = {"prototypes": "image prototypes", "superpixels": "superpixel votes", "par": "PAR"}
"""Refinements of maps without training."""
SEGMENTER_OF_BASES = ("train_segmenter.absent_weight=0",)
"""Settings of the segmentation network that all rows compare with."""
BASELINES = (
    Experiment(CAM, settings=(*PLAIN, *SEGMENTER_OF_BASES)),
    Experiment(SEAM, settings=SEGMENTER_OF_BASES),
    Experiment(MDC, settings=("train_cam.head=mdc", *PLAIN, *SEGMENTER_OF_BASES)),
)
TRUSTED_PIXELS = (
    Experiment("CAM + walk at 0.25", CAM, _threshold(0.25)),
    *(Experiment(f"SEAM + walk at {value}", SEAM, _threshold(value)) for value in (0.25, 0.65)),
    Experiment(
        "agreement of CAM + walk and SEAM + walk", SEAM, masks=_agreement((CAM, 0), (SEAM, 0))
    ),
    Experiment(
        "agreement of SEAM + walk at 0.25 and 0.5",
        SEAM,
        masks=_agreement((SEAM, 0), ("SEAM + walk at 0.25", 0)),
    ),
    Experiment(
        "agreement of CAM + walk at 0.25 and 0.5",
        CAM,
        masks=_agreement((CAM, 0), ("CAM + walk at 0.25", 0)),
    ),
    Experiment("agreement of two seeds", SEAM, masks=_agreement((SEAM, 0), (SEAM, 1))),
    *(
        Experiment(f"unsure below {share}", SEAM, (f"pseudo_masks.unsure_below={share}",))
        for share in (0.6, 0.7, 0.8)
    ),
    *(
        Experiment(
            f"background of the walk at {value}",
            SEAM,
            ("walk.threshold_from=fixed", f"walk.background_threshold={value}"),
        )
        for value in (0.25, 0.5)
    ),
)
ENSEMBLES = (
    Experiment(
        "maps of three seeds",
        SEAM,
        maps=_ensemble((SEAM, 0), (SEAM, 1), (SEAM, 2)),
    ),
    Experiment(
        "maps of Lite2",
        settings=(
            "train_cam.backbone.name=tf_efficientnet_lite2",
            "train_segmenter.network.encoder=tf_efficientnet_lite0",
            *SEGMENTER_OF_BASES,
        ),
    ),
    Experiment(
        "maps of Lite0 and Lite2",
        SEAM,
        maps=_ensemble((SEAM, 0), ("maps of Lite2", 0)),
    ),
)
CONTRAST = (
    Experiment(
        "prototype contrast",
        SEAM,
        (
            "train_cam.losses.extra=[{module: "
            "'benchmarks.experiments.tags_alone.prototype_contrast:PrototypeContrast', "
            "weight: 0.1, options: {channels: 1280, classes: 20}}]",
        ),
    ),
)
UPPER, OTHER_SEED = "upper bound", "network of another seed"


def _segmenter(
    name: str, base: str, script: str, *words: str, settings: tuple[str, ...] = ()
) -> Experiment:
    """Return an experiment whose segmentation network is trained by a script."""
    program = (f"benchmarks.experiments.{script}", *words)
    return Experiment(name, base, settings, keep="pseudo-masks", program=program)


MIXING = ("CutMix and rare classes", "segmenter_mixing")
CUTMIX = ("CutMix", "segmenter_mixing", "--repeat", "0")
ABSENT, LOW_RATE = ("train_segmenter.absent_weight=0.1",), ("train_segmenter.optimizer.lr=1e-4",)


def _another_seed(name: str, base: str) -> str:
    return f"{name}, another seed" if base == OTHER_SEED else name


SEGMENTER = (
    Experiment(OTHER_SEED, SEAM, ("train_segmenter.seed=1",)),
    *(
        Experiment(_another_seed(name, base), base, settings)
        for name, settings in (
            ("absent classes in the segmenter", ABSENT),
            ("a third of the learning rate", LOW_RATE),
            ("absent classes and a third of the learning rate", (*ABSENT, *LOW_RATE)),
            ("encoder of ImageNet", ("train_segmenter.network.weights=packaged",)),
        )
        for base in (SEAM, OTHER_SEED)
    ),
    _segmenter("tags in the segmenter", SEAM, "segmenter_tags", settings=ABSENT),
    *(
        _segmenter(_another_seed(name, base), base, *script)
        for name, *script in (MIXING, CUTMIX)
        for base in (SEAM, OTHER_SEED)
    ),
    Experiment(
        "early-learning correction",
        SEAM,
        masks=Script("benchmarks.experiments.tags_alone.early_learning", ((SEAM, 0),)),
    ),
    Experiment(UPPER, SEAM, ("train_segmenter.masks=ground truth",)),
    _segmenter("upper bound with CutMix and rare classes", UPPER, "segmenter_mixing"),
)


def _refined(method: str, step: str) -> Script:
    words = ("--method", method, "--step", step)
    return Script("benchmarks.experiments.tags_alone.refined_maps", ((SEAM, 0),), words)


REFINED_MAPS = (
    *(
        Experiment(f"{name} before the walk", SEAM, maps=_refined(method, "infer-cam"))
        for method, name in METHODS.items()
    ),
    *(
        Experiment(f"{name} after the walk", SEAM, maps=_refined(method, "walk"), keep="walk")
        for method, name in METHODS.items()
    ),
    Experiment(
        "PAR for affinity labels",
        SEAM,
        keep="infer-cam",
        program=("benchmarks.experiments.tags_alone.par",),
    ),
)
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        *BASELINES,
        *TRUSTED_PIXELS,
        *ENSEMBLES,
        *CONTRAST,
        *SEGMENTER,
        *REFINED_MAPS,
    )
}
"""All experiments by name; a base and the sources of a script stand before what needs them."""
