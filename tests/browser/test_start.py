"""The first minutes: from the first start to the first picture, by mouse only and by keyboard only."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.editor import RUN_MILLISECONDS, Editor


def test_the_first_picture_by_mouse(editor: Editor) -> None:
    editor.shot("start")
    editor.button("Run").click()
    expect(editor.node("@outputs").locator("img")).to_be_visible(timeout=RUN_MILLISECONDS)
    editor.shot("first-picture")


def test_the_first_picture_by_keyboard(editor: Editor) -> None:
    page = editor.page
    prompt = page.get_by_label("prompt", exact=True).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if prompt.evaluate("(field) => field === document.activeElement"):
            break
    expect(prompt).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("a frog")
    page.keyboard.press("Control+Enter")
    expect(editor.node("@outputs").locator("img")).to_be_visible(timeout=RUN_MILLISECONDS)
