"""Faults in devices, ranks and threads."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "runtime.session.Runtime.shard",
        "every rank does everything",
        "items[self.rank :: self.world_size]",
        "items",
        ("runtime/test_session.py",),
    ),
    Fault(
        "runtime.session.Runtime.seeded",
        "NumPy's numbers are not fixed",
        "np.random.seed(seed % 2**32)",
        "pass",
        ("runtime/test_session.py",),
    ),
    Fault(
        "runtime.session.Runtime.seeded",
        "Python's numbers are not restored",
        "random.setstate(python_state)",
        "pass",
        ("runtime/test_session.py",),
    ),
    Fault(
        "runtime.torch_threads.share_of_threads",
        "the number of threads is not restored",
        "torch.set_num_threads(threads)",
        "pass",
        ("runtime/test_torch_threads.py::test_a_share_of_the_threads_applies_in_a_new_thread",),
    ),
    Fault(
        "runtime.session.Runtime.gather_results",
        "an error of another rank is ignored",
        "if failed is not None:",
        "if failed is not None and failed is failure:",
        ("runtime/test_session.py",),
    ),
    Fault(
        "runtime.precision.resolve_precision",
        "16 means bfloat16",
        '"16": torch.float16',
        '"16": torch.bfloat16',
        ("runtime/test_session.py",),
    ),
    Fault(
        "runtime.threads.ordered_map",
        "results in reverse",
        "pending.popleft().result()\n    finally",
        "pending.pop().result()\n    finally",
        ("runtime/test_threads.py",),
    ),
    Fault(
        "runtime.threads.grouped",
        "the newest group goes first",
        "next(iter(waiting))",
        "next(reversed(waiting))",
        ("runtime/test_threads.py",),
    ),
    Fault(
        "runtime.compiled.Team.parts",
        "the last part is cut",
        "min(count, blocks * i // self.threads * BLOCK)",
        "blocks * i // self.threads * BLOCK if i < self.threads else count // BLOCK * BLOCK",
        ("runtime/test_compiled.py",),
    ),
    Fault(
        "runtime.durations.format_duration",
        "minutes are lost",
        "minutes % 60:02",
        "minutes // 60:02",
        ("runtime/test_durations.py",),
    ),
    Fault(
        "runtime.progress.ProgressBar._line",
        "the rate counts what was done before",
        "(self.done - self._first) / seconds",
        "self.done / seconds",
        ("runtime/test_progress.py",),
    ),
]
