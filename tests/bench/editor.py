"""How the editor feels: time until it is ready, frames a second while dragging and panning, time to the first event.

    python -m tests.bench.editor [--nodes 50 200 500] [--seconds 3] [--repeats 3] [--json FILE]

A real Chromium without a GPU (1280x800) with a real server. `ready` is from the call of the page (a warm server, an
empty browser cache) until nodes are there and two frames were drawn. `drag` moves one node by the mouse, `pan` the
canvas, at working zoom (one node fills a sixth of the width) and with everything in view. `event` is from Ctrl+Enter
until the page heard the first event of the job. `bundle` is what the first paint fetches, compressed as it is sent.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.bench.measure import report
from tests.server.http.house import Running, serve

VIEW = {"width": 1280, "height": 800}
FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
CHAIN = 10
"""Nodes that one prompt's share of the big graph has."""

FRAMES = """(milliseconds) => new Promise((done) => {
  let frames = 0; const begin = performance.now();
  const tick = (now) => { frames += 1; if (now - begin < milliseconds) requestAnimationFrame(tick);
                          else done(frames / (now - begin) * 1000); };
  requestAnimationFrame(tick);
})"""

MARKED = "performance.getEntriesByName('first event')"
"""The page marks when a run is asked for and when its first event is heard (User Timing)."""

TWO_FRAMES = """() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"""


def graph(nodes: int) -> str:
    """A workflow of about so many nodes with many ports: chains from prompts to pictures that share one model."""
    made: dict[str, Any] = {"model": {"type": "load_model"}}
    for chain in range(nodes // CHAIN):
        one = {
            "tokens": ("tokenize", {"tokenizer": "model.tokenizer"}, {"text": f"thing {chain}"}),
            "text": ("encode_text", {"text_encoder": "model.text_encoder", "tokens": "tokens"}, {}),
            "generators": ("seed_generators", {}, {"seed": chain}),
            "noise": ("init_noise", {"space": "model.latent_space", "generators": "generators"}, {}),
            "schedule": (
                "make_schedule", {"scheduler": "model.scheduler", "generators": "noise.generators"}, {"steps": 2},
            ),
            "start": (
                "prepare_latents",
                {"solver": "schedule.solver", "noise": "noise.noise", "timesteps": "schedule.timesteps"}, {},
            ),
            "positive": ("add_sizes", {"unet": "model.unet", "conditioning": "text", "latents": "noise.noise"}, {}),
            "image": ("vae_decode", {"vae": "model.vae", "latents": "start"}, {}),
            "small": ("resize_image", {"image": "image"}, {"width": 32, "height": 32}),
            "large": ("upscale_image", {"image": "small"}, {}),
        }  # fmt: skip
        for name, (kind, links, values) in one.items():
            inputs = {port: {"from": _source(source, chain)} for port, source in links.items()}
            made[f"{name}_{chain}"] = {"type": kind, "inputs": {**inputs, **values}}
    return json.dumps({"stepgraph": 1, "nodes": made, "outputs": {"image": {"from": "large_0"}}})


def _source(source: str, chain: int) -> str:
    name, dot, port = source.partition(".")
    return source if name == "model" else f"{name}_{chain}{dot}{port}"


def open_page(browser: Browser, url: str, nodes: int) -> tuple[Page, float]:
    """A fresh page with a graph in it, and the milliseconds until it was ready."""
    page = browser.new_context(viewport=VIEW).new_page()
    page.goto(f"{url}/#bench_{nodes}")
    page.wait_for_function("() => document.querySelectorAll('.react-flow__node').length > 5", timeout=120_000)
    return page, float(page.evaluate(TWO_FRAMES))


def frames(page: Page, seconds: float, *, node: bool, zoomed: bool) -> float:
    """Frames a second while the mouse drags a node, or the canvas."""
    _zoom(page, zoomed)
    x, y = _handle(page) if node else _empty(page)
    page.mouse.move(x, y)
    page.mouse.down()
    counting = page.evaluate_handle(f"(ms) => {{ window.counted = ({FRAMES})(ms); }}", seconds * 1000)
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        page.mouse.move(x + 8 * (turn % 30), y + 5 * (turn % 20))
    page.mouse.up()
    counting.dispose()
    return float(page.evaluate("() => window.counted"))


def _zoom(page: Page, close: bool) -> None:
    """Everything in view, or as close as one works."""
    page.get_by_role("button", name="Fit").first.click()
    page.wait_for_timeout(600)
    x, y = _handle(page)
    page.mouse.move(x, y)
    for _ in range(40):
        width = page.evaluate("() => document.querySelector('.react-flow__node').getBoundingClientRect().width")
        if not close or width >= VIEW["width"] / 6:
            break
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(60)
    page.wait_for_timeout(400)


def _handle(page: Page) -> tuple[float, float]:
    """The middle of the title of a node that is in view."""
    places = page.evaluate(
        """() => [...document.querySelectorAll('.react-flow__node')].map((node) => node.getBoundingClientRect())
        .filter((one) => one.top > 120 && one.left > 60 && one.right < 900 && one.bottom < 760)
        .map((one) => [one.left + one.width / 2, one.top + Math.min(12, one.height / 4)])"""
    )
    return tuple(places[len(places) // 2])


def _empty(page: Page) -> tuple[float, float]:
    """A place of the canvas where nothing is."""
    found = page.evaluate(
        """() => { for (let y = 150; y < 720; y += 15) for (let x = 80; x < 880; x += 15)
        if (document.elementFromPoint(x, y)?.classList.contains('react-flow__pane')) return [x, y]; return null; }"""
    )
    assert found is not None, "no empty place on the canvas"
    return tuple(found)


def first_event(page: Page) -> float:
    """Milliseconds from Ctrl+Enter until the page has heard the first event of its job."""
    page.evaluate("() => performance.clearMarks()")
    page.keyboard.press("Control+Enter")
    page.wait_for_function(f"() => {MARKED}.length > 0", timeout=120_000)
    return float(page.evaluate(f"() => {MARKED}[0].startTime - performance.getEntriesByName('run asked')[0].startTime"))


def bundle() -> dict[str, int]:
    """Bytes, compressed, of the page and of what it fetches at first."""
    dist = Path(__file__).parents[2] / "server" / "editor" / "dist"
    page = (dist / "index.html").read_text()
    first = [file for file in sorted((dist / "assets").iterdir()) if file.name in page]
    return {file.name: len(gzip.compress(file.read_bytes(), 6)) for file in [dist / "index.html", *first]}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="*", default=[50, 200, 500])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "data") as server, sync_playwright() as driver:
        rows, event = _measure(server, driver, options)
    report("the editor", rows, options.json)
    first = bundle()
    print(
        f"Ctrl+Enter to the first event: {event:.1f} ms; first paint: {sum(first.values())} bytes in {len(first)} files"
    )
    return 0


def _measure(server: Running, driver: Playwright, options: argparse.Namespace) -> tuple[list[dict[str, Any]], float]:
    browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[f"--{flag}" for flag in FLAGS])
    rows = []
    for nodes in options.nodes:
        answer = server.ask(f"/api/v1/workflows/bench_{nodes}", graph(nodes).encode(), method="PUT")
        assert answer.status == 201, answer.body
        rows.append({"nodes": nodes, **_one(browser, server.url, nodes, options)})
    page = browser.new_context(viewport=VIEW).new_page()
    page.goto(f"{server.url}/#txt2img")
    page.wait_for_selector(".react-flow__node")
    page.wait_for_timeout(1500)
    waits = [first_event(page) for _ in range(options.repeats + 2)][2:]  # the first ones load the model
    return rows, statistics.median(waits)


def _one(browser: Browser, url: str, nodes: int, options: argparse.Namespace) -> dict[str, Any]:
    runs = [open_page(browser, url, nodes) for _ in range(options.repeats)]
    for page, _ in runs[:-1]:
        page.context.close()
    page = runs[-1][0]
    page.wait_for_timeout(1500)
    made: dict[str, Any] = {"ready_ms": round(statistics.median(ready for _, ready in runs))}
    for name, node, zoomed in (
        ("drag", True, True), ("pan", False, True), ("drag_all", True, False), ("pan_all", False, False),
    ):  # fmt: skip
        counts = [frames(page, options.seconds, node=node, zoomed=zoomed) for _ in range(options.repeats)]
        made[f"{name}_fps"] = round(statistics.median(counts), 1)
    page.context.close()
    return made


if __name__ == "__main__":
    sys.exit(main())
