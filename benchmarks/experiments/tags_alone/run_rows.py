"""Run experiments one after the other, and append a row for each; continued where it ended.

    python -m benchmarks.experiments.tags_alone.run_rows DATA WORK [--rows NAME...] [--seeds 0,1]
        [--photos tune|val] [--set KEY=VALUE...] [--minutes 600] [--log FILE]

DATA is a VOC folder. The experiments are those of `row_list`. With ``--photos tune`` (the default),
the training photos that ``benchmarks/voc12_tune200.txt`` lists are the ones that are scored, and
the others train (see `tune_split`); with ``val``, the training photos train and the validation
photos are scored, which no setting may be chosen on.

Each experiment is a run in WORK that starts from the finished steps of its base. When it is scored,
one line is appended to ``--log``, by default ``rows.jsonl`` next to this file. Rows that are there
are skipped, and interrupted runs resume, so the same command goes on. An experiment that fails is
reported, and the others continue. ``--set`` changes settings of every run that starts from nothing;
rows with other settings, seeds or photos are other rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.experiments.row_log import Row, append_row, origin, read_rows
from benchmarks.experiments.tags_alone.row_list import EXPERIMENTS, Experiment, Script
from benchmarks.experiments.tags_alone.row_scores import gains, run_row
from benchmarks.experiments.tune_split import LISTS, TUNE_PHOTOS, make_tune_split, read_ids
from benchmarks.measure import SUCCESS
from tag2mask.ablation.trials import seed_options, slug
from tag2mask.artifacts.handles import (
    MODEL_FILE,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    PseudoMaskFolder,
)
from tag2mask.artifacts.manifest import MANIFEST, Manifest, read_identity
from tag2mask.artifacts.step_table import STEPS
from tag2mask.data.splits import Split
from tag2mask.errors import Tag2MaskError

LOG = Path(__file__).with_name("rows.jsonl")
RECIPE = "lite0-cpu"
WEIGHTS = "train_segmenter.network.weights"


class StepFailedError(Exception):
    """A command of an experiment failed; it has printed why."""


class Runs:
    """The runs of experiments on one data folder.

    Attributes:
        data: the data folder.
        work: folder of the runs.
        photos: name of the split that is scored in the rows, ``tune`` or ``val``.
        changes: ``section.key=value`` of every run that starts from nothing.
        experiments: all experiments by name.
    """

    def __init__(
        self,
        data: Path,
        work: Path,
        photos: str,
        changes: Sequence[str] = (),
        experiments: Mapping[str, Experiment] = EXPERIMENTS,
    ) -> None:
        self.data, self.work, self.photos = data.absolute(), work.absolute(), photos
        self.changes, self.experiments = tuple(changes), experiments
        counts = (str(len(read_ids(data / LISTS / f"{name}.txt"))) for name in ("train", "val"))
        self.counts = "/".join(counts)

    def description(self, name: str, seed: int) -> Row:
        """Return everything that decides the scores of a row, but for the code."""
        own = self.experiments[name]
        scripts = [
            {
                "makes": makes,
                "module": script.module,
                "words": list(script.words),
                "sources": [self.description(one, seed + more) for one, more in script.sources],
            }
            for makes, script in (("masks", own.masks), ("maps", own.maps))
            if script is not None
        ]
        return {
            "base": None if own.base is None else self.description(own.base, seed),
            "settings": [*own.settings, *(() if own.base is not None else self.changes)],
            "scripts": scripts,
            "keep": own.keep,
            "program": list(own.program),
            "seed": seed,
            "photos": f"{self.counts} {self.photos}",
        }

    def key(self, name: str, seed: int) -> str:
        """Return 12 digits that differ where the description does."""
        text = json.dumps(self.description(name, seed), sort_keys=True)
        return sha256(text.encode()).hexdigest()[:12]

    def folder(self, name: str, seed: int) -> Path:
        """Return the run folder of an experiment."""
        return self.work / f"{slug(name)}-{seed}-{self.key(name, seed)}"

    def make(self, name: str, seed: int, until: type[Handle] = Evaluation) -> Path:
        """Make a run up to a step, or the rest of it; return its folder.

        Raises:
            StepFailedError: a command failed.
        """
        own, out = self.experiments[name], self.folder(name, seed)
        if (out / Evaluation.step / MANIFEST).is_file():
            return out
        place = ["run", "--data", str(self.data), "--out", str(out)]
        begin = [*place, *self._start(own, seed, until)]
        if own.masks is not None:
            folder = out.with_name(f"{out.name}-masks")
            sources = self._sources(own.masks, seed, PseudoMaskFolder)
            encoder = f"{WEIGHTS}={sources[0] / CamModel.step / MODEL_FILE}"
            call(own.masks, folder, [source / PseudoMaskFolder.step for source in sources])
            begin += ["--masks", str(folder), "--set", encoder]
        if own.maps is not None or own.keep is not None:
            tag2mask(*begin, "--until", own.keep or CamMaps.step)
            begin = place  # with its own recipe
        if own.maps is not None:
            call(own.maps, out, self._sources(own.maps, seed, CamMaps))
        tag2mask(*begin, "--until", until.step, program=own.program)
        return out

    def _start(self, own: Experiment, seed: int, until: type[Handle]) -> list[str]:
        """Return the options that a run begins with; make the steps that it starts from."""
        if own.base is None:
            start = ["--recipe", RECIPE]
            settings = [*seed_options(seed), *own.settings, *self.changes]
        else:
            base = self.make(own.base, seed, until)
            start = ["--from", str(base)]
            settings = [setting.replace("{base}", str(base)) for setting in own.settings]
        return [*start, *(word for setting in settings for word in ("--set", setting))]

    def _sources(self, script: Script, seed: int, until: type[Handle]) -> list[Path]:
        return [self.make(name, seed + more, until) for name, more in script.sources]

    def row(self, name: str, seed: int) -> Row:
        """Run an experiment and return its row.

        Raises:
            StepFailedError: a command failed.
        """
        own, made = self.experiments[name], origin()  # of the start: the code that runs
        out = self.make(name, seed)
        names: dict[Split, str] = {"train": "train", "val": self.photos}
        row = {
            "name": name,
            "seed": seed,
            "photos": self.counts,
            "base": own.base,
            "recipe": RECIPE,
            "settings": self._settings(own),
            "script": _script_text(own),
            "tags": self._tags(own, seed),
            **run_row(out, names),
        }
        if own.base is not None:
            row["over_base"] = gains(out, self.make(own.base, seed), names)
        return row | {
            "minutes": round(sum(self._seconds(own, seed, out).values()) / 60, 1),
            **made,
            "key": self.key(name, seed),
        }

    def _settings(self, own: Experiment) -> list[str]:
        """Return the settings that differ from the recipe, those of the base first."""
        if own.base is None:
            return [*own.settings, *self.changes]
        return [*self._settings(self.experiments[own.base]), *own.settings]

    def _tags(self, own: Experiment, seed: int) -> Row:
        """Return where the tags of maps and masks are from; the network gets none."""
        name, more = (own.name, 0) if own.masks is None else own.masks.sources[0]
        maps = CamMaps.open(self.folder(name, seed + more) / CamMaps.step)
        return {"masks": maps.manifest.metrics["tags"], "network": "no"}

    def _seconds(self, own: Experiment, seed: int, out: Path) -> dict[str, float]:
        """Return the seconds of all steps that the row needs, each once, by fingerprint."""
        found = dict(_step_seconds(out, Evaluation))
        for script, until in ((own.masks, PseudoMaskFolder), (own.maps, CamMaps)):
            for name, more in script.sources if script is not None else ():
                found |= dict(_step_seconds(self.folder(name, seed + more), until))
        return found


def _step_seconds(run: Path, until: type[Handle]) -> Iterator[tuple[str, float]]:
    for kind in STEPS[: STEPS.index(until) + 1]:
        found = read_identity(run / kind.step)
        if isinstance(found, Manifest):
            yield found.fingerprint, found.seconds


def _script_text(own: Experiment) -> str | None:
    """Return the commands of an experiment that are not ``tag2mask``, for people to read."""
    scripts = [
        " ".join([script.module, *script.words, *(_source_text(*one) for one in script.sources)])
        for script in (own.masks, own.maps)
        if script is not None
    ]
    other = [" ".join(own.program)] if own.program != ("tag2mask",) else []
    return "; ".join([*scripts, *other]) or None


def _source_text(name: str, more: int) -> str:
    return f"[{name}, seed + {more}]" if more else f"[{name}]"


def call(script: Script, out: Path, sources: Sequence[Path]) -> None:
    """Run a script.

    Raises:
        StepFailedError: it failed.
    """
    _run([script.module, *script.words, str(out), *map(str, sources)])


def tag2mask(*words: str, program: Sequence[str] = ("tag2mask",)) -> None:
    """Run ``tag2mask``, or a program in its place.

    Raises:
        StepFailedError: it failed.
    """
    _run([*program, *words])


def _run(words: Sequence[str]) -> None:
    command = [sys.executable, "-m", *words]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode not in SUCCESS:
        raise StepFailedError(" ".join(command[1:]))


def main() -> None:
    """Run the rows that the log lacks, within the given time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--photos", choices=("tune", "val"), default="tune")
    parser.add_argument("--tune-photos", type=Path, default=TUNE_PHOTOS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=600, help="begin no row after this time")
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    start, data = time.monotonic(), options.data
    try:
        if options.photos == "tune":
            data = make_tune_split(data, options.tune_photos, options.work / "tune-data")
        runs = Runs(data, options.work, options.photos, options.set, EXPERIMENTS)
    except Tag2MaskError as error:
        raise SystemExit(str(error)) from None
    failed = []
    for seed in map(int, options.seeds.split(",")):
        for name in options.rows:
            if runs.key(name, seed) in {row.get("key") for row in read_rows(options.log)}:
                continue
            if time.monotonic() - start > 60 * options.minutes:
                break
            print(f"{name}, seed {seed}", flush=True)
            try:
                append_row(options.log, runs.row(name, seed))
            except (StepFailedError, Tag2MaskError) as error:
                failed.append(f"{name}, seed {seed}: {error}")
            except KeyboardInterrupt:
                raise SystemExit("interrupted; run the same command again to go on") from None
    if failed:
        raise SystemExit("\n".join(["failed:", *failed]))


if __name__ == "__main__":
    main()
