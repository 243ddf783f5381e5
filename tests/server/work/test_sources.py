"""A plugin that changed is never missed; one that did not is not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphcore.plugins.loader import PluginState
from server.files import stamp
from server.work.sources import Sources


def test_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources(tmp_path)
    monkeypatch.setattr(stamp, "RECENT_SECONDS", 3600.0)
    (tmp_path / "a.py").write_text("x = 1")
    assert [sources.changed([]) for _ in range(3)] == [True] * 3  # it changed just now, and may again
    monkeypatch.setattr(stamp, "RECENT_SECONDS", -60.0)
    assert [sources.changed([]) for _ in range(3)] == [True, False, False]
    (tmp_path / "a.py").write_text("x = 10")  # another size: the clock of files may be too coarse for so quick a change
    assert [sources.changed([]) for _ in range(2)] == [True, False]
    (tmp_path / "package" / "deep").mkdir(parents=True)
    assert [sources.changed([]) for _ in range(2)] == [True, False]
    (tmp_path / "package" / "deep" / "b.py").write_text("")
    assert [sources.changed([]) for _ in range(2)] == [True, False]
    (tmp_path / "package" / "deep" / "b.py").write_text("y")
    assert [sources.changed([]) for _ in range(2)] == [True, False]
    (tmp_path / "a.py").unlink()
    assert [sources.changed([]) for _ in range(2)] == [True, False]


def test_what_failed_is_tried_again_and_links_are_followed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamp, "RECENT_SECONDS", -60.0)
    sources = Sources(tmp_path)
    broken = [PluginState("a", tmp_path / "a.py", error="what it needs is not installed")]
    assert [sources.changed(broken) for _ in range(3)] == [True] * 3
    (tmp_path / "link.py").symlink_to("/dev/null")
    assert [sources.changed([]) for _ in range(3)] == [True] * 3
