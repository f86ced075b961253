"""`load_pixels` over what cameras and editors write; expected colours are worked out by hand."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distillvlm.data import pixels as pixel_files
from distillvlm.data.pixels import load_pixels, upright_size

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)

# How a camera stores an upright picture under each EXIF orientation (EXIF 2.32, tag 0x0112).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quarters() -> Image.Image:
    """48 x 32: red top left, green top right, blue bottom left, yellow bottom right."""
    image = Image.new("RGB", (48, 32))
    for colour, corner in ((RED, (0, 0)), (GREEN, (24, 0)), (BLUE, (0, 16)), (YELLOW, (24, 16))):
        image.paste(colour, (*corner, corner[0] + 24, corner[1] + 16))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(int(value) for value in pixels[row, column]) for row in rows for column in columns]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    turn = STORED[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif, quality=100)
    pixels = load_pixels(data, (16, 16))
    assert upright_size(data) == (32, 48)
    for seen, expected in zip(corners(pixels), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert seen == pytest.approx(expected, abs=8)  # lossy coding of saturated colours


@pytest.mark.parametrize("size", [(16, 24), (100, 30), (7, 200)])
def test_the_result_has_the_size_asked_for_whatever_the_aspect(size: tuple[int, int]) -> None:
    pixels = load_pixels(encoded(quarters(), "PNG"), size)
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8
    assert corners(pixels) == [RED, GREEN, BLUE, YELLOW]


def test_shrinking_by_whole_numbers_averages() -> None:
    stripes = np.zeros((4, 12, 3), np.uint8)
    stripes[:, ::2] = 200
    pixels = load_pixels(encoded(Image.fromarray(stripes), "PNG"), (1, 1))
    assert pixels.reshape(3).tolist() == pytest.approx([100, 100, 100], abs=1)


def test_enlarging_samples_where_libvips_does() -> None:
    """libvips 8.18 through sharp 0.35, `resize(6, 1, { fit: "fill", kernel: "linear" })` of 0 90 180."""
    ramp = np.array([[0, 90, 180]], np.uint8).repeat(3).reshape(1, 3, 3)
    pixels = load_pixels(encoded(Image.fromarray(ramp), "PNG"), (1, 6))
    assert pixels[0, :, 0].tolist() == [0, 0, 45, 90, 135, 180]


def test_grey_and_one_bit_become_three_equal_channels() -> None:
    grey = load_pixels(encoded(Image.new("L", (8, 8), 77), "PNG"), (4, 4))
    assert (grey == 77).all()
    assert (load_pixels(encoded(Image.new("1", (8, 8), 1), "PNG"), (4, 4)) == 255).all()


def test_a_palette_becomes_its_colours() -> None:
    data = encoded(quarters().quantize(4), "PNG")
    assert corners(load_pixels(data, (16, 24))) == [RED, GREEN, BLUE, YELLOW]


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("RGBA", (8, 8), (200, 0, 0, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (200, 0, 0, 51)), {}, (244, 204, 204)),  # 0.2 x + 0.8 x 255
        (Image.new("LA", (8, 8), (100, 51)), {}, (224, 224, 224)),
        (Image.new("RGB", (8, 8), RED), {"transparency": RED}, (255, 255, 255)),
        (Image.new("RGB", (8, 8), RED), {"transparency": BLUE}, RED),
        (Image.new("RGB", (8, 8), RED).quantize(2), {"transparency": 0}, (255, 255, 255)),
    ],
    ids=["clear", "a fifth", "grey with alpha", "key colour", "another key colour", "palette"],
)
def test_transparency_lies_on_white(image: Image.Image, options: dict[str, object], expected: tuple[int, ...]) -> None:
    pixels = load_pixels(encoded(image, "PNG", **options), (4, 4))
    assert pixels[2, 2].tolist() == pytest.approx(expected, abs=1)


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(1, 64).repeat(8, axis=0)
    pixels = load_pixels(encoded(Image.fromarray(ramp), "PNG"), (8, 64))
    assert np.array_equal(pixels[0, :, 0], ramp[0] >> 8)


def test_sixteen_bit_grey_with_a_key_colour_is_no_error() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert (load_pixels(encoded(image, "PNG", transparency=3), (4, 4)) == 0x80).all()


def test_cmyk_becomes_rgb() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = load_pixels(encoded(ink, "JPEG", quality=95), (4, 4))[2, 2].tolist()
    assert red > 200
    assert max(green, blue) < 60


def display_p3_profile() -> bytes:
    """A minimal ICC v2 matrix profile: P3 primaries adapted to D50, gamma 2.2."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(fixed(value) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + b"\0" * 78,
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_a_wide_gamut_profile_is_converted_to_srgb() -> None:
    """P3 (200, 100, 50): linear 0.586, 0.127, 0.028 (gamma 2.2); by the matrices linear sRGB 0.689, 0.108,
    0.009, coded 216, 92, 24."""
    data = encoded(Image.new("RGB", (8, 8), (200, 100, 50)), "PNG", icc_profile=display_p3_profile())
    assert load_pixels(data, (4, 4))[2, 2].tolist() == pytest.approx([216, 92, 24], abs=2)


def test_a_broken_or_unfitting_profile_is_ignored() -> None:
    colour = Image.new("RGB", (8, 8), (200, 100, 50))
    grey = Image.new("L", (8, 8), 77)
    assert load_pixels(encoded(colour, "PNG", icc_profile=b"no profile"), (4, 4))[2, 2].tolist() == [200, 100, 50]
    assert (load_pixels(encoded(grey, "PNG", icc_profile=display_p3_profile()), (4, 4)) == 77).all()


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert load_pixels(data, (4, 4))[2, 2].tolist() == list(RED)


@pytest.mark.parametrize("content", [b"", b"not a picture", encoded(quarters(), "JPEG")[:400]])
def test_what_cannot_be_decoded_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        load_pixels(path, (4, 4))


def test_a_name_in_brackets_is_a_name(tmp_path: Path) -> None:
    """libvips would read options in it."""
    path = tmp_path / "beach [page=1].png"
    Image.new("RGB", (30, 20), (10, 20, 30)).save(path)
    assert upright_size(path) == (20, 30)
    assert (load_pixels(path, (2, 2)) == (10, 20, 30)).all()


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.png"):
        load_pixels(tmp_path / "absent.png", (4, 4))


def test_a_picture_that_claims_too_many_pixels_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_files, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match=r"the picture.*48 x 32"):
        load_pixels(encoded(quarters(), "PNG"), (4, 4))
