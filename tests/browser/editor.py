"""What people do with the editor, in a test's words."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

RUN_MILLISECONDS = 480_000
"""How long a first picture may take: the worker imports torch."""


def has_pixels(picture: Locator) -> None:
    """Wait for a picture to be there: not only its element, but what it shows."""
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


FREE_POINT = """(link) => {
  const path = link.querySelector("path");
  const length = path.getTotalLength();
  for (let part = 1; part < 40; part++) {
    const { x, y } = path.getPointAtLength((length * part) / 40).matrixTransform(path.getScreenCTM());
    if (link.contains(document.elementFromPoint(x, y))) return [x, y];
  }
  return null;
}"""
"""A point of the screen where a click meets a link."""

CARRY = """([name, content, type]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  return carried;
}"""
"""What a drag of a file carries."""


class Editor:
    """Responsibilities: find the parts of the page by the names that people and screen readers have for them."""

    def __init__(self, page: Page, url: str, screenshots: Path | None = None) -> None:
        self.page, self.url, self._screenshots = page, url, screenshots

    def start(self, path: str = "/") -> Editor:
        """Open the page and wait until the first workflow is there; `/#inpaint` opens another one."""
        self.page.goto(self.url + path)
        expect(self.nodes.first).to_be_visible()
        return self

    @property
    def nodes(self) -> Locator:
        return self.page.locator(".react-flow__node")

    def node(self, name: str) -> Locator:
        """A node of the level that is shown, by its name in the file."""
        return self.page.locator(f'.react-flow__node[data-id="{name}"]')

    def socket(self, node: str, port: str, side: str) -> Locator:
        """A socket: `source` gives, `target` takes."""
        return self.node(node).locator(f'.react-flow__handle.{side}[data-handleid="{port}"]')

    def link(self, start: str, end: str) -> Locator:
        """A link by its ends: `image.output`, `@inputs.carry.latents`."""
        (source, output), (target, port) = start.split(".", 1), end.split(".", 1)
        return self.page.locator(f'.react-flow__edge[aria-label="Link from {source}, {output}, to {target}, {port}"]')

    def title(self, name: str) -> Locator:
        """Where a node is taken with the mouse."""
        return self.node(name).locator(".node-title")

    def place(self, name: str) -> tuple[float, float]:
        """Where a node stands on the screen."""
        box = self.node(name).bounding_box()
        assert box is not None, f"{name} is not in view"
        return box["x"], box["y"]

    def drag(self, start: Locator, x: float, y: float) -> None:
        """Take something with the mouse, and let go of it elsewhere."""
        start.hover()
        self.page.mouse.down()
        self.page.mouse.move(x, y, steps=8)
        self.page.mouse.up()

    def connect(self, start: Locator, end: Locator) -> None:
        """Draw a link from a socket to another one."""
        box = end.bounding_box()
        assert box is not None, "the socket is not in view"
        self.drag(start, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def tool(self, words: str) -> Locator:
        """A tool of the canvas, by what is written on it."""
        return self.page.get_by_role("toolbar", name="Canvas").get_by_text(words, exact=True)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def palette(self) -> Locator:
        return self.page.locator(".palette")

    @property
    def panel(self) -> Locator:
        """The panel at the side, whichever it shows."""
        return self.page.get_by_role("complementary")

    def text(self) -> str:
        """The file that is shown, as its JSON panel has it."""
        self.button("JSON").click()
        self.page.get_by_role("region", name="JSON of the file, read-only").wait_for()
        lines = self.page.evaluate("""() => [...document.querySelectorAll(".json-piece")]
            .flatMap((piece) => piece.children.length > 0 ? [...piece.children] : [piece])
            .map((part) => part.textContent)""")
        self.button("JSON").click()
        return "\n".join(lines) + "\n"

    def file(self) -> Any:
        """The file that is shown, as its JSON panel has it, read."""
        return json.loads(self.text())

    def import_text(self, name: str, file: Any) -> None:
        """Open a file of this machine with the menu."""
        with self.page.expect_file_chooser() as chosen:
            self.choose("Import")
        text = file if isinstance(file, str) else json.dumps(file, indent=2) + "\n"
        chosen.value.set_files({"name": f"{name}.json", "mimeType": "application/json", "buffer": text.encode()})
        expect(self.tab(name)).to_have_attribute("aria-current", "page")

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.page.get_by_role("button", name=name, exact=exact)

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def status(self) -> Locator:
        """What the bar says of the run that is shown."""
        return self.page.locator(".run-text")

    def message(self, text: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("region", name="Messages").get_by_text(text)

    def tab(self, name: str) -> Locator:
        """An open file."""
        return self.page.get_by_role("navigation", name="Files").get_by_role("button", name=re.compile(rf"^{name}\b"))

    def is_saved(self, name: str, saved: bool = True) -> None:
        """Wait until an open file has no unsaved changes, or has some."""
        expect(self.tab(name)).to_be_visible()
        expect(self.tab(name).get_by_text("unsaved changes")).to_have_count(0 if saved else 1)

    def side(self, name: str) -> Locator:
        """A panel at the side, brought to the front."""
        self.page.locator(".side .panel-tabs").get_by_role("button", name=name, exact=True).click()
        return self.page.get_by_role("complementary", name=name)

    def bottom(self, name: str) -> Locator:
        """A panel at the bottom, opened by its button."""
        shown = self.page.locator("section.app-bottom").and_(self.page.get_by_role("region", name=name))
        if not shown.is_visible():
            self.page.get_by_role("contentinfo").get_by_role("button", name=name).click()
            expect(shown).to_be_visible()  # before somebody asks again, and closes it
        return shown

    def choose(self, item: str) -> None:
        """An item of the menu of files."""
        self.button("File").click()
        self.page.get_by_role("menuitem", name=re.compile(rf"^{item}")).click()

    def unselect(self) -> None:
        """Click on the empty canvas: the side then shows the workflow."""
        self.page.locator(".react-flow__pane").click(position={"x": 8, "y": 8})

    def value(self, port: str) -> Locator:
        """The field for an input of the workflow, for the next run."""
        return self.page.get_by_role("region", name="Values for the next run").get_by_label(port, exact=True)

    def run(self, **values: str) -> str:
        """Type values for the next run, press Ctrl+Enter; the job that this starts."""
        for port, value in values.items():
            self.value(port).fill(value)
        with self.page.expect_response(
            lambda one: one.url.endswith("/api/v1/jobs") and one.request.method == "POST"
        ) as made:
            self.page.keyboard.press("Control+Enter")
        job: str = made.value.json()["id"]
        return job

    def ran(self, **values: str) -> str:
        """Run, and wait until the page shows that the run is done."""
        job = self.run(**values)
        self.shown(job)
        return job

    def shown(self, job: str) -> None:
        """Wait until the page shows that a job succeeded."""
        expect(self.page.locator(f'.run-status.succeeded[data-job="{job}"]')).to_be_visible(timeout=RUN_MILLISECONDS)

    def click_link(self, start: tuple[str, str], end: tuple[str, str]) -> None:
        """Click a link at a point where nothing lies above it."""
        label = f"Link from {start[0]}, {start[1]}, to {end[0]}, {end[1]}"
        link = self.page.locator(f'.react-flow__edge[aria-label="{label}"]')
        expect(link).to_be_attached()
        at = link.evaluate(FREE_POINT)
        assert at is not None, f"{label}: all of it is covered"
        self.page.mouse.click(*at)

    def drop(self, name: str, content: bytes, media_type: str, on: Locator | None = None) -> None:
        """Drop a file from the desktop on the page, or on a part of it."""
        given = [name, base64.b64encode(content).decode(), media_type]
        carried = self.page.evaluate_handle(CARRY, given)
        (on or self.page.locator("main")).dispatch_event("drop", {"dataTransfer": carried})

    def until(self, what: Callable[[], object]) -> None:
        """Wait for what no locator tells, such as places."""
        end = time.monotonic() + RUN_MILLISECONDS / 1000
        while not what():
            assert time.monotonic() < end, "it took too long"
            self.page.wait_for_timeout(20)

    def search(self, words: str) -> None:
        """Open the palette by keys, and type once it hears them."""
        self.press("Control+k")
        expect(self.palette.get_by_role("combobox")).to_be_focused()
        self.page.keyboard.type(words)
        expect(self.palette.get_by_role("combobox")).to_have_value(words)

    def shot(self, name: str) -> None:
        """A picture of the screen, where somebody asked for them."""
        if self._screenshots is not None:
            self._screenshots.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=self._screenshots / f"{name}.png")

    def state(self, expression: str) -> Any:
        """A value in the page, by a function of JavaScript."""
        return self.page.evaluate(expression)
