"""The canvas by mouse: sockets and links, the palette, looking around, arranging, copying, levels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.editor import RUN_MILLISECONDS, Editor
from tests.server.http.house import Running

PICTURES: dict[str, Any] = {
    "stepgraph": 1,
    "title": "Pictures",
    "inputs": {},
    "nodes": {
        "picture": {"type": "load_image", "inputs": {"path": "example.png"}},
        "small": {"type": "resize_image", "inputs": {"image": {"from": "picture"}, "width": 64, "height": 32}},
        "larger": {"type": "upscale_image", "inputs": {"image": {"from": "small"}, "scale": 2.0}},
        "size": {"type": "image_size", "inputs": {"image": {"from": "larger"}}},
    },
    "outputs": {"image": {"from": "larger"}, "width": {"from": "size.width"}},
    "layout": {
        "positions": {
            "@inputs": [0, -200],
            "picture": [0, 0],
            "small": [300, 40],
            "larger": [600, 0],
            "size": [900, 90],
            "@outputs": [1200, 0],
        }
    },
}
"""A workflow without models, which runs in a moment."""


@pytest.fixture
def pictures(editor: Editor) -> Editor:
    editor.import_text("pictures", PICTURES)
    expect(editor.node("larger")).to_be_visible()
    return editor


def color_of(socket: Locator) -> str:
    return str(socket.evaluate("(element) => getComputedStyle(element).getPropertyValue('--type')"))


def test_sockets_have_names_types_and_their_colours(editor: Editor) -> None:
    latents = editor.socket("denoise", "latents", "target")
    expect(latents).to_have_attribute("aria-label", "input latents: Latents")
    expect(editor.socket("start", "output", "source")).to_have_attribute("aria-label", "output output: Latents")
    expect(editor.node("denoise").get_by_text("latents", exact=True).first).to_be_visible()
    assert color_of(latents) == color_of(editor.socket("noise", "noise", "source"))
    assert color_of(latents) != color_of(editor.socket("denoise", "unet", "target"))
    steps = editor.socket("denoise", "steps", "source")
    round_one, square = (one.evaluate("(e) => getComputedStyle(e).borderRadius") for one in (latents, steps))
    assert round_one != square, "a socket of a list has a shape of its own"


def test_an_illegal_link_is_refused_in_the_words_of_the_checker(editor: Editor, server: Running) -> None:
    before = editor.text()
    editor.connect(editor.socket("model", "unet", "source"), editor.socket("image", "latents", "target"))
    after = before.replace('"latents": {"from": "denoise.latents"}}}', '"latents": {"from": "model.unet"}}}')
    assert after != before
    answer = server.ask("/api/v1/check", {"workflow": "txt2img", "files": {"txt2img.json": after}}).json
    (words,) = [problem["text"] for problem in answer["problems"] if problem["node"] == "image"]
    expect(editor.page.get_by_role("alert")).to_contain_text(words)
    assert editor.text() == before
    expect(editor.link("denoise.latents", "image.latents")).to_have_count(1)


def test_a_link_drawn_by_mouse_takes_the_place_of_the_old_one(editor: Editor) -> None:
    editor.connect(editor.socket("noise", "noise", "source"), editor.socket("image", "latents", "target"))
    expect(editor.link("noise.noise", "image.latents")).to_have_count(1)
    expect(editor.link("denoise.latents", "image.latents")).to_have_count(0)
    editor.press("Control+z")
    expect(editor.link("denoise.latents", "image.latents")).to_have_count(1)
    editor.press("Control+y")
    expect(editor.link("noise.noise", "image.latents")).to_have_count(1)


def test_a_link_into_empty_space_offers_what_fits_and_links_it(pictures: Editor, server: Running) -> None:
    pictures.drag(pictures.socket("larger", "output", "source"), 700, 560)
    offers = pictures.palette.get_by_role("option").locator(".offer-title")
    expect(offers.first).to_be_visible()
    types = {node["short_name"]: node for node in server.ask("/api/v1/nodes").json["nodes"]}
    offered = [types[name] for name in offers.all_text_contents() if name in types]
    assert len(offered) > 5
    assert [node["short_name"] for node in offered if not takes(server, node, "larger")] == []
    assert "init_noise" not in offers.all_text_contents()
    expect(pictures.palette.get_by_role("combobox")).to_be_focused()
    pictures.page.keyboard.type("edges")
    expect(offers.first).to_have_text("edges")
    pictures.press("Enter")
    expect(pictures.node("edges")).to_be_visible()
    expect(pictures.link("larger.output", "edges.image")).to_have_count(1)
    pictures.drag(pictures.socket("picture", "path", "target"), 300, 560)
    expect(pictures.palette.get_by_role("combobox")).to_have_attribute("placeholder", "Nodes that give Path…")


def takes(server: Running, node: Any, source: str) -> bool:
    """Whether the checker lets one of a node's inputs take what another node of the file gives."""
    return any(accepted(server, node["short_name"], port, source) for port in node["inputs"])


def accepted(server: Running, node: str, port: str, source: str) -> bool:
    return any(checked(server, node, port, link) for link in ({"from": source}, [{"from": source}]))


def checked(server: Running, node: str, port: str, link: Any) -> bool:
    new = {"type": node, "inputs": {port: link}}
    text = json.dumps({**PICTURES, "nodes": {**PICTURES["nodes"], "new": new}})
    answer = server.ask("/api/v1/check", {"workflow": "pictures", "files": {"pictures.json": text}}).json
    return all((one["node"], one["port"]) != ("new", port) for one in answer["problems"])


def test_the_palette_finds_by_name_type_and_documentation(pictures: Editor) -> None:
    pictures.page.locator(".react-flow__pane").dblclick(position={"x": 500, "y": 560})
    search = pictures.palette.get_by_role("combobox")
    expect(search).to_be_focused()
    first = pictures.palette.get_by_role("option").first
    expect(first).not_to_contain_text("Ctrl+")
    search.fill("grow_m")
    expect(first).to_contain_text("grow_mask")
    search.fill("NoisePred")
    expect(pictures.palette.get_by_role("option", name="classifier_free_guidance")).to_be_visible()
    search.fill("Gaussian")
    expect(pictures.palette.get_by_role("option", name="blur_mask")).to_be_visible()
    search.fill("blur_mask")
    expect(pictures.palette.locator(".about-doc")).not_to_be_empty()
    pictures.shot("palette")
    first.click()
    expect(pictures.node("blur_mask")).to_be_visible()
    x, y = pictures.place("blur_mask")
    assert abs(x - 500) < 60, "it stands where the double click was"
    assert abs(y - 560 - 46) < 120


def test_the_palette_by_keys_adds_into_view_and_performs_commands(pictures: Editor) -> None:
    pictures.search("load mask")
    expect(pictures.palette.get_by_role("option").first).to_contain_text("load_mask")
    pictures.press("ArrowDown", "ArrowUp", "Enter")
    expect(pictures.node("load_mask")).to_be_in_viewport()
    expect(pictures.panel.get_by_role("heading", name="load_mask")).to_be_visible()
    pictures.search("keyboard shortcuts")
    expect(pictures.palette.get_by_role("option").first).to_contain_text("Keyboard shortcuts")
    pictures.press("Enter")
    expect(pictures.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def zoom(editor: Editor) -> int:
    return int(editor.page.locator(".tool-zoom").inner_text().rstrip("%"))


MAPPED = """(map) => [...map.querySelectorAll("path[fill]")]
  .flatMap((path) => path.getAttribute("d").match(/M/g)).length"""
"""How many nodes the mini-map shows: one path for each colour, with a rectangle for each node."""


def test_zoom_fit_and_mini_map(pictures: Editor) -> None:
    page = pictures.page
    start = zoom(pictures)
    pictures.tool("+").click()
    expect(page.locator(".tool-zoom")).not_to_have_text(f"{start}%")
    pictures.until(lambda: zoom(pictures) > start)
    page.locator(".react-flow__pane").hover()
    page.mouse.wheel(0, -2000)
    expect(page.locator(".tool-zoom")).to_have_text("250%")
    expect(pictures.node("picture")).to_have_count(0)
    pictures.tool("Fit").click()
    for name in PICTURES["nodes"]:
        expect(pictures.node(name)).to_be_in_viewport(ratio=0.99)
    map_ = page.get_by_role("img", name="Mini-map")
    expect(map_).to_be_visible()
    assert map_.evaluate(MAPPED) == 6, "each node is in the map"
    x, _ = pictures.place("larger")
    box = map_.bounding_box()
    assert box is not None
    pictures.drag(map_, box["x"] + box["width"] / 2 - 10, box["y"] + box["height"] / 2)
    pictures.until(lambda: pictures.place("larger")[0] > x)  # the mini-map moved the view to the left
    before = zoom(pictures)
    page.mouse.wheel(0, -200)
    pictures.until(lambda: zoom(pictures) > before)  # over the map, too


def test_lay_out_leaves_no_node_over_another_and_is_undone(pictures: Editor) -> None:
    pictures.drag(pictures.title("size"), *[one + 12 for one in pictures.place("small")])
    assert pictures.state(OVERLAP)
    moved = pictures.file()["layout"]["positions"]["size"]
    style = pictures.node("size").get_attribute("style")
    pictures.tool("Lay out").click()
    expect(pictures.node("size")).not_to_have_attribute("style", str(style))
    assert not pictures.state(OVERLAP)
    assert pictures.file()["layout"]["positions"]["size"] != moved
    pictures.press("Control+z")
    assert pictures.file()["layout"]["positions"]["size"] == moved
    pictures.press("Control+z")
    assert pictures.file() == PICTURES


OVERLAP = """() => {
  const boxes = [...document.querySelectorAll(".react-flow__node")].map((node) => node.getBoundingClientRect());
  return boxes.some((a, at) => boxes.slice(at + 1).some((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
}"""
"""Whether a node lies over another one."""


def test_several_are_selected_aligned_moved_and_removed(pictures: Editor) -> None:
    pictures.title("picture").click()
    pictures.title("small").click(modifiers=["ControlOrMeta"])
    expect(selected(pictures)).to_have_count(2)
    pictures.press("Alt+Shift+ArrowUp")
    positions = pictures.file()["layout"]["positions"]
    assert positions["small"][1] == positions["picture"][1] == 0
    x, y = pictures.place("small")
    pictures.drag(pictures.title("picture"), x, y + 120)
    after = pictures.file()["layout"]["positions"]
    shifts = [[after[one][axis] - positions[one][axis] for axis in (0, 1)] for one in ("picture", "small", "size")]
    assert shifts[0] == shifts[1] != [0, 0] == shifts[2]
    pictures.press("Control+z", "Control+z")
    assert pictures.file() == PICTURES


def selected(editor: Editor) -> Locator:
    return editor.page.locator(".react-flow__node.selected")


def test_a_box_drawn_with_shift_selects_what_it_touches(pictures: Editor) -> None:
    page = pictures.page
    x, y = pictures.place("small")
    page.keyboard.down("Shift")
    page.mouse.move(x - 12, y - 12)
    page.mouse.down()
    right, below = pictures.place("larger")
    page.mouse.move(right + 30, below + 200, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(selected(pictures)).to_have_count(2)
    pictures.press("Delete")
    expect(pictures.node("small")).to_have_count(0)
    expect(pictures.link("larger.output", "size.image")).to_have_count(0)
    pictures.press("Control+z")
    expect(pictures.link("larger.output", "size.image")).to_have_count(1)
    assert pictures.file() == PICTURES


def test_copy_paste_and_duplicate(pictures: Editor) -> None:
    pictures.title("small").click()
    pictures.title("larger").click(modifiers=["ControlOrMeta"])
    pictures.press("Control+c")
    pictures.until(lambda: pictures.page.evaluate("() => navigator.clipboard.readText()").startswith("{"))
    copied = json.loads(pictures.page.evaluate("() => navigator.clipboard.readText()"))
    assert copied["nodes"] == {name: PICTURES["nodes"][name] for name in ("small", "larger")}
    pictures.page.mouse.move(500, 500)
    pictures.press("Control+v")
    expect(pictures.link("small_2.output", "larger_2.image")).to_have_count(1)
    expect(pictures.link("picture.output", "small_2.image")).to_have_count(1)
    expect(selected(pictures)).to_have_count(2)
    pictures.press("Control+d")
    expect(pictures.link("small_3.output", "larger_3.image")).to_have_count(1)
    pictures.press("Control+z", "Control+z")
    assert pictures.file() == PICTURES


def test_copies_go_to_another_window(pictures: Editor, context: BrowserContext) -> None:
    pictures.title("small").click()
    pictures.press("Control+c")
    other = Editor(context.new_page(), pictures.url).start("/#inpaint")
    other.page.locator(".react-flow__pane").click(position={"x": 20, "y": 20})
    other.press("Control+v")
    expect(other.node("small")).to_be_visible()
    assert other.file()["nodes"]["small"]["type"] == "resize_image"


def shows_image(editor: Editor, width: int, height: int) -> None:
    """Wait until the outputs show a picture of this size."""
    picture = editor.node("@outputs").get_by_alt_text("The output image")
    expect(picture).to_be_visible(timeout=RUN_MILLISECONDS)
    expect(picture).to_have_js_property("naturalWidth", width)
    expect(picture).to_have_js_property("naturalHeight", height)


def test_mute_and_bypass_are_marked_and_obeyed_by_a_run(pictures: Editor, server: Running) -> None:
    pictures.title("larger").click()
    pictures.press("Control+b")
    expect(pictures.node("larger").get_by_text("bypassed", exact=True)).to_be_visible()
    pictures.title("size").click()
    pictures.press("Control+m")
    expect(pictures.node("size").get_by_text("muted", exact=True)).to_be_visible()
    job = pictures.ran()
    shows_image(pictures, 64, 32)
    assert set(server.ask(f"/api/v1/jobs/{job}").json["result"]) == {"image"}
    nodes = pictures.file()["nodes"]
    assert (nodes["larger"]["bypass"], nodes["size"]["mute"]) == (True, True)
    pictures.title("size").click()
    pictures.panel.get_by_label("Mute").uncheck()
    pictures.title("larger").click()
    pictures.press("Control+b")
    job = pictures.ran()
    assert set(server.ask(f"/api/v1/jobs/{job}").json["result"]) == {"image", "width"}
    shows_image(pictures, 128, 64)
    assert pictures.file() == PICTURES


def test_notes_frames_and_collapse(pictures: Editor) -> None:
    page = pictures.page
    page.locator(".react-flow__pane").click(button="right", position={"x": 420, "y": 560})
    page.get_by_role("menuitem", name="Add a note").click()
    page.get_by_role("textbox", name="Note").fill("Twice as large.")
    pictures.title("small").click()
    pictures.title("larger").click(modifiers=["ControlOrMeta"])
    pictures.press("Control+g")
    page.get_by_role("dialog", name="Title of the frame").get_by_role("textbox").fill("Sizes")
    pictures.press("Enter")
    frame = page.locator(".react-flow__node-frame")
    expect(frame).to_contain_text("Sizes")
    before = pictures.file()["layout"]
    assert [note["text"] for note in before["notes"].values()] == ["Twice as large."]
    box = frame.locator(".frame-title").bounding_box()
    assert box is not None
    pictures.drag(frame.locator(".frame-title"), box["x"] + 10, box["y"] - 80)
    after = pictures.file()["layout"]["positions"]
    assert after["larger"][1] < before["positions"]["larger"][1]
    assert after["small"][1] < before["positions"]["small"][1]
    assert after["size"] == before["positions"]["size"], "what is not in the frame stays"
    frame.locator(".frame-head").click()
    pictures.button("Colour green").click()
    (made,) = pictures.file()["layout"]["frames"].values()
    assert (made["title"], made["color"]) == ("Sizes", "green")
    pictures.title("size").click()
    height = pictures.node("size").bounding_box()
    pictures.press("Alt+c")
    expect(pictures.node("size").get_by_text("width")).to_have_count(0)
    expect(pictures.link("larger.output", "size.image")).to_have_count(1)
    smaller = pictures.node("size").bounding_box()
    assert height
    assert smaller
    assert smaller["height"] < height["height"]
    assert pictures.file()["layout"]["collapsed"] == ["size"]
    pictures.shot("notes-frames")


def crumbs(editor: Editor) -> Locator:
    return editor.page.get_by_role("navigation", name="Levels").get_by_role("listitem")


def test_a_loop_opens_in_place_with_its_carry_and_item_ports(editor: Editor) -> None:
    editor.start("/#learn_loop")
    editor.title("loop").dblclick()
    expect(crumbs(editor)).to_have_count(2)
    expect(crumbs(editor).nth(1)).to_contain_text("The denoising loop")
    expect(editor.socket("@inputs", "carry.latents", "source")).to_be_visible()
    expect(editor.socket("@inputs", "each.timestep", "source")).to_be_visible()
    expect(editor.link("@inputs.carry.latents", "scaled.latents")).to_have_count(1)
    expect(editor.node("@outputs").get_by_text("carried").first).to_be_visible()
    editor.shot("loop-body")
    crumbs(editor).first.get_by_role("button").click()
    expect(editor.node("loop")).to_be_visible()
    expect(crumbs(editor)).to_have_count(0)


def test_a_sub_workflow_opens_in_place_to_its_loop(editor: Editor) -> None:
    editor.button("Open The denoising loop").click()
    expect(crumbs(editor)).to_have_count(2)
    expect(crumbs(editor).last).to_contain_text("denoise.json")
    editor.title("loop").dblclick()
    expect(crumbs(editor)).to_have_count(3)
    expect(editor.node("step")).to_be_visible()
    editor.press("Alt+ArrowUp")
    expect(crumbs(editor)).to_have_count(2)
    expect(editor.node("loop")).to_be_visible()
    editor.page.go_back()
    expect(editor.node("step")).to_be_visible()
    editor.page.go_back()
    editor.page.go_back()
    expect(editor.node("image")).to_be_visible()
    expect(crumbs(editor)).to_have_count(0)


def test_a_map_opens_in_place(editor: Editor) -> None:
    editor.start("/#sampler_comparison")
    map_ = editor.page.locator(".react-flow__node:has(.kind-map)").first
    map_.locator(".node-title").dblclick()
    expect(crumbs(editor)).to_have_count(2)
    expect(crumbs(editor).last).to_contain_text("map")
    expect(editor.node("@inputs").get_by_text("each").first).to_be_visible()


def test_a_selection_becomes_a_sub_workflow_and_comes_back(own_editor: Editor, own_server: Running) -> None:
    editor = own_editor
    editor.import_text("pictures", PICTURES)
    editor.title("small").click()
    editor.title("larger").click(modifiers=["ControlOrMeta"])
    editor.press("Control+Shift+g")
    editor.page.get_by_label("Name of the new workflow").fill("twice")
    editor.press("Enter")
    expect(editor.message("twice is saved")).to_be_visible()
    made = own_server.ask("/api/v1/workflows/twice").json
    assert set(made["nodes"]) == {"small", "larger"}
    file = editor.file()
    assert file["nodes"]["twice"]["path"] == "twice.json"
    assert "larger" not in file["nodes"]
    editor.ran()
    shows_image(editor, 128, 64)
    editor.title("twice").click(button="right")
    editor.page.get_by_role("menuitem", name="Put the nodes of the sub-workflow here instead").click()
    expect(editor.node("larger")).to_be_visible()
    file = editor.file()
    assert file["nodes"] == PICTURES["nodes"]
    assert file["outputs"] == PICTURES["outputs"]
    assert (Path(own_server.data) / "workflows" / "twice.json").exists(), "the file stays for others"
