"""A tablet without a mouse: fingers move, zoom, link, open menus and paint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page, expect

from tests.browser.conftest import PATIENCE
from tests.browser.editor import Editor

LEGIBLE = 60
"""Percent of zoom from which on nodes show their ports."""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A tablet, held across."""
    made = browser.new_context(viewport={"width": 1180, "height": 820}, has_touch=True, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


class Fingers:
    """Fingers on the screen; what they do is told to the browser as a screen tells it."""

    def __init__(self, page: Page) -> None:
        self._page, self._screen = page, page.context.new_cdp_session(page)

    def put(self, *places: tuple[float, float]) -> None:
        self._tell(self._screen, "touchStart", places)

    def move(self, *ways: tuple[tuple[float, float], tuple[float, float]], steps: int = 8) -> None:
        """All of them at once, each from a place to another."""
        for step in range(1, steps + 1):
            part = step / steps
            self._tell(self._screen, "touchMove", [(x + (u - x) * part, y + (v - y) * part) for (x, y), (u, v) in ways])

    def lift(self) -> None:
        self._tell(self._screen, "touchEnd", [])

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.put(start)
        self.move((start, end))
        self.lift()

    @staticmethod
    def _tell(screen: CDPSession, kind: str, places: Sequence[tuple[float, float]]) -> None:
        points: list[dict[str, Any]] = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(places)]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.fixture
def fingers(editor: Editor) -> Fingers:
    return Fingers(editor.page)


def middle(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box is not None, "it is not in view"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def zoom(editor: Editor) -> int:
    return int(editor.page.locator(".tool-zoom").inner_text().removesuffix("%"))


def test_one_finger_moves_and_two_zoom(editor: Editor, fingers: Fingers) -> None:
    start, (x, y), still = zoom(editor), editor.place("noise"), editor.place("schedule")
    fingers.drag((200, 650), (260, 680))
    editor.until(lambda: editor.place("noise") == pytest.approx((x + 60, y + 30), abs=2))
    at = middle(editor.title("noise"))
    fingers.drag(at, (at[0] + 40, at[1] - 60))
    editor.is_saved("txt2img", saved=False)
    moved = editor.place("noise")
    assert moved[0] > x + 70, "a finger that begins to move is a node's a few pixels later"
    assert moved[1] < y
    assert editor.place("schedule") == pytest.approx((still[0] + 60, still[1] + 30), abs=2)
    fingers.put((360, 650), (440, 650))
    fingers.move(((360, 650), (300, 650)), ((440, 650), (500, 650)))
    fingers.lift()
    editor.until(lambda: zoom(editor) > 2 * start)
    editor.tool("↶").tap()
    editor.is_saved("txt2img")


def test_two_taps_draw_a_link(editor: Editor) -> None:
    while zoom(editor) < LEGIBLE:
        before = zoom(editor)
        editor.tool("+").tap()
        editor.until(lambda: zoom(editor) > before)  # noqa: B023
    editor.socket("noise", "noise", "source").tap()
    refused = editor.page.locator(".socket.refused")
    expect(refused.first).to_be_attached()
    editor.page.locator(".react-flow__pane").tap(position={"x": 8, "y": 8})
    expect(refused).to_have_count(0)
    editor.socket("noise", "noise", "source").tap()
    editor.socket("start", "original", "target").tap()
    expect(editor.link("noise.noise", "start.original")).to_have_count(1)
    expect(refused).to_have_count(0)


def test_a_finger_that_rests_opens_the_menu(editor: Editor, fingers: Fingers) -> None:
    menu = editor.page.get_by_role("menu", name="Menu")
    fingers.put(middle(editor.title("image")))
    expect(menu).to_be_visible()
    fingers.lift()
    expect(menu).to_be_visible()
    menu.get_by_role("menuitem", name="Delete").tap()
    expect(editor.node("image")).to_have_count(0)
    editor.tool("↶").tap()
    expect(editor.node("image")).to_be_visible()
    fingers.put((200, 650))
    expect(menu.get_by_role("menuitem", name="Add a note")).to_be_visible()
    fingers.lift()


def test_on_a_mask_one_finger_paints_and_two_zoom(editor: Editor, fingers: Fingers) -> None:
    editor.start("/#inpaint")
    editor.panel.get_by_role("button", name="Paint the mask: mask").tap()
    dialog = editor.page.get_by_role("dialog", name="Paint mask")
    sheet, state = dialog.get_by_role("application"), dialog.get_by_role("status")
    expect(dialog.locator("img")).to_be_visible()
    dialog.get_by_role("button", name="Clear").tap()
    expect(state).to_contain_text("0.0 % to change")
    before = sheet.bounding_box()
    assert before is not None
    x, y = middle(sheet)
    fingers.put((x - 30, y))
    fingers.put((x - 30, y), (x + 30, y))
    fingers.move(((x - 30, y), (x - 60, y)), ((x + 30, y), (x + 60, y)))
    fingers.lift()
    editor.until(lambda: (sheet.bounding_box() or before)["width"] > 1.8 * before["width"])
    expect(state).to_contain_text("0.0 % to change")
    fingers.drag((x - 40, y), (x + 40, y))
    expect(state).not_to_contain_text("0.0 % to change")
    editor.press("Escape", "Escape", "Escape")
    expect(dialog.get_by_text("What you painted would be lost.")).to_be_visible()
    dialog.get_by_role("button", name="Throw it away").tap()
    expect(dialog).to_have_count(0)
