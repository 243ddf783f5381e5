"""What happens beside the page while it is open: plugins come and go, the server is killed and comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCREENSHOTS, Complaints
from tests.browser.editor import RUN_MILLISECONDS, Editor, has_pixels
from tests.browser.jobs import computed, pixels_of, steps_of
from tests.server import ticks
from tests.server.http.house import Running, serve

PLUGIN = '''"""Numbers."""

from graphcore import node


@node(category="numbers")
def halve(value: float = 8.0{more}) -> float:
    """Half of a number."""
    {body}
'''

WORKFLOW = {
    "stepgraph": 1,
    "nodes": {"half": {"type": "halves/halve", "inputs": {"value": 5.0}}},
    "outputs": {"half": {"from": "half"}},
}


def write(server: Running, *, more: str = "", body: str = "return value / 2") -> Path:
    """The plugin, in one go: the server must not find half of it."""
    made = server.data / "plugins" / "numbers.new"
    made.write_text(PLUGIN.format(more=more, body=body))
    return made.rename(made.with_name("halves.py"))


def told(editor: Editor, text: str) -> None:
    """Wait for a message, and take it away."""
    expect(editor.message(text)).to_be_visible()
    editor.page.locator(".message").filter(has_text=text).get_by_role("button", name="Dismiss").click()
    expect(editor.message(text)).to_be_hidden()


LOADED = "The plugin “halves” is loaded: halves/halve."


def test_plugins_come_change_and_go(own_editor: Editor, own_server: Running) -> None:
    page = own_editor.page
    own_editor.drop("numbers.json", json.dumps(WORKFLOW).encode(), "application/json")
    half = own_editor.node("half")
    expect(half).to_contain_text("The type “halves/halve” is not there. Its data is kept")
    expect(half.locator("pre")).to_have_text("value: 5")
    own_editor.shot("live-missing")

    plugin = write(own_server)
    told(own_editor, LOADED)
    expect(half.get_by_label("value", exact=True)).to_have_value("5")
    own_editor.search("Half of a number")
    expect(page.get_by_role("option").first).to_contain_text("halve")
    page.keyboard.press("Enter")
    expect(own_editor.nodes.filter(has_text="halves/halve")).to_have_count(2)

    write(own_server, more=", share: float = 0.5", body="return value * share")
    half.get_by_role("button", name="1 more").click()
    expect(half.get_by_label("share", exact=True)).to_have_value("0.5")
    expect(half.get_by_label("value", exact=True)).to_have_value("5")
    half.get_by_label("share", exact=True).fill("0.25")

    plugin.unlink()
    told(own_editor, "The plugin “halves” is gone; its nodes in workflows stay as placeholders.")
    expect(half).to_contain_text("The type “halves/halve” is not there. Its data is kept")
    expect(half.locator("pre")).to_have_text("value: 5\nshare: 0.25")
    own_editor.shot("live-gone")
    write(own_server, more=", share: float = 0.5", body="return value * share")
    expect(half.get_by_label("share", exact=True)).to_have_value("0.25")


def test_a_mistake_in_a_plugin_is_told(own_editor: Editor, own_server: Running) -> None:
    """In the module: when it is loaded. In the node: when it runs, at the node."""
    page = own_editor.page
    write(own_server)
    told(own_editor, LOADED)
    own_editor.drop("numbers.json", json.dumps(WORKFLOW).encode(), "application/json")
    half = own_editor.node("half")
    expect(half.get_by_label("value", exact=True)).to_have_value("5")
    first = own_editor.ran()
    assert computed(own_server.url, first) == {"half"}
    write(own_server, body='raise ValueError("no halves today")')
    told(own_editor, LOADED)
    own_editor.run()
    expect(own_editor.status).to_contain_text("no halves today")
    expect(half.locator(".run-mark")).to_have_text("✕ failed")
    expect(half).to_contain_text("no halves today")
    own_editor.shot("live-failed")
    write(own_server, body="return value /")
    expect(page.get_by_role("alert").filter(has_text="The plugin “halves” has a mistake")).to_be_visible()


DOWN = ("net::ERR_", "WebSocket connection")
"""What a browser says of a server that is away."""


def test_the_page_goes_on_without_a_part_that_cannot_be_fetched(editor: Editor, complaints: Complaints) -> None:
    part = "**/ShortcutsDialog*.js"
    complaints.expected.append("ShortcutsDialog")
    editor.page.route(part, lambda route: route.abort())
    editor.button("Keyboard shortcuts").click()
    expect(editor.message(re.compile("could not be fetched. Reload the page"))).to_be_visible()
    editor.title("noise").click()
    expect(editor.panel.get_by_role("heading", name="noise", exact=True)).to_be_visible()
    editor.page.unroute(part)
    editor.page.reload()
    editor.button("Keyboard shortcuts").click()
    expect(editor.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def test_the_page_goes_on_when_the_server_is_back(page: Page, complaints: Complaints, tmp_path: Path) -> None:
    """Killed in the middle of a run: edits stay, the page reconnects by itself, and the run goes on to its end."""
    complaints.expected = list(DOWN)
    folders = ticks.make(tmp_path / "data")
    (folders.workflows / "slow.json").write_text(json.dumps(ticks.workflow(60, 1.0)))
    with serve(folders.data) as first:
        editor = Editor(page, first.url, SCREENSHOTS).start("/#slow")
        job = editor.run()
        expect(editor.node("loop").locator(".run-mark")).to_have_text(
            re.compile(r"step ([3-9]|\d\d) of 60"), timeout=RUN_MILLISECONDS
        )
        first.process.kill()
        first.process.wait()
        ticks.hurry(folders.data)
        offline = page.get_by_text("The server does not answer.")
        expect(offline).to_be_visible()
        editor.panel.get_by_label("Title", exact=True).fill("Mine")
        editor.is_saved("slow", saved=False)
        editor.shot("live-offline")
    with serve(folders.data, "--port", str(urlsplit(first.url).port)) as again:
        expect(offline).to_be_hidden(timeout=RUN_MILLISECONDS)
        editor.shown(job)
        assert steps_of(again.url, job, "loop") == set(range(60))
        editor.is_saved("slow", saved=False)
        editor.unselect()
        editor.ran(seed="2")


@pytest.mark.parametrize("name", ["learn_loop", "learn_conditioning", "learn_plugin"])
def test_the_templates_run(page: Page, complaints: Complaints, server: Running, editor: Editor, name: str) -> None:
    page.evaluate("(name) => { location.hash = name }", name)
    expect(editor.tab(name)).to_have_attribute("aria-current", "page")
    expect(editor.page.locator(".react-flow__node-note").first).to_be_visible()
    editor.shot(f"template-{name}")
    job = editor.ran(steps="3")
    assert pixels_of(server.url, job).std() > 0, "a picture of one colour is none"
    editor.side("Gallery")
    has_pixels(page.get_by_role("list", name="Pictures").get_by_role("listitem").filter(has_text=name).locator("img"))
