"""Every planted fault fits the code; two of them are planted. ``make mutants`` plants all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from campaigns.fault import ROOT, SOURCE, Fault, NotApplicableError
from campaigns.faults import FAULTS
from campaigns.mutants import main, spread

METHOD = {
    "seam",
    "affinity",
    "segmentation",
    "maps",
    "crf",
    "metrics",
    "evaluation",
    "training",
    "nn",
    "data",
    "steps",
    "runtime",
}
ENOUGH = 90


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted_and_has_tests(fault: Fault) -> None:
    assert fault.applied() != fault.file(SOURCE).read_text(encoding="utf-8")
    for test in fault.tests:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, test


def test_every_package_of_the_method_has_faults() -> None:
    count = Counter(fault.package for fault in FAULTS)
    assert count.keys() >= METHOD and len(FAULTS) >= ENOUGH
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_faults_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "X = 1\n\n\ndef f(a):\n    return a + a\n\n\nclass C:\n    b: int = 2\n"
    )
    fits = Fault("one.C.b", "", "2", "3", ())
    assert fits.applied(tmp_path).endswith("class C:\n    b: int = 3\n")
    for symbol, old, new in (
        ("one.f", "+ b", "- b"),  # nowhere
        ("one.f", "a", "b"),  # in several places
        ("one.g", "a", "b"),
        ("two.f", "a", "b"),
        ("one.X", "1", "("),
    ):
        with pytest.raises(NotApplicableError, match=symbol):
            Fault(symbol, "", old, new, ()).applied(tmp_path)


def test_a_number_of_faults_is_spread_over_all() -> None:
    assert spread(FAULTS, 2) == [FAULTS[0], FAULTS[len(FAULTS) // 2]]
    assert spread(FAULTS, len(FAULTS) + 1) == FAULTS


def test_faults_are_noticed_and_survivors_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caught = Fault(
        "classes.mask_id", "ids begin with 0", "tag_id + 1", "tag_id", ("test_classes.py",)
    )
    survivor = Fault(
        "classes.mask_id", "equal", "tag_id + 1", "1 + tag_id", ("runtime/test_durations.py",)
    )
    monkeypatch.setattr("campaigns.mutants.FAULTS", [caught, survivor])
    assert main(["--only", "mask_id"]) == 1
    output = capsys.readouterr().out
    assert "caught" in output and "SURVIVED" in output and "2 faults, 1 caught" in output
