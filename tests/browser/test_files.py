"""Files: opened, saved to the byte, renamed; changed on the disk meanwhile; dropped; shown as JSON; kept as drafts."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints
from tests.browser.editor import Editor
from tests.server.http.house import Running, serve

SHIPPED = Path(__file__).parents[2] / "workflows"


def folder(server: Running) -> Path:
    return server.data / "workflows"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that change its files."""
    with serve(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture
def own_server(desk: Running) -> Running:
    """The server without files of one's own."""
    for file in folder(desk).glob("*.json"):
        file.unlink()
    desk.until(lambda: all(one["shipped"] for one in desk.ask("/api/v1/workflows").json["workflows"]))
    return desk


def save(file: Path, text: str) -> None:
    """A file in one go, as editors write it: nobody must find half of it."""
    aside = file.with_name(f".{file.name}")
    aside.write_text(text)
    aside.replace(file)


def save_as(editor: Editor, name: str) -> None:
    """Save the workflow that is shown under a name, by keys."""
    editor.page.keyboard.press("Control+Shift+S")
    editor.dialog.get_by_label("Name", exact=True).fill(name)
    editor.page.keyboard.press("Enter")
    expect(editor.dialog).to_be_hidden()


def mine(editor: Editor, server: Running) -> Path:
    """A file of one's own, a copy of txt2img, open in the editor."""
    save_as(editor, "mine")
    expect(editor.tab("mine")).to_be_visible()
    return folder(server) / "mine.json"


def edit(editor: Editor) -> None:
    """Change one literal of one node."""
    editor.node("negative_text").get_by_label("zero_if_empty", exact=True).click()
    editor.unselect()


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line[0] in "+-"]


def test_files_are_saved_renamed_and_deleted(own_editor: Editor, own_server: Running) -> None:
    page, there = own_editor.page, folder(own_server)
    file = mine(own_editor, own_server)
    assert file.read_bytes() == (SHIPPED / "txt2img.json").read_bytes()

    edit(own_editor)
    own_editor.is_saved("mine", saved=False)
    page.keyboard.press("Control+s")
    expect(own_editor.message("Saved “mine”.")).to_be_visible()
    own_editor.is_saved("mine")
    shipped = (SHIPPED / "txt2img.json").read_text()
    assert len(changed_lines(shipped, file.read_text())) == 2, "one line, before and after"

    files = own_editor.side("Files")
    own_editor.shot("files-panel")
    files.get_by_role("button", name="Rename mine").click()
    own_editor.dialog.get_by_label("Name", exact=True).fill("ours")
    own_editor.shot("files-rename")
    page.keyboard.press("Enter")
    expect(own_editor.tab("ours")).to_be_visible()
    assert sorted(one.name for one in there.glob("*.json")) == ["ours.json"]

    own_editor.choose("Close")
    expect(own_editor.tab("ours")).to_be_hidden()
    files.get_by_role("searchbox").fill("ours")
    files.get_by_role("region", name="Yours").get_by_role("button", name="ours.json").click()
    expect(own_editor.tab("ours")).to_be_visible()
    expect(own_editor.node("negative_text").get_by_label("zero_if_empty", exact=True)).not_to_be_checked()
    files.get_by_role("button", name="Delete ours").click()
    own_editor.shot("files-delete")
    own_editor.dialog.get_by_role("button", name="Delete the file").click()
    expect(own_editor.tab("ours")).to_be_hidden()
    expect(files.get_by_role("button", name="ours.json")).to_be_hidden()
    assert list(there.glob("*.json")) == []


def test_many_open_files_leave_room_for_all_else(editor: Editor) -> None:
    names = ["ddim", "ddpm", "img2img", "inpaint", "lora", "outpaint", "prompt", "repaint", "variations", "guidance"]
    files = editor.side("Files")
    for name in names:
        files.get_by_role("button", name=re.compile(rf"\b{name}\.json")).click()
        expect(editor.tab(name)).to_have_attribute("aria-current", "page")
        expect(editor.tab(name)).to_be_in_viewport(ratio=1)
    for always in ("File", "New workflow", "Run", "Keyboard shortcuts", "Close the side panel"):
        expect(editor.button(always)).to_be_in_viewport(ratio=1)
    files.get_by_role("button", name=re.compile(r"\bddim\.json")).click()
    expect(editor.tab("ddim")).to_be_in_viewport(ratio=1)
    assert editor.state("() => document.documentElement.scrollLeft + document.body.scrollLeft") == 0


def test_a_new_file_and_a_template(own_editor: Editor, own_server: Running) -> None:
    own_editor.button("New workflow").click()
    own_editor.is_saved("untitled", saved=False)
    save_as(own_editor, "empty")
    made = json.loads((folder(own_server) / "empty.json").read_text())
    assert made == {"stepgraph": 1, "title": "", "inputs": {}, "nodes": {}, "outputs": {}}
    own_editor.choose("Templates")
    own_editor.shot("files-templates")
    own_editor.dialog.get_by_role("searchbox").fill("open loop")
    own_editor.dialog.get_by_role("region", name="Learn").get_by_role("button").click()
    expect(own_editor.node("loop")).to_be_visible()
    expect(own_editor.tab("learn_loop")).to_be_visible()


def test_each_shipped_file_is_saved_as_it_was(own_editor: Editor, own_server: Running) -> None:
    """Opening and saving changes no byte."""
    page = own_editor.page
    names = sorted(file.stem for file in SHIPPED.glob("*.json"))
    for name in names:
        page.evaluate("(name) => { location.hash = name }", name)
        expect(own_editor.tab(name)).to_have_attribute("aria-current", "page")
        save_as(own_editor, name)
        if name != "txt2img":
            page.keyboard.press("Alt+w")
            expect(own_editor.tab(name)).to_be_hidden()
    assert sorted(file.stem for file in folder(own_server).glob("*.json")) == names
    for name in names:
        saved = folder(own_server) / f"{name}.json"
        assert saved.read_bytes() == (SHIPPED / saved.name).read_bytes(), name


def test_a_change_on_the_disk_appears_at_once(own_editor: Editor, own_server: Running) -> None:
    file = mine(own_editor, own_server)
    save(file, file.read_text().replace('"default": "a red apple"', '"default": "a green pear"'))
    expect(own_editor.message("“mine” changed on the disk: inputs.")).to_be_visible()
    expect(own_editor.value("prompt")).to_have_value("a green pear")
    own_editor.is_saved("mine")
    own_editor.shot("files-disk")


def test_changes_on_both_sides_are_merged_by_node(own_editor: Editor, own_server: Running) -> None:
    file = mine(own_editor, own_server)
    before = file.read_text()
    edit(own_editor)
    own_editor.is_saved("mine", saved=False)
    theirs = before.replace('"default": "a red apple"', '"default": "a green pear"')
    save(file, theirs)
    expect(own_editor.message(re.compile("Merged changes from the disk into “mine”"))).to_be_visible()
    expect(own_editor.value("prompt")).to_have_value("a green pear")
    expect(own_editor.node("negative_text").get_by_label("zero_if_empty", exact=True)).not_to_be_checked()
    assert file.read_text() == theirs, "nothing is saved unasked"
    own_editor.page.keyboard.press("Control+s")
    own_editor.is_saved("mine")
    assert len(changed_lines(before, file.read_text())) == 4, "their line and mine"


@pytest.mark.parametrize("choice", ["Mine, on this page", "On the disk"])
def test_a_conflict_is_asked_about(own_editor: Editor, own_server: Running, choice: str) -> None:
    file = mine(own_editor, own_server)
    before = file.read_text()
    aesthetic = own_editor.node("negative").get_by_label("aesthetic_score", exact=True)
    aesthetic.fill("3.5")
    own_editor.unselect()
    own_editor.is_saved("mine", saved=False)
    theirs = before.replace('"aesthetic_score": 2.5', '"aesthetic_score": 4.5').replace("a red apple", "a green pear")
    save(file, theirs)
    dialog = own_editor.dialog
    expect(dialog).to_contain_text("nodes › negative › inputs › aesthetic_score")
    expect(dialog).to_contain_text("was 2.5")
    own_editor.shot("files-conflict")
    assert file.read_text() == theirs
    dialog.get_by_role("button", name="Decide later").click()
    expect(aesthetic).to_have_value("3.5")
    own_editor.button("changed on the disk").click()
    dialog.get_by_label(choice).check()
    dialog.get_by_role("button", name="Merge").click()
    expect(aesthetic).to_have_value("3.5" if choice.startswith("Mine") else "4.5")
    expect(own_editor.value("prompt")).to_have_value("a green pear")
    own_editor.page.keyboard.press("Control+s")
    expected = theirs.replace("4.5", "3.5") if choice.startswith("Mine") else theirs
    own_editor.is_saved("mine")
    assert file.read_text() == expected


def test_a_dropped_picture_opens_what_made_it(editor: Editor, server: Running) -> None:
    asked = {"inputs": {"prompt": "a small boat", "seed": 9, "steps": 2}}
    made = server.ask("/api/v1/workflows/txt2img/run", asked, headers={"Accept": "image/png"})
    assert made.status == 200
    editor.drop("boat.png", made.body, "image/png")
    expect(editor.value("prompt")).to_have_value("a small boat")
    expect(editor.value("seed")).to_have_value("9")
    editor.ran()
    expect(editor.status).to_contain_text("all from the cache")


def test_a_dropped_file_opens(editor: Editor) -> None:
    text = (SHIPPED / "denoise.json").read_text().replace('"title": "Denoise"', '"title": "My own"')
    editor.drop("my own.json", text.encode(), "application/json")
    editor.is_saved("my_own", saved=False)
    expect(editor.node("loop")).to_be_visible()
    editor.drop("broken.json", text.replace('"nodes": {', '"nodes": {,', 1).encode(), "application/json")
    expect(editor.dialog).to_contain_text("broken.json cannot be read")
    editor.shot("files-broken")
    box = editor.dialog.get_by_role("textbox")
    box.fill(text.replace("My own", "Mended"))
    editor.dialog.get_by_role("button", name="Open", exact=True).click()
    expect(editor.tab("broken")).to_be_visible()


def test_the_json_shows_mistakes_where_they_are(editor: Editor) -> None:
    file = json.loads((SHIPPED / "txt2img.json").read_text())
    file["nodes"]["image"]["type"] = "vae_decoed"
    editor.drop("wrong.json", json.dumps(file, indent=2).encode(), "application/json")
    expect(editor.page.get_by_role("contentinfo").get_by_role("button", name="Problems")).to_contain_text("1")
    shown = editor.bottom("JSON")
    line = json.dumps(file, indent=2).splitlines().index('      "type": "vae_decoed",') + 1
    expect(shown.locator(".json-line").first).to_be_visible()
    editor.tool("Fit").click()  # the panel may lie over the node
    editor.node("image").click()
    wrong = shown.locator(".json-wrong")
    expect(wrong).to_have_text('"vae_decoed"')
    expect(wrong).to_have_attribute("data-message", re.compile("vae_decode"))
    wrong_line = shown.locator(".json-line").filter(has=editor.page.locator(".json-wrong"))
    expect(wrong_line.locator(".json-number")).to_have_attribute("data-line", str(line))
    assert "wavy" in wrong.evaluate("(word) => getComputedStyle(word).textDecorationStyle")
    editor.shot("files-json")
    editor.unselect()
    wrong_line.click()
    expect(editor.page.get_by_role("complementary").get_by_role("heading", level=2)).to_have_text("image")


def test_drafts_survive_a_reload(editor: Editor, complaints: Complaints) -> None:
    page: Page = editor.page
    edit(editor)
    editor.value("prompt").fill("a kite")
    editor.is_saved("txt2img", saved=False)
    page.reload()
    expect(editor.message(re.compile("Unsaved changes of last time are here again"))).to_be_visible()
    editor.is_saved("txt2img", saved=False)
    expect(editor.node("negative_text").get_by_label("zero_if_empty", exact=True)).not_to_be_checked()
    expect(editor.value("prompt")).to_have_value("a kite")
    page.keyboard.press("Control+z")
    expect(editor.node("negative_text").get_by_label("zero_if_empty", exact=True)).to_be_checked()
