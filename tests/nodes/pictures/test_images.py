"""Pictures in and out, against Pillow and diffusers."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from graphcore import InputError, StepgraphError
from graphcore.declare.node import declared
from graphcore.runtime import Runtime, _runtime
from nodes.pictures import grid, pixels
from nodes.pictures.images import count, image_grid, label, load_image, resize_image, save_image
from nodes.types import Image, LatentSpace

RGB = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)


def inferred(function, **arguments):
    return declared(function).infer(**arguments)


def values(image: Image) -> np.ndarray:
    """The picture as (height, width, 3) uint8."""
    return (image.pixels[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def saved(folder: Path, picture: Pillow.Image, suffix: str = "png", **options) -> Path:
    path = folder / f"picture.{suffix}"
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_give_the_pixels_of_the_file(tmp_path, suffix):
    path = saved(tmp_path, Pillow.fromarray(RGB), suffix, **({"lossless": True} if suffix == "webp" else {}))
    image = load_image(path)
    assert image.pixels.dtype == torch.float32
    assert image.pixels.shape == (1, 3, 7, 5)
    assert np.array_equal(values(image), RGB)
    assert torch.equal(image.pixels, VaeImageProcessor.numpy_to_pt(VaeImageProcessor.pil_to_numpy(Pillow.open(path))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture(tmp_path, orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Pillow.fromarray(RGB), exif=exif)
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    image = load_image(path)
    assert np.array_equal(values(image), turn(RGB))
    assert inferred(load_image, path=path).pixels.shape == tuple(image.pixels.shape)


def test_alpha_is_laid_over_white(tmp_path):
    alpha = np.linspace(0, 255, 35).round().astype(np.uint8).reshape(7, 5)
    path = saved(tmp_path, Pillow.fromarray(np.dstack([RGB, alpha])))
    share = alpha[..., None] / 255
    expected = RGB * share + 255 * (1 - share)
    assert np.abs(values(load_image(path)) - expected).max() <= 1
    assert np.array_equal(values(load_image(path))[0, 0], [255, 255, 255])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    picture = Pillow.fromarray(RGB).convert(mode)
    suffix = "png" if mode in ("1", "L", "LA", "P", "RGB", "RGBA") else "tiff"
    path = saved(tmp_path, picture, suffix)
    assert np.array_equal(values(load_image(path)), np.asarray(picture.convert("RGB")))


def test_a_palette_with_a_transparent_colour_shows_white(tmp_path):
    picture = Pillow.new("P", (2, 1), 1)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((0, 0), 0)
    path = saved(tmp_path, picture, transparency=0)
    assert values(load_image(path)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    path = saved(tmp_path, Pillow.fromarray(grey))
    assert values(load_image(path))[0, :, 0].tolist() == [0, 100, 255]


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "MAX_PIXELS", 34)
    path = saved(tmp_path, Pillow.fromarray(RGB))
    with pytest.raises(InputError, match="at most 34 pixels"):
        load_image(path)
    with pytest.raises(InputError, match="at most 34 pixels"):
        inferred(load_image, path=path)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_whatever_pillow_says_of_it(tmp_path, side):
    path = tmp_path / "bomb.pbm"
    path.write_bytes(b"P4 %d %d\n" % (side, side))
    with pytest.raises(InputError, match="64,000,000 pixels"):
        load_image(path)


def test_errors_name_the_file_and_what_is_wrong(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for path, message in [("text.png", "which is none"), ("missing.png", "no such file"), (".", "a folder")]:
        with pytest.raises(InputError, match=message) as caught:
            load_image(tmp_path / path)
        assert caught.value.port == "path"


def test_a_postscript_file_is_not_interpreted(tmp_path):
    path = tmp_path / "picture.eps"
    Pillow.fromarray(RGB).save(path)
    with pytest.raises(InputError, match="which is none"):
        load_image(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_input_error_and_nothing_else(tmp_path_factory, data):
    suffix = data.draw(st.sampled_from(["png", "jpeg", "gif", "tiff", "webp", "bmp"]))
    stream = io.BytesIO()
    Pillow.fromarray(RGB).save(stream, suffix)
    content = bytearray(stream.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(InputError):
        image = load_image(path)
        assert image.pixels.ndim == 4
        assert 0 <= image.pixels.min() <= image.pixels.max() <= 1


def test_the_fingerprint_is_the_content_not_the_name(tmp_path):
    first, second, third = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    Pillow.fromarray(RGB).save(first)
    second.write_bytes(first.read_bytes())
    Pillow.fromarray(255 - RGB).save(third)
    fingerprint = declared(load_image).fingerprint
    assert fingerprint(path=first) == fingerprint(path=second) != fingerprint(path=third)


def test_files_outside_the_roots_are_refused(tmp_path):
    path = saved(tmp_path, Pillow.fromarray(RGB))
    token = _runtime.set(Runtime(roots=(tmp_path / "other",)))
    try:
        for call in (load_image, declared(load_image).fingerprint):
            with pytest.raises(StepgraphError, match="outside"):
                call(path=path)
    finally:
        _runtime.reset(token)


@pytest.mark.parametrize(("width", "height"), [(3, 3), (16, 9), (5, 14), (64, 64)])
def test_resize_equals_the_image_processor_of_diffusers(width, height):
    picture = Pillow.fromarray(RGB)
    expected = VaeImageProcessor().resize(picture, height, width)
    image = Image(pixels.from_pictures([picture]))
    found = resize_image(image, width, height)
    assert np.array_equal(values(found), np.asarray(expected))
    assert inferred(resize_image, image=image, width=width, height=height).pixels.shape == tuple(found.pixels.shape)


def test_zero_takes_the_size_of_the_model_else_that_of_the_picture():
    image = Image(torch.rand(2, 3, 8, 6))
    space = LatentSpace(channels=4, downsampling=4, scaling_factor=1.0, sample_size=5)
    assert resize_image(image) is image
    for arguments, size in [
        ({"width": 12}, (8, 12)),
        ({"space": space}, (20, 20)),
        ({"space": space, "height": 7}, (7, 20)),
    ]:
        found = resize_image(image, **arguments)
        assert found.pixels.shape == (2, 3, *size)
        every = {"width": 0, "height": 0, **arguments}
        assert inferred(resize_image, image=image, **every).pixels.shape == (2, 3, *size)


def test_save_image_writes_below_the_output_folder_only(tmp_path):
    image = Image(torch.rand(2, 3, 4, 4))
    token = _runtime.set(Runtime(out=tmp_path / "out"))
    try:
        paths = save_image(image, "sweep/cat.png")
        assert paths == [str(tmp_path / "out" / "sweep" / f"cat_0{k}.png") for k in range(2)]
        assert np.array_equal(np.asarray(Pillow.open(paths[0])), values(image))
        for name in ("../cat", "/cat"):
            with pytest.raises(StepgraphError, match="leaves the output folder"):
                save_image(image, name)
    finally:
        _runtime.reset(token)
    with pytest.raises(StepgraphError, match="--out"):
        save_image(image)
    assert not declared(save_image).pure


def test_a_grid_holds_every_picture_unchanged_in_its_place():
    images = [Image(torch.rand(1, 3, 4, 6)) for _ in range(5)]
    sheet = image_grid(images, columns=2).pixels
    gap = grid.GAP
    assert sheet.shape == (1, 3, 3 * 4 + 4 * gap, 2 * 6 + 3 * gap)
    for number, image in enumerate(images):
        top, left = gap + number // 2 * (4 + gap), gap + number % 2 * (6 + gap)
        assert torch.equal(sheet[:, :, top : top + 4, left : left + 6], image.pixels)
        sheet[:, :, top : top + 4, left : left + 6] = 1
    assert (sheet == 1).all()


@given(st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_an_automatic_grid_is_about_square(number):
    width = image_grid([Image(torch.zeros(1, 3, 1, 1))] * number).pixels.shape[3]
    columns = (width - grid.GAP) // (1 + grid.GAP)
    assert (columns - 1) ** 2 < number <= columns**2


def test_a_grid_takes_batches_and_sizes_as_they_come():
    images = [Image(torch.zeros(2, 3, 4, 6)), Image(torch.zeros(1, 3, 10, 3))]
    sheet = image_grid(images, columns=3).pixels
    assert sheet.shape == (1, 3, 10 + 2 * grid.GAP, 6 + 6 + 3 + 4 * grid.GAP)
    assert int((sheet[0, 0] == 0).sum()) == 2 * 24 + 30


def test_labels_stand_above_their_pictures_and_never_on_them():
    picture = Image(torch.full((1, 3, 64, 64), 0.5))
    plain, labelled = image_grid([picture]), image_grid([picture], ["a label that needs\nmore than one line"])
    extra = labelled.pixels.shape[2] - plain.pixels.shape[2]
    assert extra > 10
    above = labelled.pixels[0, :, : grid.GAP + extra]
    assert (above < 0.4).any()
    assert int((labelled.pixels[0, 0] == 0.5).sum()) == 64 * 64


def test_a_label_of_any_length_and_script_is_drawn():
    picture = Image(torch.zeros(1, 3, 8, 8))
    sheet = image_grid([picture] * 3, ["long " * 500, "猫 🐱 \u0000 кот", "   "]).pixels
    assert max(sheet.shape[2:]) < 700


def test_the_grid_says_what_it_wants():
    with pytest.raises(InputError, match="at least one picture"):
        image_grid([])
    with pytest.raises(InputError, match="one label for each of the 1 images"):
        image_grid([Image(torch.zeros(1, 3, 1, 1))], ["a", "b"])


def test_small_text_nodes():
    assert label("step", 3) == "step 3"
    assert label("euler", 20, "steps") == "euler, 20 steps"
    assert count([1, "a"]) == 2


@pytest.mark.parametrize("function", [load_image, resize_image, image_grid])
def test_previews_are_small_png_pictures(function):
    preview = declared(function).preview(Image(torch.rand(2, 3, 300, 600)))
    assert Pillow.open(io.BytesIO(preview)).size == (256, 128)


@pytest.mark.parametrize("function", [load_image, resize_image, image_grid])
def test_infer_gets_along_with_nothing_known(function):
    assert inferred(function).pixels.shape[1] == 3
