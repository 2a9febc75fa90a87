"""The method of the paper, from tags to masks: every step in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    AnyMaps,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    HandleT,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
    WalkedMaps,
    WalkModel,
)
from tag2mask.artifacts.identity import folder_status
from tag2mask.pipeline.nodes import check_same_photos
from tag2mask.pipeline.status import includes
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.ranks import on_first_rank

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory
    from tag2mask.runtime.session import Runtime


def run_steps(
    data: Path,
    recipe: Recipe,
    folder_of: Callable[[type[Handle]], Path],
    runtime: Runtime,
    *,
    update: bool = False,
    start: Path | None = None,
    listed: Inventory | None = None,
) -> Iterator[Handle]:
    """Run the method: tags, classifier, CAMs, AffinityNet and walk, pseudo masks, network, scores.

    A step runs when the iterator is asked for its handle, so a caller may stop after any step. With
    ``recipe.masks``, the steps from the classifier to the pseudo masks are left out.

    Args:
        data: the data folder.
        recipe: settings of every step.
        folder_of: returns the folder of each step.
        runtime: where to run.
        update: as in ``run``.
        start: as in ``steps.train_cam.train_cam``.
        listed: as in ``steps.prepare.prepare``; only the first rank needs it.

    Yields:
        The handle of each step, in order.
    """
    from tag2mask.steps.evaluate import evaluate
    from tag2mask.steps.mask_exchange.given import open_given_masks
    from tag2mask.steps.prepare import prepare

    out = folder_of(PreparedData)
    on_first_rank(runtime, lambda: prepare(data, recipe.prepare, out, update=update, listed=listed))
    prepared = PreparedData.open(out)
    check_same_photos(runtime, prepared.path)
    yield prepared

    if recipe.masks is not None:
        made = _Masks(open_given_masks(Path(recipe.masks)))
    else:
        made = yield from _make_masks(prepared, recipe, folder_of, runtime, start, update)
    masks, maps = made.masks, made.maps
    cam = made.cam if recipe.train_segmenter.starts_from_cam else None

    predictions: Predictions | None = None
    if includes(recipe, SegmenterModel):
        from tag2mask.steps.predict import predict_prepared
        from tag2mask.steps.train_segmenter import train_segmenter

        out = folder_of(SegmenterModel)
        segmenter = _kept(SegmenterModel, out, update) or train_segmenter(
            prepared, masks, recipe.train_segmenter, out, runtime, cam
        )
        yield segmenter

        predictions = predict_prepared(
            prepared, segmenter, recipe.predict, folder_of(Predictions), runtime
        )
        yield predictions

    out = folder_of(Evaluation)
    yield evaluate(prepared, maps, masks, recipe.evaluate, out, runtime, made.earlier, predictions)


@dataclass(frozen=True)
class _Masks:
    """Masks, and the network and the maps that they were made from, which given masks lack."""

    masks: PseudoMaskFolder
    cam: CamModel | None = None
    maps: AnyMaps | None = None
    earlier: tuple[AnyMaps, ...] = ()


def _make_masks(
    prepared: PreparedData,
    recipe: Recipe,
    folder_of: Callable[[type[Handle]], Path],
    runtime: Runtime,
    start: Path | None,
    update: bool,
) -> Generator[Handle, None, _Masks]:
    """Run the steps from tags to pseudo masks; see `run_steps`."""
    from tag2mask.steps.affinity_labels import affinity_labels
    from tag2mask.steps.infer_cam import infer_cam
    from tag2mask.steps.pseudo_masks import pseudo_masks
    from tag2mask.steps.train_affinity import train_affinity
    from tag2mask.steps.train_cam import train_cam
    from tag2mask.steps.walk import walk

    out = folder_of(CamModel)
    model = _kept(CamModel, out, update) or train_cam(
        prepared, recipe.train_cam, out, runtime, start
    )
    yield model

    maps: AnyMaps = infer_cam(
        prepared,
        model,
        recipe.infer_cam,
        folder_of(CamMaps),
        runtime,
        modules=recipe.train_cam.modules().values(),
    )
    earlier: tuple[AnyMaps, ...] = ()
    yield maps

    followed: WalkModel = model
    if includes(recipe, AffinityModel):
        labels = affinity_labels(
            prepared, maps, recipe.affinity_labels, folder_of(AffinityLabels), runtime
        )
        yield labels

        out = folder_of(AffinityModel)
        followed = _kept(AffinityModel, out, update) or train_affinity(
            prepared, labels, recipe.train_affinity, out, runtime
        )
        yield followed

    if includes(recipe, WalkedMaps):
        earlier = (maps,)
        out = folder_of(WalkedMaps)
        maps = walk(prepared, maps, followed, recipe.walk, out, runtime)
        yield maps

    masks = pseudo_masks(prepared, maps, recipe.pseudo_masks, folder_of(PseudoMaskFolder), runtime)
    yield masks
    return _Masks(masks, model, maps, earlier)


def _kept(kind: type[HandleT], path: Path, update: bool) -> HandleT | None:
    """Return the trained network if a change of the data is to keep it."""
    is_complete = folder_status(kind, path).state in ("fresh", "stale")
    return kind.open(path) if update and is_complete else None
