"""Everything by keyboard alone: no test here touches the mouse."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.editor import Editor
from tests.browser.test_canvas import PICTURES

IS_FOCUSED = "(element) => element === document.activeElement"


def tab_to(editor: Editor, wanted: Locator, *, most: int = 80) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        editor.press("Tab")
        if wanted.evaluate(IS_FOCUSED):
            return
    raise AssertionError(f"{most} times Tab did not come to {wanted}")


def test_a_node_is_moved_renamed_muted_and_removed(editor: Editor) -> None:
    editor.import_text("pictures", PICTURES)
    tab_to(editor, editor.node("small"))
    editor.press("Space")
    expect(editor.panel.get_by_role("heading", name="small", exact=True)).to_be_visible()
    editor.press("ArrowRight", "ArrowDown")
    x, y = editor.file()["layout"]["positions"]["small"]
    assert x > 300
    assert y > 40
    tab_to(editor, editor.node("small"))
    editor.press("Space")
    editor.press("F2")
    expect(editor.page.get_by_label("Name in the file and in links")).to_be_focused()
    editor.page.keyboard.type("half")
    editor.press("Enter")
    expect(editor.link("half.output", "larger.image")).to_have_count(1)
    editor.press("Control+m")
    expect(editor.node("half").get_by_text("muted", exact=True)).to_be_visible()
    editor.press("Delete")
    expect(editor.node("half")).to_have_count(0)
    editor.press("Control+z", "Control+z", "Control+z")
    assert editor.file()["nodes"] == PICTURES["nodes"]


def test_links_are_made_and_taken_away(editor: Editor) -> None:
    editor.import_text("pictures", PICTURES)
    tab_to(editor, editor.node("size"))
    editor.press("Space", "u")
    expect(editor.page.get_by_role("combobox")).to_be_focused()
    editor.press("Enter")
    expect(editor.link("larger.output", "size.image")).to_have_count(0)
    tab_to(editor, editor.node("picture"))
    editor.press("Space", "l")
    expect(editor.page.get_by_role("combobox")).to_be_focused()
    editor.page.keyboard.type("image_size")
    editor.press("Enter")
    expect(editor.link("picture.output", "size.image")).to_have_count(1)


def test_a_loop_is_entered_and_left(editor: Editor) -> None:
    editor.start("/#learn_loop")
    tab_to(editor, editor.node("loop"))
    editor.press("Space", "Enter")
    expect(editor.node("step")).to_be_visible()
    expect(editor.page.get_by_role("navigation", name="Levels")).to_be_visible()
    editor.press("Escape")
    expect(editor.node("image")).to_be_visible()
    expect(editor.node("loop")).to_have_class(re.compile(r"\bselected\b"))


def test_the_menu_of_a_node_is_walked_with_arrows(editor: Editor) -> None:
    editor.import_text("pictures", PICTURES)
    tab_to(editor, editor.node("larger"))
    editor.press("Space", "Shift+F10")
    menu = editor.page.get_by_role("menu")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    editor.press("End", "Home", "ArrowDown", "ArrowUp", "Escape")
    expect(menu).to_have_count(0)
    editor.press("Shift+F10", "b", "Enter")
    expect(editor.node("larger").get_by_text("bypassed", exact=True)).to_be_visible()


def test_what_opens_over_the_canvas_gives_the_focus_back(editor: Editor) -> None:
    node = editor.node("noise")
    tab_to(editor, node)
    editor.press("Space")
    for keys, role in (("Control+k", "combobox"), ("F2", "textbox"), ("l", "combobox"), ("Shift+F10", "menuitem")):
        editor.press(keys)
        expect(editor.dialog.get_by_role(role).first).to_be_focused()
        editor.press("Escape")
        expect(editor.dialog).to_have_count(0)
        expect(node).to_be_focused()
    editor.press("Delete")
    expect(node).to_have_count(0)


def test_a_dialog_keeps_the_focus_and_gives_it_back(editor: Editor) -> None:
    button = editor.button("Keyboard shortcuts")
    tab_to(editor, button)
    editor.press("Enter")
    dialog = editor.page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    for title in ("Run", "Undo", "Add a node or find a command", "Save"):
        expect(dialog.get_by_role("rowheader", name=title, exact=True)).to_be_visible()
    keys = dialog.locator("kbd").all_text_contents()
    doubles = {key for key in keys if keys.count(key) > 1}
    assert not doubles, f"two commands hear the same keys: {doubles}"
    editor.press("Tab", "Tab")
    assert dialog.evaluate(
        "(dialog) => dialog.contains(document.activeElement) || document.activeElement === document.body"
    )
    editor.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_tab_goes_through_the_whole_page_and_shows_where_it_is(editor: Editor) -> None:
    seen = []
    for _ in range(200):
        editor.press("Tab")
        found = editor.state("""() => {
          const { activeElement: element } = document;
          if (element === null || element === document.body) return null;
          const drawn = element.matches(".react-flow__node") ? element.firstElementChild : element;
          const marked = getComputedStyle(drawn).outlineStyle !== "none";
          return [element.tagName, element.outerHTML.slice(0, 80), marked];
        }""")
        if found is None:
            break
        seen.append(found)
    assert found is None, "Tab never comes back to the browser"
    assert any(tag == "A" for tag, *_ in seen), "the last link of the page is reached"
    unmarked = [one for one in seen if not one[2]]
    assert not unmarked, f"nobody sees that these have the focus: {unmarked}"
