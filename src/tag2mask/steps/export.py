"""Step ``export``: write a trained segmentation network for other programs, with a model card.

Writes ``model.onnx`` and ``model.pt2``, as requested, after comparing their output with the
network's; their specification as ``record.json``; ``predict.py``, which labels photos with the ONNX
file and needs neither tag2mask nor torch; and a model card as ``MODEL_CARD.md`` and
``model-card.json``. It isn't part of a run: it reads the folder of ``train-segmenter`` or a model
file, and for the card the rest of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from tag2mask.artifacts.handles import (
    MODEL_FILE,
    UNDERSTOOD,
    Evaluation,
    Export,
    Handle,
    PreparedData,
    SegmenterModel,
)
from tag2mask.artifacts.manifest import Manifest, read_identity
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import data_root
from tag2mask.errors import DataError, ExportError
from tag2mask.evaluation.records import read_scores
from tag2mask.files.atomic import atomic_write, write_text
from tag2mask.files.digests import digest
from tag2mask.files.json_file import write_json
from tag2mask.nn.weights import check_finite_weights
from tag2mask.recipe.sections import Predict
from tag2mask.report.model_card import (
    CardFile,
    ModelCard,
    data_of,
    evaluation_of,
    rates_of,
    scores_of,
    settings_of,
    training_of,
)
from tag2mask.report.model_card_text import markdown
from tag2mask.report.run_folder import RunFolder, open_runs
from tag2mask.segmentation.export import (
    OPSET,
    exported_program,
    largest_difference,
    onnx_bytes,
    require_onnx,
    shapes_to_check,
    smallest_side,
    torch_bytes,
    with_metadata,
)
from tag2mask.segmentation.inference.export_spec import (
    FORMAT,
    FORMATS,
    KEY,
    ONNX_FILE,
    ONNX_FORMAT,
    RECORD_FILE,
    TORCH_FILE,
    TORCH_FORMAT,
    DecisionRule,
    ExportedSpec,
    LabelingRecord,
)
from tag2mask.segmentation.inference.label_loops import Float32
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.inference.onnx_segmenter import OnnxSegmenter
from tag2mask.segmentation.loading import trained_file
from tag2mask.segmentation.networks import SegmentationNet, SegmenterSpec, load_segmenter
from tag2mask.segmentation.standalone import joined_source
from tag2mask.steps.decision_rule import MissRates, check_targets, decision_rule, rule_lines
from tag2mask.steps.predict import segmentation_settings
from tag2mask.version import __version__

CARD, CARD_JSON = "MODEL_CARD.md", "model-card.json"
PROGRAM_FILE = "predict.py"
"""Name of the program next to an ONNX network."""
CRF_LEFT_OUT = (
    "the dense CRF (predict.crf) is left out: an exported network labels photos without it; "
    "`tag2mask predict --set predict.crf.enabled=true` adds it"
)


def export(
    model: Path,
    formats: Sequence[str],
    out: Path,
    section: Predict | None = None,
    miss_rates: MissRates = MappingProxyType({}),
) -> Export:
    """Export a trained segmentation network.

    Args:
        model: a run folder, the folder of ``train-segmenter``, or a model file.
        formats: some of `tag2mask.segmentation.inference.export_spec.FORMATS`.
        out: folder to write. A complete one is kept, unless the run was evaluated again since.
        section: how photos are labeled with the exported network; None: by the defaults.
        miss_rates: targets of a decision rule, which is chosen on the run's validation photos and
            stored in the ONNX file; see `decision_rule`. Empty: no rule.

    Raises:
        DataError: the validation photos can't show these miss rates, or there are none.
        RunFolderError: the folder has no finished ``train-segmenter``; or ``out`` has the export of
            another network or other formats, or can't be written.
        WeightsError: not a segmentation network, truncated, not finite, or already exported.
        ExportError: the network can't be exported, or the exported network differs from it.
        PackageError: onnx, onnxscript or onnxruntime isn't installed.
    """
    source = _source(model)
    net, spec = load_segmenter(source.file)
    section = section or Predict()
    exported = exported_spec(net, spec, section)
    check_finite_weights(net, where=source.file, setting="train_segmenter.optimizer.lr")
    targets: dict[str, Any] = {"miss_rates": dict(miss_rates)} if miss_rates else {}
    data = _validation_data(source, formats, spec.class_set, miss_rates) if miss_rates else None
    coverage: dict[str, Handle | str] = {} if data is None else {"data": data}
    if source.evaluation is not None:
        coverage["evaluation"] = source.evaluation.fingerprint
    with step_folder(
        Export,
        out,
        section={
            "formats": [f for f in FORMATS if f in formats],
            "predict": exported.predict.settings(),
            **targets,
        },
        inputs={"model": source.trained or digest(source.file)},
        coverage=coverage,
    ) as step:
        if step.complete:
            return step.handle

        def decide(file: Path) -> DecisionRule | None:
            return None if data is None else _decide(file, section, data, miss_rates)

        files, exported = _write_files(net, exported, formats, step.path, decide)
        rule = exported.decisions
        card = _card(source, exported, files, sum(p.numel() for p in net.parameters()))
        write_json(step.path / CARD_JSON, card.to_json())
        write_text(step.path / CARD, markdown(card))
        return step.finish(
            counts={"files": len(files)},
            metrics={
                "largest_difference": {file.name: file.largest_difference for file in files},
                "warnings": [CRF_LEFT_OUT] if section.crf.enabled else [],
                UNDERSTOOD: [] if rule is None else rule_lines(rule),
            },
        )


def exported_spec(net: SegmentationNet, spec: SegmenterSpec, section: Predict) -> ExportedSpec:
    """Return the specification to store in the exported files."""
    return ExportedSpec(
        format=FORMAT,
        tag2mask=__version__,
        classes=spec.classes,
        colors=spec.class_set.colors,
        mean=net.mean,
        std=net.std,
        size_multiple=net.size_multiple,
        long_side=spec.long_side,
        architecture=spec.architecture,
        encoder=spec.encoder,
        output_stride=spec.output_stride,
        precision="float32",
        predict=LabelingRecord(
            behavior=section.behavior,
            long_side=section.side(spec.long_side),
            scales=section.scales,
            flip=section.flip,
            tile=section.tile,
            overlap=section.overlap,
        ),
        decisions=None,
    )


class _Source(NamedTuple):
    """A network's file, and if known its training, its run and the evaluation of the run."""

    file: Path
    trained: SegmenterModel | None = None
    run: RunFolder | None = None
    evaluation: Evaluation | None = None


def _source(model: Path) -> _Source:
    file = trained_file(model)
    folder = file.parent
    found = read_identity(folder) if file.name == MODEL_FILE else None
    if not isinstance(found, Manifest) or found.step != SegmenterModel.step:
        return _Source(file)
    if folder.absolute().name != SegmenterModel.step:  # a step's folder outside of a run
        return _Source(file, SegmenterModel(folder))
    run = open_runs([folder.absolute().parent])[0]
    return _Source(file, SegmenterModel(folder), run, evaluation_of(run, found))


def _validation_data(
    source: _Source, formats: Sequence[str], classes: ClassSet, miss_rates: MissRates
) -> PreparedData:
    """Return the data whose validation photos a decision rule is chosen on.

    Raises:
        DataError: no run, no validation photos, or targets of unknown classes.
        ExportError: no ONNX file is asked for.
    """
    if ONNX_FORMAT not in formats:
        raise ExportError("a decision rule is stored in an ONNX file", fix="Give --format onnx.")
    data = None if source.run is None else source.run.handle(PreparedData)
    if data is None:
        raise DataError(
            "a decision rule needs the run's prepare folder, with its validation photos",
            where=source.file,
            fix="Give the run instead of a file, or leave out --miss-rate.",
        )
    check_targets(data, classes, miss_rates)
    return data


def _decide(file: Path, section: Predict, data: PreparedData, rates: MissRates) -> DecisionRule:
    segmenter = OnnxSegmenter.open(file)
    settings = segmentation_settings(section, segmenter)
    labeler = PhotoLabeler(segmenter, replace(settings, crf=None, confidence="uint8"))
    return decision_rule(data, labeler, rates)


def _write_files(
    net: SegmentationNet,
    spec: ExportedSpec,
    formats: Sequence[str],
    out: Path,
    decide: Callable[[Path], DecisionRule | None],
) -> tuple[tuple[CardFile, ...], ExportedSpec]:
    """Write the formats; no file appears before all of them have been compared with the network.

    Returns:
        The files, and the specification with the rule that ``decide`` chose for the ONNX file.
    """
    if ONNX_FORMAT in formats:
        require_onnx()
    program = exported_program(net)
    found = []
    with ExitStack() as written:
        if ONNX_FORMAT in formats:
            file = written.enter_context(atomic_write(out / ONNX_FILE))
            content = onnx_bytes(program, {KEY: spec.to_json()})
            file.write_bytes(content)
            difference = largest_difference(
                net,
                OnnxSegmenter.open(file, caller_threads=1).logits,
                shapes_to_check(net, spec.long_side, net.size_multiple),
            )
            spec = replace(spec, decisions=decide(file))
            if spec.decisions is not None:
                file.write_bytes(with_metadata(content, {KEY: spec.to_json()}))
            found.append(
                _card_file(file, ONNX_FILE, f"ONNX, opset {OPSET}", difference, net.size_multiple)
            )
        if TORCH_FORMAT in formats:
            file = written.enter_context(atomic_write(out / TORCH_FILE))
            file.write_bytes(torch_bytes(program, {KEY: spec.to_json()}))
            difference = largest_difference(
                net, _torch_logits(file), shapes_to_check(net, spec.long_side, smallest_side(net))
            )
            found.append(
                _card_file(file, TORCH_FILE, "torch.export", difference, smallest_side(net))
            )
    write_json(out / RECORD_FILE, asdict(spec))
    if ONNX_FORMAT in formats:
        write_text(out / PROGRAM_FILE, joined_source())
    return tuple(found), spec


def _torch_logits(file: Path) -> Callable[[Float32], Float32]:
    """Return a function from images to logits that runs an exported program."""
    network = torch.export.load(file).module()

    def logits(images: Float32) -> Float32:
        found: Float32 = network(torch.from_numpy(images)).numpy()
        return found

    return logits


def _card_file(
    file: Path, name: str, format_name: str, difference: float, smallest_side: int
) -> CardFile:
    return CardFile(
        name=name,
        format=format_name,
        bytes=file.stat().st_size,
        sha256=digest(file),
        largest_difference=difference,
        smallest_side=smallest_side,
    )


def _card(
    source: _Source, spec: ExportedSpec, files: tuple[CardFile, ...], parameters: int
) -> ModelCard:
    """Return the model card, with all that is known of the network."""
    training = data = None
    if source.trained is not None:
        manifest = source.trained.manifest
        training = training_of(manifest)
        if source.run is not None and (prepared := source.run.handle(PreparedData)) is not None:
            data = data_of(source.run, manifest, data_root(prepared.path).name)
    found = None if source.evaluation is None else read_scores(source.evaluation)
    scores, left_out = ((), {}) if found is None else scores_of(found)
    rates = {} if found is None else rates_of(found)
    packages = ("torch", "onnx", "onnxruntime") if files[0].name == ONNX_FILE else ("torch",)
    return ModelCard(
        name=source.file.stem if source.run is None else source.run.label,
        spec=spec,
        parameters=parameters,
        files=files,
        training=training,
        data=data,
        scores=scores,
        rates=rates,
        scored_with=settings_of(source.run)
        if (scores or rates) and source.run is not None
        else None,
        left_out=left_out,
        versions={name: import_module(name).__version__ for name in packages},
    )
