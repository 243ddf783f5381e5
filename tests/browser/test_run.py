"""Running: what is computed again, what the nodes show of it, the queue, the gallery, the comparison of two runs."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Complaints
from tests.browser.editor import RUN_MILLISECONDS, Editor, has_pixels
from tests.browser.jobs import computed, pixels_of, steps_of
from tests.server.http.house import Running, ask

LONG = "400"
"""Steps of a run that somebody cancels."""


def mark(editor: Editor, node: str) -> Locator:
    """How a node stands, above it."""
    return editor.node(node).locator(".run-mark")


def test_only_what_changed_runs(editor: Editor, server: Running) -> None:
    first = editor.ran(prompt="a blue fish", steps="4")
    assert {"tokens", "denoise.loop[0].step", "image"} <= computed(server.url, first)
    assert steps_of(server.url, first, "denoise.loop") == {0, 1, 2, 3}
    expect(mark(editor, "image")).to_have_text(re.compile(r"✓ [\d.]+ m?s · [\d.]+ kB"))
    has_pixels(editor.node("@outputs").locator("img").first)
    editor.shot("run-done")

    again = editor.ran()
    expect(editor.status).to_have_text(re.compile(r"^Done · .*all from the cache$"))
    assert computed(server.url, again) == set()
    expect(mark(editor, "image")).to_have_text(re.compile(r"◆ cached · [\d.]+ kB"))
    assert (pixels_of(server.url, again) == pixels_of(server.url, first)).all()

    changed = editor.ran(guidance_scale="2")
    nodes = {call.split(".")[0] for call in computed(server.url, changed)}
    assert nodes == {"denoise", "image"}, "a change of guidance_scale changes nothing before the loop"
    expect(mark(editor, "image")).to_have_text(re.compile("✓"))
    expect(editor.status).to_have_text(re.compile(r"\d+ of \d+ nodes from the cache"))


def test_a_run_is_followed_in_place_and_cancelled(editor: Editor, server: Running) -> None:
    page = editor.page
    job = editor.run(prompt="a green tree", steps=LONG, width="128", height="128")
    expect(mark(editor, "denoise")).to_have_text(re.compile(rf"▶ step \d+ of {LONG}"), timeout=RUN_MILLISECONDS)
    expect(mark(editor, "image")).to_have_text("… queued")
    expect(mark(editor, "tokens")).to_have_text(re.compile("[✓◆]"))
    expect(editor.status).to_have_text(re.compile(rf"Step \d+ of {LONG}"))
    expect(
        editor.bottom("Steps").get_by_role("button", name=re.compile(f"^Step {LONG} of .*not done$"))
    ).to_be_attached()
    expect(page.get_by_role("progressbar", name="Progress of the run")).to_be_visible()
    has_pixels(editor.bottom("Steps").get_by_role("button", name=re.compile("^Step 1 of")).locator("img"))
    expect(page).to_have_title(re.compile(r"^(\(\d+ %\)|…) txt2img"))
    editor.shot("run-running")

    queue = editor.side("Queue")
    waiting = editor.run()
    expect(queue.get_by_role("region", name="Running")).to_contain_text("a green tree")
    expect(queue.get_by_role("region", name="Waiting")).to_contain_text("this page")
    editor.shot("run-queue")
    queue.get_by_role("region", name="Waiting").get_by_role("button", name="Cancel").click()
    expect(queue.get_by_role("region", name="Waiting")).to_be_hidden()

    page.get_by_role("group", name="Run").get_by_role("button", name="Cancel").click()
    expect(editor.status).to_have_text("Cancelled")
    expect(mark(editor, "denoise")).to_have_text("■ stopped")
    expect(queue.get_by_role("region", name="Running")).to_be_hidden()
    for one in (job, waiting):
        assert ask(f"{server.url}/api/v1/jobs/{one}").json["state"] == "cancelled"
    assert f"denoise.loop[{int(LONG) - 1}].step" not in computed(server.url, job)


def test_what_is_wrong_with_a_run_stands_at_its_node(editor: Editor, complaints: Complaints) -> None:
    editor.run(width="9")
    expect(editor.status).to_contain_text("wants a multiple of 4, got 9")
    editor.button("Show the node").click()
    expect(editor.node("noise")).to_have_class(re.compile(r"\bselected\b"))
    expect(editor.node("noise")).to_contain_text("wants a multiple of 4, got 9")
    expect(editor.bottom("Problems").get_by_role("button")).to_contain_text("noise › width")
    editor.shot("run-failed")
    editor.unselect()
    editor.ran(width="8", height="8", steps="1")
    expect(editor.node("noise")).not_to_contain_text("wants a multiple")


def card(page: Page, prompt: str) -> Locator:
    return page.get_by_role("list", name="Pictures, newest first").get_by_role("listitem").filter(has_text=prompt)


def test_the_gallery_knows_how_each_picture_was_made(editor: Editor, server: Running) -> None:
    page = editor.page
    editor.ran(prompt="a yellow sun", seed="11", steps="2")
    editor.side("Gallery")
    expect(card(page, "a yellow sun")).to_contain_text("seed 11")
    has_pixels(card(page, "a yellow sun").locator("img"))
    editor.shot("run-gallery")
    card(page, "a yellow sun").get_by_role("button", name="Show the picture").click()
    has_pixels(editor.dialog.get_by_alt_text("txt2img, a yellow sun"))
    facts = editor.dialog.locator(".run-facts")
    expect(facts.locator(".run-fact").filter(has_text="prompt")).to_contain_text(["a yellow sun"])
    expect(facts.locator(".run-fact.own")).to_have_count(3)
    expect(facts).to_contain_text("denoise.json")
    expect(facts).to_contain_text("torch")
    editor.shot("run-picture")


def test_the_workflow_of_a_picture_is_opened_as_it_was(editor: Editor, server: Running) -> None:
    """An unsaved change and values for one run come back with the picture, in a file of their own."""
    page = editor.page
    editor.node("negative_text").get_by_label("zero_if_empty", exact=True).click()
    editor.unselect()
    made = editor.ran(prompt="a grey stone", seed="5", steps="2")
    editor.side("Gallery")
    card(page, "a grey stone").get_by_role("button", name="Show the picture").click()
    editor.dialog.get_by_role("button", name="Open its workflow").click()
    expect(editor.dialog).to_be_hidden()
    editor.shot("run-opened")
    editor.side("Node")
    expect(editor.value("prompt")).to_have_value("a grey stone")
    expect(editor.value("seed")).to_have_value("5")
    expect(editor.node("negative_text").get_by_label("zero_if_empty", exact=True)).not_to_be_checked()
    again = editor.ran()
    expect(editor.status).to_contain_text("all from the cache")
    assert computed(server.url, again) == set()
    assert (pixels_of(server.url, again) == pixels_of(server.url, made)).all()


def test_two_runs_are_compared(editor: Editor, server: Running) -> None:
    """The pictures, their inputs, and their workflows entry by entry."""
    page = editor.page
    editor.ran(prompt="a white house", seed="1", steps="3")
    editor.node("negative_text").get_by_label("zero_if_empty", exact=True).click()
    editor.unselect()
    editor.ran(prompt="a white horse", seed="1", steps="3")
    editor.side("Gallery")
    card(page, "a white house").get_by_role("checkbox").check()
    card(page, "a white horse").get_by_role("checkbox").check()
    editor.button("Compare").click()
    dialog = editor.dialog
    has_pixels(dialog.get_by_alt_text("A: txt2img, a white house"))
    has_pixels(dialog.get_by_alt_text("B: txt2img, a white horse"))
    inputs = dialog.get_by_role("table", name="Inputs that differ").locator("tbody tr")
    expect(inputs).to_have_count(1)
    expect(inputs.locator("td")).to_have_text(["a white house", "a white horse"])
    workflows = dialog.get_by_role("table", name="Workflows").locator("tbody tr")
    expect(workflows).to_have_count(1)
    expect(workflows.locator("th")).to_have_text("nodes.negative_text.inputs.zero_if_empty")
    expect(workflows.locator("td")).to_have_text(["true", "false"])
    editor.shot("run-compare")
    dialog.get_by_label("How much of A is shown").fill("80")
    expect(dialog.locator(".run-wipe-line")).to_have_attribute("style", "left: 80%;")
    editor.button("Side by side").click()
    has_pixels(dialog.get_by_alt_text("A: txt2img, a white house"))
    editor.shot("run-compare-beside")
    editor.button("Difference × 4").click()
    expect(dialog.get_by_role("status")).to_have_text(re.compile(r"[\d.]+ % of the pixels differ"))
    editor.shot("run-compare-difference")
