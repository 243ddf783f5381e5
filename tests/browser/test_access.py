"""For all people: axe-core finds nothing of level A or AA, light or dark; small screens, touch; the strict policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SCREENSHOTS, Complaints
from tests.browser.editor import RUN_MILLISECONDS, Editor
from tests.browser.test_canvas import PICTURES
from tests.browser.test_files import save
from tests.browser.test_forms import picture
from tests.server.http.house import Running, serve

AXE = Path(__file__).parents[2] / "server/editor/node_modules/axe-core/axe.min.js"
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}


class Inspector:
    """Responsibilities: look at screens as axe-core does, light and dark, and gather what it finds."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def look(self, editor: Editor, screen: str) -> None:
        page = editor.page
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE.read_text())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            editor.shot(f"{screen}-{scheme}")
            for one in page.evaluate("(rules) => axe.run(document, rules)", RULES)["violations"]:
                places = "; ".join(f"{node['target']} {node['failureSummary']}" for node in one["nodes"][:3])
                self.found.append(f"{screen}, {scheme}: {one['id']}: {places}")
        page.emulate_media(color_scheme="light")


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    assert AXE.exists(), "these tests need axe-core: npm ci in server/editor"
    made = Inspector()
    yield made
    assert not made.found, "\n".join(made.found)


def test_the_canvas_and_its_menus(editor: Editor, inspector: Inspector) -> None:
    inspector.look(editor, "start")
    editor.title("model").click()
    inspector.look(editor, "node-panel")
    editor.title("model").click(button="right")
    expect(editor.page.get_by_role("menu")).to_be_visible()
    inspector.look(editor, "menu")
    editor.press("Escape", "Control+k")
    expect(editor.palette).to_be_visible()
    inspector.look(editor, "palette-open")
    editor.press("Escape", "F2")
    expect(editor.page.get_by_label("Name in the file and in links")).to_be_visible()
    inspector.look(editor, "question")
    editor.press("Escape")
    editor.button("Keyboard shortcuts").click()
    inspector.look(editor, "shortcuts")
    editor.press("Escape")
    editor.start("/#learn_loop/loop")
    inspector.look(editor, "loop")


def test_a_workflow_with_everything_wrong_with_it(editor: Editor, inspector: Inspector) -> None:
    wrong: Any = json.loads(json.dumps(PICTURES))
    wrong["nodes"]["gone"] = {"type": "of_no_plugin", "inputs": {"size": 5, "image": {"from": "small"}}}
    wrong["nodes"]["larger"]["inputs"]["scale"] = -3
    wrong["nodes"]["size"]["mute"] = True
    wrong["nodes"]["small"]["bypass"] = True
    wrong["layout"]["positions"]["gone"] = [300, 400]
    wrong["layout"]["notes"] = {"note1": {"text": "A note.", "at": [0, 400], "size": [200, 120]}}
    wrong["layout"]["frames"] = {"frame1": {"title": "A frame", "at": [-40, 320], "size": [600, 400], "color": "amber"}}
    editor.import_text("wrong", wrong)
    expect(editor.node("larger").locator(".node-errors")).to_be_visible()
    editor.title("larger").click()
    editor.bottom("Problems")
    inspector.look(editor, "problems")
    editor.bottom("JSON")
    inspector.look(editor, "json")


def test_the_screens_of_runs(editor: Editor, inspector: Inspector) -> None:
    editor.ran(steps="2")
    editor.ran(steps="3")
    inspector.look(editor, "ran")
    editor.bottom("Steps")
    expect(editor.page.get_by_role("region", name="Steps").locator("img").first).to_be_visible(timeout=RUN_MILLISECONDS)
    inspector.look(editor, "steps")
    for name in ("Inspect", "Queue", "Gallery", "Files"):
        editor.side(name)
        expect(editor.panel.get_by_text("One moment…")).to_have_count(0)
        inspector.look(editor, name.lower())


def test_the_dialogs_of_runs(editor: Editor, inspector: Inspector) -> None:
    editor.ran(steps="2")
    editor.ran(steps="3")
    gallery = editor.side("Gallery")
    gallery.get_by_role("button", name="Show the picture").first.click()
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "picture")
    editor.press("Escape")
    for at in (0, 1):
        gallery.get_by_role("checkbox").nth(at).check()
    gallery.get_by_role("button", name="Compare").click()
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "compare")
    editor.press("Escape")
    editor.bottom("Steps").get_by_role("button", name="Branch from here…").click()
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "branch")


def test_the_mask_painter(editor: Editor, inspector: Inspector) -> None:
    editor.start("/#inpaint")
    editor.button("Paint the mask: mask").last.click()
    expect(editor.dialog.get_by_role("application")).to_be_visible()
    inspector.look(editor, "mask")


def test_the_dialogs_of_files(own_editor: Editor, own_server: Running, inspector: Inspector) -> None:
    editor = own_editor
    assert own_server.ask("/api/v1/workflows/mine", PICTURES, method="PUT").status in (200, 201)
    editor.start("/#mine")
    editor.button("File").click()
    inspector.look(editor, "file-menu")
    editor.press("Escape")
    for item in ("Save as…", "Templates…", "Rename…", "Delete…"):
        look_at_dialog(editor, inspector, item)
    editor.panel.get_by_label("Title", exact=True).fill("Mine")
    for item in ("Discard changes…", "Close"):
        look_at_dialog(editor, inspector, item)
    theirs = {**PICTURES, "title": "Theirs"}
    save(own_server.data / "workflows" / "mine.json", json.dumps(theirs, indent=2) + "\n")
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "merge")
    editor.press("Escape")
    editor.drop("broken.json", b'{"stepgraph": 1, "nodes": {', "application/json")
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "broken")
    editor.press("Escape")
    editor.drop("photo.png", picture("red"), "image/png")
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, "use-picture")


def look_at_dialog(editor: Editor, inspector: Inspector, item: str) -> None:
    """Open a dialog by the menu of files, look at it, close it."""
    editor.choose(item)
    expect(editor.dialog).to_be_visible()
    inspector.look(editor, item.rstrip("…").lower().replace(" ", "-"))
    editor.press("Escape")
    expect(editor.dialog).to_have_count(0)


def test_the_login(page: Page, complaints: Complaints, inspector: Inspector, tmp_path: Path) -> None:
    complaints.expected += ["401", "HTTP Authentication failed"]
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "token").chmod(0o600)
    with serve(tmp_path / "data", "--token-file", str(tmp_path / "token"), ready=False) as running:
        editor = Editor(page, running.url, Path(SCREENSHOTS) if SCREENSHOTS else None)
        page.goto(running.url)
        expect(editor.dialog).to_be_visible()
        inspector.look(editor, "login")
        editor.dialog.get_by_label("Token").fill("0123456789abcdef0123456789abcdef")
        editor.press("Enter")
        expect(editor.nodes.first).to_be_visible()
        page.goto("about:blank")  # before the server ends: the page would look for it


def test_a_small_screen_shows_all_that_is_needed(editor: Editor) -> None:
    width, height = editor.state("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert (width, height) == (1280, 720), "the page itself never scrolls"
    panels = ("Steps", "Problems", "JSON", "Node", "Files", "Close the side panel")
    for name in ("File", "Run", "Keyboard shortcuts", *panels):
        expect(editor.button(name)).to_be_in_viewport(ratio=1)


def test_a_tablet_opens_a_panel_and_runs_by_touch(browser: Browser, server: Running) -> None:
    context = browser.new_context(viewport={"width": 768, "height": 1024}, has_touch=True, reduced_motion="reduce")
    page = context.new_page()
    complaints = Complaints(page)
    editor = Editor(page, server.url, Path(SCREENSHOTS) if SCREENSHOTS else None).start()
    assert editor.state("() => document.documentElement.scrollWidth") == 768
    if editor.panel.count() == 1:
        editor.button("Close the side panel").tap()
    expect(editor.panel).to_have_count(0)
    editor.node("image").tap()
    editor.button("Side panel").tap()
    expect(editor.panel.get_by_role("heading", name="image", exact=True)).to_be_visible()
    editor.button("Close the side panel").tap()
    editor.button("Run").tap()
    expect(page.locator(".run-status.succeeded")).to_be_visible(timeout=RUN_MILLISECONDS)
    editor.button("Side panel").tap()
    editor.panel.get_by_role("button", name="Gallery").tap()
    expect(editor.panel.get_by_role("listitem").locator("img").first).to_be_visible()
    editor.shot("tablet")
    complaints.check()
    context.close()


def test_the_strict_policy_is_on(editor: Editor, server: Running, complaints: Complaints) -> None:
    policy = server.ask("/").headers["Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'self'"]
    assert "script-src" not in rules
    assert "unsafe-eval" not in policy
    complaints.expected.append("Content Security Policy")
    ran = editor.state("""() => {
      const script = document.createElement("script");
      script.textContent = "window.smuggled = true";
      document.body.append(script);
      return "smuggled" in window;
    }""")
    assert not ran, "an inline script was run"
