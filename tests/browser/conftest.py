"""The editor in a real browser: the installed Chromium, a real server, the policy that users get.

Run by itself (`python -m pytest tests/browser`): the browser's tests and asyncio's cannot share a process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.editor import Editor
from tests.server.http.house import Running, serve

PATIENCE = 120_000
"""Milliseconds: a machine that is busy is no mistake of the page."""

expect.set_options(timeout=PATIENCE)

SCREENSHOTS = Path(os.environ["STEPGRAPH_SCREENSHOTS"]) if "STEPGRAPH_SCREENSHOTS" in os.environ else None
"""Where pictures of the screens go; none are made without the variable."""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium is not None, "these tests need Chromium (Debian: apt-get install chromium)"
    quiet = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")
    names = "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = ("no-sandbox", "disable-gpu", "disable-quic", *quiet, names)
    return {"executable_path": chromium, "args": [f"--{flag}" for flag in flags]}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that leave its files as they are."""
    with serve(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Running]:
    """A server for a test that changes files, plugins or the process itself."""
    with serve(tmp_path / "data") as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE)
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    yield made
    made.close()


class Complaints:
    """What a page complained of: errors on its console, and exceptions that nobody caught.

    Attributes:
        expected: Parts of messages that a test brings about on purpose.
    """

    def __init__(self, page: Page) -> None:
        self.heard: list[str] = []
        self.expected: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.heard.append(f"exception: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.heard.append(f"{message.text} ({message.location.get('url', '')})")

    def check(self) -> None:
        bad = [one for one in self.heard if not any(part in one for part in self.expected)]
        assert not bad, "the page complained: " + "; ".join(bad)


@pytest.fixture
def complaints(page: Page) -> Iterator[Complaints]:
    made = Complaints(page)
    yield made
    made.check()


@pytest.fixture
def editor(page: Page, complaints: Complaints, server: Running) -> Editor:
    """The editor at its first start."""
    return Editor(page, server.url, SCREENSHOTS).start()


@pytest.fixture
def own_editor(own_server: Running, page: Page, complaints: Complaints) -> Editor:
    """The editor of a server that the test may change, and that ends after the page has: else it would complain."""
    return Editor(page, own_server.url, SCREENSHOTS).start()
