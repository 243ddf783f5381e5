"""PNG files that say how they were made, read back by Pillow and by the standard library alone."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from graphcore import StepgraphError
from graphcore.files import provenance
from graphcore.files.workflow import Map, SubWorkflow, Workflow, WorkflowInput, Written
from nodes.types import Image

RECORD = {
    "stepgraph": 1,
    "workflow": "txt2img.json",
    "files": {"txt2img.json": '{"stepgraph": 1}'},
    "inputs": {
        "prompt": "ein roter Apfel, 一个红苹果", "negative_prompt": "blurry", "seed": 7, "steps": 20,
        "scheduler": "ddim", "guidance_scale": 4.0, "model": "builtin:emoji",
    },
    "keys": {"image": "00ff"},
}  # fmt: skip


def exported(folder: Path, record=RECORD, batch: int = 1) -> list[Path]:
    return Image(torch.rand(batch, 3, 4, 6)).export(folder / "image", record)


def test_levels_are_rounded_as_diffusers_rounds_them(tmp_path):
    pixels = torch.cat([torch.linspace(0, 1, 16 * 33), torch.arange(240) / 510])[: 16 * 48].reshape(1, 1, 16, 48)
    pixels = pixels.repeat(1, 3, 1, 1)
    [path] = Image(pixels).export(tmp_path / "image", {})
    expected = VaeImageProcessor.numpy_to_pil(VaeImageProcessor.pt_to_numpy(pixels))[0]
    assert np.array_equal(np.asarray(Pillow.open(path)), np.asarray(expected))


def test_what_is_no_level_is_made_one(tmp_path):
    pixels = torch.tensor([float("nan"), -1.0, 2.0, float("inf")]).reshape(1, 1, 1, 4).repeat(1, 3, 1, 1)
    [path] = Image(pixels).export(tmp_path / "image", {})
    assert np.asarray(Pillow.open(path))[0, :, 0].tolist() == [0, 0, 255, 255]


def test_a_batch_has_numbered_files_and_no_other_file_is_left(tmp_path):
    assert [path.name for path in exported(tmp_path)] == ["image.png"]
    paths = exported(tmp_path, batch=3)
    assert [path.name for path in paths] == ["image_00.png", "image_01.png", "image_02.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.png", *(path.name for path in paths)]


def test_a_name_with_a_dot_is_kept(tmp_path):
    [path] = Image(torch.rand(1, 3, 2, 2)).export(tmp_path / "v1.5", {})
    assert path.name == "v1.5.png"


def test_the_record_comes_back_word_for_word(tmp_path):
    for number, path in enumerate(exported(tmp_path, batch=2)):
        assert provenance.read(path) == {**RECORD, "picture": number}
        assert "stepgraph" in Pillow.open(path).text


def test_galleries_find_the_settings_they_know(tmp_path):
    second = exported(tmp_path, batch=2)[1]
    assert Pillow.open(second).text["parameters"] == (
        "ein roter Apfel, 一个红苹果\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: ddim, CFG scale: 4.0, Seed: 8, Size: 6x4, Model: builtin:emoji"
    )
    [plain] = exported(tmp_path, {**RECORD, "inputs": {"seed": 1}})
    assert "parameters" not in Pillow.open(plain).text


def test_without_provenance_there_is_no_metadata(tmp_path):
    [path] = exported(tmp_path, {})
    assert Pillow.open(path).text == {}
    with pytest.raises(StepgraphError, match="holds no workflow"):
        provenance.read(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    [path] = exported(tmp_path)
    before = path.read_bytes()

    def fails(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        exported(tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["image.png"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_reading_a_damaged_file_never_raises_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(exported(folder)[0].read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = folder / "damaged.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(StepgraphError):
        assert provenance.read(path) == {**RECORD, "picture": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a PNG"), (b"\xff\xd8\xff\xe0 jpeg", "not a PNG"), (b"\x89PNG\r\n\x1a\n", "its end is missing")],
)
def test_files_that_are_no_png(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(StepgraphError, match=message):
        provenance.read(path)
    with pytest.raises(StepgraphError, match="cannot read"):
        provenance.read(tmp_path / "missing.png")
    with pytest.raises(StepgraphError, match="cannot read"):
        provenance.read(tmp_path)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (*chunks, (b"IEND", b"")):
        parts.append(struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def itxt(payload: bytes, compressed: int = 1, method: int = 0) -> tuple[bytes, bytes]:
    return b"iTXt", b"stepgraph\0" + bytes([compressed, method]) + b"\0\0" + payload


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (itxt(zlib.compress(bytes(2**20 + 1))), "more than 1,048,576 bytes"),
        (itxt(zlib.compress(b"{}")[:-3]), "too early"),
        (itxt(b"no zlib"), "damaged"),
        (itxt(b"{}", method=3), "unknown compression"),
        (itxt(b"[" * 100_000, compressed=0), "damaged"),
        (itxt(b"\xff\xfe", compressed=0), "damaged"),
        (itxt(b"[]", compressed=0), "the form None"),
        (itxt(b'{"stepgraph": 2}', compressed=0), "the form 2"),
        ((b"iTXt", b"stepgraph\0"), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "chunk",
)
def test_records_that_are_not_to_be_trusted(tmp_path, monkeypatch, chunk, message):
    monkeypatch.setattr(provenance, "MAX_BYTES", 2**20)
    path = tmp_path / "file.png"
    path.write_bytes(png_with((b"IDAT", b"x"), chunk))
    with pytest.raises(StepgraphError, match=message):
        provenance.read(path)


def test_an_uncompressed_record_is_read_too(tmp_path):
    path = tmp_path / "file.png"
    path.write_bytes(png_with((b"iTXt", b"Title\0\0\0\0\0hello"), itxt(b'{"stepgraph": 1}', compressed=0)))
    assert provenance.read(path) == {"stepgraph": 1}


def test_a_picture_of_another_program_has_no_record(tmp_path):
    info = PngInfo()
    info.add_itxt("workflow", "{}")
    Pillow.new("RGB", (2, 2)).save(tmp_path / "other.png", pnginfo=info)
    with pytest.raises(StepgraphError, match="holds no workflow"):
        provenance.read(tmp_path / "other.png")


def workflow_of(path: Path, text: str, nodes=None) -> Workflow:
    return Workflow(path, "", "", {}, nodes or {}, {}, text)


def test_a_record_restores_every_file_of_the_workflow(tmp_path):
    inner = workflow_of(tmp_path / "parts" / "inner.json", "inner")
    middle = workflow_of(tmp_path / "parts" / "middle.json", "middle", {"i": SubWorkflow("i", "inner.json", {}, inner)})
    body = {"m": SubWorkflow("m", "parts/middle.json", {}, middle)}
    sweep = Map("sweep", {}, {"x": Written([1])}, "zip", body, {})
    made = provenance.record(workflow_of(tmp_path / "main.json", "main", {"sweep": sweep}), {"seed": 1})
    assert made["inputs"] == {"seed": 1}
    assert made["environment"] == provenance.environment()
    main = provenance.restore(made, tmp_path / "again")
    assert main == tmp_path / "again" / "main.json"
    for name, text in {"main": "main", "parts/middle": "middle", "parts/inner": "inner"}.items():
        assert (tmp_path / "again" / f"{name}.json").read_text() == text


def test_a_recorded_path_is_found_from_anywhere(tmp_path, monkeypatch):
    inputs = {name: WorkflowInput(name, "path") for name in ("beside", "here", "home", "model", "gone")}
    inputs["text"] = WorkflowInput("text", "string")
    workflow = Workflow(tmp_path / "flows" / "main.json", "", "", inputs, {}, {}, "")
    for path in ("flows/a.png", "work/b.png", "home/c.png"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    values = {
        "beside": "a.png", "here": "b.png", "home": "../home/c.png", "model": "builtin:emoji", "gone": "d.png",
        "text": "b.png",
    }  # fmt: skip
    found = provenance.record(workflow, values)["inputs"]
    assert found == values | {"here": str(tmp_path / "work" / "b.png"), "home": "~/c.png"}


def test_a_workflow_made_in_memory_has_a_record(tmp_path):
    made = provenance.record(Workflow(None, "", "", {}, {}, {}, "text"), {})
    assert provenance.restore(made, tmp_path).read_text() == "text"


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "a/../../evil.json", "..\\evil.json", "C:evil.json"])
def test_a_record_writes_nothing_outside_the_folder(tmp_path, name):
    with pytest.raises(StepgraphError, match="outside"):
        provenance.restore({"workflow": name, "files": {name: "text"}}, tmp_path / "folder")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "record", [{}, {"files": [], "workflow": "a"}, {"files": {}, "workflow": "a"}, {"files": {"a": 1}, "workflow": "a"}]
)
def test_a_record_that_is_not_whole_is_refused(tmp_path, record):
    with pytest.raises(StepgraphError, match="the record"):
        provenance.restore(record, tmp_path)


def test_the_environment_says_what_is_installed():
    found = provenance.environment()
    assert found["torch"] == torch.__version__
    assert {"python", "platform", "diffusers", "transformers", "stepgraph"} <= set(found)


def test_differences_between_environments_in_words():
    then = {"python": "3.11.7", "torch": "2.12.0", "gone": "1"}
    now = {"python": "3.11.7", "torch": "2.13.0", "new": "2"}
    assert provenance.differences(then, then) == []
    assert provenance.differences(then, now) == [
        "torch: 2.12.0 then, 2.13.0 now", "gone: 1 then, unknown now", "new: unknown then, 2 now",
    ]  # fmt: skip
