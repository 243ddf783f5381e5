"""What the benchmarks share: paired runs, medians, a table and a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="write all figures to this file")
    made.add_argument("--repeats", type=int, default=5, help="paired runs (default 5)")
    made.add_argument("--threads", type=int, default=0, help="threads of torch (default: its own choice)")
    made.add_argument(
        "--cpu", action="store_true", help="CPU seconds of all threads instead of wall time: a busy machine"
    )
    return made


def clock(cpu: bool) -> Callable[[], float]:
    """What the option `--cpu` chooses."""
    return time.process_time if cpu else time.perf_counter


def with_models(made: argparse.ArgumentParser, default: Sequence[str]) -> argparse.ArgumentParser:
    """And those of benchmarks that run models."""
    made.add_argument("--size", choices=["tiny", "emoji", "sd15"], nargs="+", default=list(default))
    made.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "stepgraph-bench-models")
    made.add_argument("--steps", type=int, default=0, help="denoising steps (default: 20; for sd15 4)")
    return made


class Paired:
    """Runs two or more subjects in turn, A B A B ..., so that what else the machine does meets them alike."""

    def __init__(self, subjects: Mapping[str, Callable[[], float]]) -> None:
        self.subjects = subjects
        self.seconds: dict[str, list[float]] = {name: [] for name in subjects}

    def run(self, repeats: int) -> Paired:
        """Each pair begins with the other subject than the last one, as the first of a pair may pay for something."""
        names = list(self.subjects)
        for turn in range(repeats):
            for name in names if turn % 2 == 0 else reversed(names):
                self.seconds[name].append(self.subjects[name]())
        return self

    def row(self, ours: str, theirs: str) -> dict[str, Any]:
        """Medians, and the median of the ratios of each pair."""
        ratios = [a / b for a, b in zip(self.seconds[ours], self.seconds[theirs], strict=True)]
        return {
            ours: statistics.median(self.seconds[ours]), theirs: statistics.median(self.seconds[theirs]),
            "ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios),
            "runs": dict(self.seconds),
        }  # fmt: skip


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that a call takes."""
    begin = clock()
    work()
    return clock() - begin


def spawn(code: str, **variables: str) -> dict[str, Any]:
    """Run Python code in a new process; its wall and CPU seconds, its peak memory, and its last line as JSON if it is.

    The peak is that of the process alone, read by the kernel when it has ended.
    """
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **variables},
        )  # fmt: skip
        assert child.stdout is not None
        with child.stdout:
            lines = child.stdout.read().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        if child.returncode:
            errors.seek(0)
            raise RuntimeError(f"a process of the benchmark failed:\n{errors.read()}")
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": peak, **said}


def report(title: str, rows: Sequence[Mapping[str, Any]], file: Path | None) -> None:
    """Print the rows as a table (without lists and objects), and write everything to a file."""
    columns = list(
        dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, (list, dict)))
    )
    texts = [columns, *([_text(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(text[i]) for text in texts) for i in range(len(columns))]
    print(title)
    for text in texts:
        print("  ".join(cell.rjust(width) for cell, width in zip(text, widths, strict=True)))
    if file is not None:
        file.write_text(json.dumps({"title": title, "machine": machine(), "rows": rows}, indent=1) + "\n")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from importlib import metadata

    libraries = {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}
    load = os.getloadavg()[0]
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "load": load, **libraries}
