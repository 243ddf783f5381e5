"""The forms: a control for each kind of value, by mouse and keys, with help and with what is wrong at the field."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.editor import Editor
from tests.browser.jobs import pixels_of
from tests.browser.test_canvas import PICTURES
from tests.server.http.house import Running


def field(control: Locator) -> Locator:
    """All that belongs to a value: its label, its control, its help and what is wrong with it."""
    return control.locator("xpath=ancestor::*[contains(concat(' ', @class, ' '), ' field ')][1]")


def test_a_slider_keeps_its_bounds_and_a_box_says_them(editor: Editor) -> None:
    box, slider = editor.value("chunks"), editor.value("chunks, slider")
    assert [slider.get_attribute(name) for name in ("min", "max", "step")] == ["0", "32", "1"]
    area = slider.bounding_box()
    assert area is not None
    slider.click(position={"x": area["width"] - 1, "y": area["height"] / 2})
    expect(box).to_have_value("32")
    slider.click(position={"x": 1, "y": area["height"] / 2})
    expect(box).to_have_value("0")
    box.fill("33")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(field(box).get_by_role("alert")).to_have_text("0 to 32 is expected, not 33.")
    box.fill("three")
    expect(field(box).get_by_role("alert")).to_contain_text("A whole number is expected")
    box.fill("3")
    expect(field(box).get_by_role("alert")).to_have_count(0)
    expect(slider).to_have_value("3")
    box.press("ArrowUp")
    expect(box).to_have_value("4")
    editor.button("Reset chunks to its default, 1").click()
    expect(box).to_have_value("1")


def test_a_prompt_has_lines_and_is_one_step_of_undo(editor: Editor) -> None:
    prompt = editor.value("prompt")
    before = prompt.bounding_box()
    prompt.click()
    editor.press("Control+a")
    editor.page.keyboard.type("a green apple\non a table\nin the sun\nin the rain")
    expect(prompt).to_have_value("a green apple\non a table\nin the sun\nin the rain")
    assert before
    height = before["height"]
    editor.until(lambda: (prompt.bounding_box() or before)["height"] > height)  # the box grows with its text
    expect(editor.node("@inputs").get_by_label("prompt", exact=True)).to_have_value(prompt.input_value())
    editor.page.locator(".react-flow__pane").click(position={"x": 20, "y": 20})
    editor.press("Control+z")
    expect(prompt).to_have_value("a red apple")


def test_a_list_has_one_item_a_line(editor: Editor) -> None:
    editor.start("/#sampler_comparison")
    names, counts = editor.value("schedulers"), editor.value("step_counts")
    expect(counts).to_have_value("2\n4\n8\n16")
    names.fill("ddim\neuler")
    counts.fill("3")
    names.press("End")
    editor.page.keyboard.type("_ancestral")
    expect(names).to_have_value("ddim\neuler_ancestral")
    counts.fill("3 x")
    expect(field(counts).get_by_role("alert")).to_contain_text("A whole number is expected")
    counts.fill("3")
    names.focus()
    for name, default in (("schedulers", ["ddim", "euler_ancestral"]), ("step_counts", [3])):
        box = field(editor.value(name))
        box.get_by_role("button", name="Make default").click()
        expect(box.get_by_role("button", name="Make default")).to_have_count(0)
        assert editor.file()["inputs"][name]["default"] == default


def test_many_options_are_searched_and_few_are_listed(editor: Editor) -> None:
    scheduler = editor.value("scheduler")
    scheduler.click()
    scheduler.fill("karras")
    offers = editor.page.get_by_role("listbox", name="Offers").get_by_role("option")
    expect(offers).to_have_count(3)
    scheduler.press("ArrowDown")
    scheduler.press("Enter")
    expect(scheduler).to_have_value("dpmpp_2m_sde_karras")
    scheduler.click()
    offers.get_by_text("heun", exact=True).click()
    expect(scheduler).to_have_value("heun")
    editor.title("model").click()
    dtype = editor.panel.get_by_label("dtype", exact=True)
    dtype.select_option("float16")
    assert editor.file()["nodes"]["model"]["inputs"]["dtype"] == "float16"
    assert dtype.locator("option").all_text_contents() == ["auto", "float32", "float16", "bfloat16"]


def test_a_seed_has_dice_and_a_lock_that_runs_obey(editor: Editor, server: Running) -> None:
    seed = editor.value("seed")
    editor.panel.get_by_role("button", name="New random seed").click()
    expect(seed).not_to_have_value("0")
    locked = seed.input_value()
    job = editor.run(steps="1")
    assert str(server.ask(f"/api/v1/jobs/{job}").json["inputs"]["seed"]) == locked
    editor.shown(job)
    lock = editor.panel.get_by_role("button", name="Lock seed")
    expect(lock).to_have_attribute("aria-pressed", "true")
    lock.click()
    expect(lock).to_have_attribute("aria-pressed", "false")
    job = editor.run()
    expect(seed).not_to_have_value(locked)
    assert str(server.ask(f"/api/v1/jobs/{job}").json["inputs"]["seed"]) == seed.input_value()
    editor.shown(job)


def test_a_model_is_picked_from_names_or_typed(editor: Editor) -> None:
    model = editor.value("model")
    model.click()
    editor.page.get_by_role("option", name="builtin:emoji").click()
    expect(model).to_have_value("builtin:emoji")
    model.fill("owner/model")
    expect(editor.node("@inputs").get_by_label("model", exact=True)).to_have_value("owner/model")


def test_help_stands_at_its_field_and_is_read_with_it(editor: Editor, server: Running) -> None:
    declared = server.ask("/api/v1/workflows/txt2img").json["inputs"]
    expect(editor.value("steps")).to_have_accessible_description(declared["steps"]["description"] + " (1 to 10000)")
    editor.title("image").click()
    nodes = {node["short_name"]: node for node in server.ask("/api/v1/nodes").json["nodes"]}
    summary = nodes["vae_decode"]["doc"].split("\n")[0].replace("`", "")
    expect(editor.panel.locator(".form-doc")).to_contain_text(summary)
    expect(editor.panel.get_by_role("checkbox", name="tiled")).to_have_accessible_description(
        nodes["vae_decode"]["inputs"]["tiled"]["help"].replace("`", "")
    )


def test_the_words_of_the_checker_stand_at_the_field(editor: Editor, server: Running) -> None:
    wrong: Any = {**PICTURES, "nodes": {**PICTURES["nodes"]}}
    wrong["nodes"]["size"] = {"type": "image_size", "inputs": {"image": 5}}
    wrong["nodes"]["larger"] = {"type": "upscale_image", "inputs": {"image": {"from": "small"}, "scale": "big"}}
    editor.import_text("wrong", wrong)
    answer = server.ask("/api/v1/check", {"workflow": "wrong", "files": {"wrong.json": editor.text()}}).json
    (problem,) = [one for one in answer["problems"] if one["node"] == "larger"]
    assert problem["port"] == "scale"
    editor.title("larger").click()
    scale = editor.panel.get_by_label("scale", exact=True)
    expect(scale).to_have_attribute("aria-invalid", "true")
    expect(field(scale).get_by_role("alert")).to_contain_text(problem["message"])
    expect(editor.node("larger").get_by_text(problem["message"])).to_be_visible()
    editor.shot("problem-at-field")
    scale.fill("2")
    expect(field(scale).get_by_role("alert")).to_have_count(0)
    expect(editor.node("larger").get_by_text(problem["message"])).to_have_count(0)


def picture(color: str, size: tuple[int, int] = (48, 40)) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, color).save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def inpaint(editor: Editor) -> Editor:
    editor.start("/#inpaint")
    expect(editor.value("image")).to_have_value("example.png")
    return editor


def test_a_picture_is_uploaded_dropped_or_taken_from_the_gallery(inpaint: Editor, server: Running) -> None:
    image = inpaint.value("image")
    with inpaint.page.expect_file_chooser() as chosen:
        inpaint.panel.get_by_role("button", name="Upload: image").click()
    chosen.value.set_files({"name": "red.png", "mimeType": "image/png", "buffer": picture("red")})
    expect(image).not_to_have_value("example.png")
    red = image.input_value()
    assert server.ask(f"/api/v1/files/{red.removeprefix('file:')}").status == 200
    thumbnail = inpaint.panel.get_by_alt_text("image now", exact=True)
    expect(thumbnail).to_have_js_property("naturalWidth", 48)
    inpaint.drop("blue.png", picture("blue", (32, 32)), "image/png", on=image)
    expect(image).not_to_have_value(red)
    expect(thumbnail).to_have_js_property("naturalWidth", 32)
    assert inpaint.page.get_by_role("dialog").count() == 0, "a drop on a field is for the field alone"


def test_a_mask_painted_by_mouse_is_what_a_run_repaints(inpaint: Editor, server: Running) -> None:
    inpaint.panel.get_by_role("button", name="Paint the mask: mask").click()
    dialog = inpaint.page.get_by_role("dialog", name="Paint mask")
    sheet = dialog.get_by_role("application")
    expect(dialog.locator("img")).to_be_visible()
    dialog.get_by_role("button", name="Clear").click()
    expect(dialog.get_by_role("status")).to_contain_text("0.0 % to change")
    box = sheet.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 4
    inpaint.page.mouse.move(box["x"] + box["width"] / 4, y)
    inpaint.page.mouse.down()
    inpaint.page.mouse.move(box["x"] + box["width"] * 3 / 4, y, steps=10)
    inpaint.page.mouse.up()
    expect(dialog.get_by_role("status")).not_to_contain_text("0.0 % to change")
    painted = dialog.get_by_role("status").inner_text()
    dialog.get_by_role("button", name="Undo").click()
    expect(dialog.get_by_role("status")).to_contain_text("0.0 % to change")
    dialog.get_by_role("button", name="Redo").click()
    expect(dialog.get_by_role("status")).to_have_text(painted)
    inpaint.shot("mask")
    dialog.get_by_role("button", name="Use this mask").click()
    expect(dialog).to_have_count(0)
    mask = inpaint.value("mask").input_value()
    assert mask.startswith("file:")
    job = inpaint.ran(steps="2", feather="0")
    assert server.ask(f"/api/v1/jobs/{job}").json["inputs"]["mask"] == mask
    kept = np.asarray(Image.open(io.BytesIO(server.ask(f"/api/v1/files/{mask[5:]}").body)).convert("L"))
    made = pixels_of(server.url, job)
    before = np.asarray(Image.open("workflows/example.png").convert("RGB"))
    assert kept.shape == before.shape[:2], "the mask has the pixels of the picture"
    assert (kept[kept.shape[0] // 2 :] == 0).all()
    assert kept[kept.shape[0] // 4, kept.shape[1] // 2] == 255
    outside, inside = kept == 0, kept == 255
    assert np.abs(made[outside].astype(int) - before[outside]).max() <= 2, "what is not painted stays"
    assert np.abs(made[inside].astype(int) - before[inside]).mean() > 5, "what is painted changes"


def test_a_node_is_named_titled_and_its_value_made_an_input(editor: Editor) -> None:
    editor.import_text("pictures", PICTURES)
    editor.title("small").click()
    panel = editor.panel
    panel.get_by_label("Title", exact=True).fill("Half of it")
    expect(editor.title("small")).to_have_text("Half of it")
    panel.get_by_role("button", name="Make width an input of the workflow").click()
    expect(editor.link("@inputs.inputs.width", "small.width")).to_have_count(1)
    name = panel.get_by_label("Name in the file")
    name.fill("picture")
    name.press("Enter")
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("half")
    name.press("Enter")
    expect(editor.link("half.output", "larger.image")).to_have_count(1)
    file = editor.file()
    assert file["nodes"]["half"]["inputs"]["width"] == {"from": "inputs.width"}
    assert file["inputs"]["width"]["default"] == 64
    panel.get_by_role("button", name="Unlink image from picture").click()
    expect(editor.link("picture.output", "half.image")).to_have_count(0)
    expect(panel.get_by_text("Needs a link.")).to_be_visible()


def test_the_inputs_of_a_file_are_declared_in_their_form(editor: Editor) -> None:
    editor.import_text("pictures", PICTURES)
    editor.title("@inputs").click()
    form = editor.panel.get_by_role("form", name="Add an input")
    form.get_by_label("Name of the new input").fill("edge")
    form.get_by_label("Type").select_option("integer")
    form.get_by_role("button", name="Add").click()
    expect(editor.socket("@inputs", "inputs.edge", "source")).to_be_visible()
    editor.panel.locator("summary").click()
    declared = editor.panel.get_by_role("group")
    declared.get_by_label("Maximum").fill("64")
    declared.get_by_label("Description").fill("Pixels of an edge.")
    expect(editor.value("edge, slider")).to_have_count(0)
    declared.get_by_label("Minimum").fill("8")
    expect(editor.value("edge, slider")).to_have_attribute("max", "64")
    assert editor.file()["inputs"]["edge"] == {
        "type": "integer", "default": 0, "description": "Pixels of an edge.", "maximum": 64, "minimum": 8
    }  # fmt: skip
