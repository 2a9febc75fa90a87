"""All targets of the fuzzer, by groups."""

from __future__ import annotations

from campaigns import (
    fuzz_data_files,
    fuzz_exports,
    fuzz_maps,
    fuzz_models,
    fuzz_pictures,
    fuzz_run_files,
    fuzz_settings,
)

TARGETS = (
    *fuzz_maps.TARGETS,
    *fuzz_run_files.TARGETS,
    *fuzz_settings.TARGETS,
    *fuzz_data_files.TARGETS,
    *fuzz_exports.TARGETS,
    *fuzz_pictures.TARGETS,
    *fuzz_models.TARGETS,
)
