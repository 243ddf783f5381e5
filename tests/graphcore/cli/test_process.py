"""What only a process of its own shows: imports, signals, watching."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "aiohttp", "networkx", "diffusers", "transformers", "PIL")
PATIENCE = 120.0
"""Seconds after which a process that should have done something is taken to hang."""

PROBE = f"""
import sys
from graphcore.cli import main
code = main(sys.argv[1:])
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize(
    "command",
    [
        ("--version",), ("--help",), ("nodes",), ("nodes", "unet", "--json"), ("check", "txt2img"), ("workflows",),
        ("plugins",), ("schema",), ("explain", "counting.json"), ("run", "--help"), ("init", "new"),
    ],
)  # fmt: skip
def test_light_commands_import_nothing_heavy(counting: Path, command: tuple[str, ...]) -> None:
    run = subprocess.run([sys.executable, "-c", PROBE, *command], capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stderr
    assert run.stderr.splitlines()[-1] == "LOADED []"


def test_it_runs_as_a_module(counting: Path) -> None:
    command = [sys.executable, "-m", "graphcore", "run", "counting.json"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (run.returncode, run.stdout) == (0, "outputs/sum.json\n"), run.stderr


def test_a_name_that_the_terminal_cannot_show_costs_no_run(counting: Path) -> None:
    command = [sys.executable, "-m", "graphcore", "run", "counting.json", "--out", "häuser"]
    ascii_only = {**environment(), "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(command, capture_output=True, text=True, env=ascii_only)
    assert (run.returncode, run.stdout) == (0, "h\\xe4user/sum.json\n"), run.stderr


def test_a_reader_that_leaves_early_is_no_error(place: Path) -> None:
    run = subprocess.run(
        f"{sys.executable} -m graphcore schema | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert run.stderr == ""


def _hear_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that tests start there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Process:
    """A `stepgraph run` under way, with its events."""

    def __init__(self, *arguments: str) -> None:
        self.events_file = Path("live.jsonl")
        self.events_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "graphcore", "run", *arguments, "--events", str(self.events_file)]
        with Path("stderr.txt").open("w") as errors:
            self.popen = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), preexec_fn=_hear_ctrl_c
            )

    def events(self) -> list[dict[str, object]]:
        if not self.events_file.exists():
            return []
        text = self.events_file.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def ran(self) -> list[object]:
        return [event["node"] for event in self.events() if event["event"] == "finished"]

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not come: {Path('stderr.txt').read_text()}"
            assert self.popen.poll() is None, f"it ended: {Path('stderr.txt').read_text()}"
            time.sleep(0.02)

    def wait_for_runs(self, number: int) -> None:
        def ended() -> bool:
            return sum(event["event"] == "run_finished" for event in self.events()) >= number

        self.wait_for(ended, f"the end of run {number}")


@contextmanager
def process(*arguments: str) -> Iterator[Process]:
    started = Process(*arguments)
    try:
        yield started
    finally:
        started.popen.kill()
        started.popen.communicate()


def test_ctrl_c_ends_with_130_and_leaves_finished_steps_in_the_cache(counting: Path) -> None:
    settings = ("--set", "steps=600", "--set", "seconds=0.1")
    with process("counting.json", *settings) as run:
        run.wait_for(lambda: len(run.ran()) >= 3, "the third step")
        run.popen.send_signal(signal.SIGINT)
        assert run.popen.wait(PATIENCE) == 130
        done = len(run.ran())
        assert run.events()[-1]["event"] == "cancelled"
    errors = Path("stderr.txt").read_text()
    assert "Traceback" not in errors
    assert "finished steps are in the cache" in errors
    assert not Path("outputs/sum.json").exists()
    with process("counting.json", *settings) as run:
        run.wait_for(run.ran, "the first step")
        assert run.ran()[0] == f"count[{done}].step"


def test_a_second_ctrl_c_ends_at_once(counting: Path) -> None:
    with process("counting.json", "--set", "seconds=59") as run:
        run.wait_for(lambda: any(event["event"] == "started" for event in run.events()), "the first step")
        run.popen.send_signal(signal.SIGINT)
        run.wait_for(lambda: "Ctrl-C again" in Path("stderr.txt").read_text(), "the answer to Ctrl-C")
        run.popen.send_signal(signal.SIGINT)
        assert run.popen.wait(PATIENCE / 2) == 130


def test_a_killed_run_leaves_whole_lines_of_events(counting: Path) -> None:
    with process("counting.json", "--set", "steps=600", "--set", "seconds=0.1") as run:
        run.wait_for(lambda: len(run.ran()) >= 3, "the third step")
        run.popen.kill()
        run.popen.wait(PATIENCE)
    text = Path("live.jsonl").read_text()
    assert text.endswith("\n")
    assert all(json.loads(line) for line in text.splitlines())


def test_watch_runs_again_on_every_save(counting: Path, place: Path) -> None:
    result = place / "outputs" / "sum.json"
    with process("counting.json", "--watch") as run:
        run.wait_for_runs(1)
        counting.write_text(counting.read_text().replace('"default": 100', '"default": 200'))
        run.wait_for_runs(2)
        run.wait_for(lambda: result.read_text() == "204\n", "the new output")

        good = counting.read_text()
        counting.write_text(good.replace("my/add", "my/ad"))
        run.wait_for(lambda: "did you mean `my/add`" in Path("stderr.txt").read_text(), "the checker's problem")
        counting.write_text(good)
        run.wait_for_runs(3)

        plugin = place / "plugins" / "my.py"
        plugin.write_text(plugin.read_text().replace("return a + b", "return a * b"))
        run.wait_for(lambda: result.read_text() == "800\n", "the output of the new plugin")

        plugin.write_text(plugin.read_text() + "\nraise ValueError('half typed')\n")
        run.wait_for(lambda: "half typed" in Path("stderr.txt").read_text(), "the plugin's error")

        run.popen.send_signal(signal.SIGINT)
        assert run.popen.wait(PATIENCE) == 130
    assert "Traceback" not in Path("stderr.txt").read_text()
    assert "came from the cache (1 memory)" in Path("stderr.txt").read_text()
