"""Inside the loop: the steps with their pictures, a branch from one of them, and the value on any link."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.editor import Editor, has_pixels
from tests.browser.jobs import computed, pixels_of, steps_of
from tests.server.http.house import Running

STEPS = 6


def step(timeline: Locator, number: int) -> Locator:
    return timeline.get_by_role("button", name=re.compile(rf"^Step {number} of {STEPS}\b"))


def decoded(timeline: Locator) -> None:
    """Wait until the steps are decoded: until then the panel says that they are shown in false colours."""
    expect(timeline.locator(".player-note")).to_have_text("")


def test_each_step_has_its_decoded_picture(editor: Editor, server: Running) -> None:
    editor.ran(prompt="a brown dog", steps=str(STEPS))
    timeline = editor.bottom("Steps")
    expect(timeline.get_by_role("listitem")).to_have_count(STEPS)
    decoded(timeline)
    values = []
    for number in range(1, STEPS + 1):
        picture = step(timeline, number).locator("img")
        has_pixels(picture)
        values.append(str(picture.get_attribute("src")).removesuffix("/preview"))
    assert len(set(values)) == STEPS, "each step has a picture of its own"
    for value in values:
        (output,) = server.ask(value).json["outputs"]
        assert output["type"] == "Image", "a picture, and not the false colours of latents"
    expect(step(timeline, 1)).to_have_accessible_name(re.compile(r"timestep \d+, [\d.]+ m?s$"))
    editor.shot("loop-timeline")


def test_the_steps_are_gone_through(editor: Editor) -> None:
    """By slider, keys, click and play; the foreseen picture and the noisy latents."""
    page = editor.page
    editor.ran(prompt="a brown dog", steps=str(STEPS))
    timeline = editor.bottom("Steps")
    large = timeline.locator("img.timeline-picture")
    slider = timeline.get_by_role("slider", name="Step")
    decoded(timeline)
    expect(slider).to_have_value(str(STEPS))
    slider.fill("2")
    expect(step(timeline, 2)).to_have_attribute("aria-current", "step")
    expect(timeline).to_contain_text(f"Step 2 of {STEPS}")
    has_pixels(large)
    shown = large.get_attribute("src")
    step(timeline, 2).focus()
    page.keyboard.press("ArrowRight")
    expect(step(timeline, 3)).to_have_attribute("aria-current", "step")
    expect(large).not_to_have_attribute("src", str(shown))
    step(timeline, 1).click()
    expect(slider).to_have_value("1")
    foreseen = large.get_attribute("src")
    timeline.get_by_role("button", name="Latents as they are").click()
    expect(large).not_to_have_attribute("src", str(foreseen))
    decoded(timeline)
    has_pixels(large)
    editor.shot("loop-latents")
    timeline.get_by_role("button", name="Play the steps").click()
    expect(slider).to_have_value(str(STEPS))


def branch(editor: Editor, at: int) -> None:
    """Open the dialog that branches after a step."""
    timeline = editor.bottom("Steps")
    timeline.get_by_role("slider", name="Step").fill(str(at))
    expect(step(timeline, at)).to_have_attribute("aria-current", "step")
    timeline.get_by_role("button", name="Branch from here…").click()


def branched(editor: Editor) -> str:
    """Run the branch that the dialog describes; its job. The timeline may ask for pictures of the steps meanwhile."""
    with editor.page.expect_response(
        lambda one: one.url.endswith("/api/v1/jobs") and "denoise_rest" in (one.request.post_data or "")
    ) as made:
        editor.dialog.get_by_role("button", name="Branch and run").click()
    job: str = made.value.json()["id"]
    editor.shown(job)
    return job


def test_a_branch_runs_only_the_later_steps(editor: Editor, server: Running) -> None:
    first = editor.ran(prompt="a purple flower", steps=str(STEPS))
    branch(editor, 4)
    editor.dialog.get_by_label("guidance scale", exact=True).check()
    editor.dialog.get_by_label("guidance_scale", exact=True).fill("9")
    editor.shot("loop-branch")
    changed = branched(editor)
    assert steps_of(server.url, changed, "denoise_first.loop") == set(), (
        "the first four steps are those of the original"
    )
    assert steps_of(server.url, changed, "denoise_rest.loop") == {0, 1}, "two steps of six come after the fourth"
    assert steps_of(server.url, changed, "denoise.loop") == set()
    assert (pixels_of(server.url, changed) == pixels_of(server.url, first)).all(), "the original stays as it is"
    assert (pixels_of(server.url, changed, "image_branch") != pixels_of(server.url, first)).any()
    timeline = editor.bottom("Steps")
    expect(timeline.get_by_role("button", name="denoise_rest")).to_have_attribute("aria-pressed", "true")
    expect(timeline.get_by_role("listitem")).to_have_count(2)
    has_pixels(timeline.get_by_alt_text("Step 2 of 2"))
    editor.shot("loop-branched")


def test_a_branch_with_nothing_changed_gives_the_same_picture(editor: Editor, server: Running) -> None:
    """To the pixel, and without one step computed again; one step of undo takes the branch away."""
    first = editor.ran(prompt="a purple flower", steps=str(STEPS))
    branch(editor, 4)
    same = branched(editor)
    assert {call for call in computed(server.url, same) if "loop" in call} == set()
    assert (pixels_of(server.url, same, "image_branch") == pixels_of(server.url, first)).all()
    editor.page.keyboard.press("Control+z")
    editor.is_saved("txt2img")


def inspector(editor: Editor) -> Locator:
    return editor.page.get_by_role("complementary", name="Inspect")


def test_a_click_on_a_link_shows_its_value(editor: Editor) -> None:
    """Tokens as words, latents and pictures as pictures with their numbers, inputs as they are."""
    editor.ran(prompt="a pink cloud", steps=str(STEPS))
    editor.click_link(("tokens", "output"), ("text", "tokens"))
    shown = inspector(editor)
    expect(shown.get_by_role("heading", level=2)).to_have_text("tokens")
    expect(shown.locator(".words")).to_contain_text("pink")
    expect(shown.locator(".words")).to_contain_text("cloud")
    editor.shot("loop-inspect-tokens")

    editor.click_link(("denoise", "latents"), ("image", "latents"))
    expect(shown.get_by_role("heading", level=2)).to_have_text("denoise › latents")
    has_pixels(shown.get_by_alt_text("denoise › latents, as a picture"))
    expect(shown.get_by_role("row", name="shape")).to_contain_text("1 × 4 × 16 × 16")
    expect(shown.get_by_role("img", name=re.compile(r"^Histogram from -?[\d.]+ to [\d.]+"))).to_be_visible()
    editor.shot("loop-inspect-latents")

    editor.click_link(("image", "output"), ("@outputs", "image"))
    expect(shown.get_by_role("heading", level=2)).to_have_text("image")
    has_pixels(shown.get_by_alt_text("image, as a picture"))
    expect(shown.get_by_role("row", name="shape")).to_contain_text("64 × 64")

    editor.click_link(("@inputs", "inputs.prompt"), ("tokens", "text"))
    expect(shown).to_contain_text("a pink cloud")


def test_a_value_of_one_step_is_looked_at(editor: Editor) -> None:
    editor.ran(prompt="a pink cloud", steps=str(STEPS))
    timeline = editor.bottom("Steps")
    timeline.get_by_role("slider", name="Step").fill("2")
    timeline.get_by_role("button", name="step.latents", exact=True).click()
    shown = inspector(editor)
    expect(shown).to_contain_text(f"Step 2 of {STEPS}")
    expect(shown).to_contain_text("denoise.loop[1].step")
    picture = shown.get_by_alt_text("denoise.loop.step › latents, as a picture")
    has_pixels(picture)
    before = picture.get_attribute("src")
    shown.get_by_role("slider").fill(str(STEPS))
    expect(picture).not_to_have_attribute("src", str(before))
    expect(timeline.get_by_role("slider", name="Step")).to_have_value(str(STEPS))
