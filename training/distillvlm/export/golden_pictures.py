"""Pictures drawn by code, in every coding that decoders of the two languages might read differently."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from distillvlm.export.golden_profiles import display_p3_profile, press_profile

ORIENTATION_TAG = 0x0112  # EXIF 2.32
# How a camera stores an upright picture under each EXIF orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def golden_pictures() -> dict[str, bytes]:
    """File name -> content."""
    picture = landscape(96, 72, seed=0)
    pictures = {f"exif-{turn}.jpg": _turned(picture, turn) for turn in range(1, 9)}
    return pictures | {
        "large.jpg": _encoded(landscape(1600, 1200, seed=1), "JPEG", quality=80),
        "small.png": _encoded(landscape(30, 20, seed=2), "PNG"),
        "grey.png": _encoded(picture.convert("L"), "PNG"),
        "palette.png": _encoded(picture.quantize(32), "PNG"),
        "transparent.png": _encoded(_fading(picture), "PNG"),
        "grey-16-bit.png": _encoded(Image.fromarray(_sixteen_bits(picture)[..., 0]), "PNG"),
        "rgb-16-bit.png": _sixteen_bit_png(_sixteen_bits(picture)),
        "rgb-16-bit-display-p3.png": _sixteen_bit_png(_sixteen_bits(picture), display_p3_profile()),
        "cmyk-untagged.jpg": _encoded(picture.convert("CMYK"), "JPEG", quality=90),
        "cmyk.jpg": _encoded(picture.convert("CMYK"), "JPEG", quality=90, icc_profile=press_profile()),
        "display-p3.jpg": _encoded(picture, "JPEG", quality=90, icc_profile=display_p3_profile()),
        "animated.webp": _animated([landscape(96, 72, seed) for seed in (3, 4, 5)]),
    }


def landscape(width: int, height: int, seed: int) -> Image.Image:
    """Sky, ground, a sun and boxes: smooth areas, sharp edges and fine grain, nothing symmetric."""
    generator = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height)[:, None, None]
    top, bottom = generator.integers(0, 256, (2, 3))
    canvas = Image.fromarray((top + (bottom - top) * rows).repeat(width, axis=1).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for shape in (draw.ellipse, draw.rectangle, draw.rectangle, draw.ellipse, draw.rectangle):
        _draw_one(shape, generator, width, height)
    grain = generator.integers(-6, 7, (max(1, height // 8), max(1, width // 8)))
    scale = (-(-height // grain.shape[0]), -(-width // grain.shape[1]))
    grain = np.kron(grain, np.ones(scale, int))[:height, :width, None]
    return Image.fromarray((np.asarray(canvas) + grain).clip(0, 255).astype(np.uint8))


def _draw_one(shape: Callable[..., None], generator: np.random.Generator, width: int, height: int) -> None:
    x, y, w, h = generator.uniform((0, 0, 0.15, 0.15), (0.8, 0.7, 0.5, 0.6))
    colour = tuple(int(level) for level in generator.integers(0, 256, 3))
    shape((x * width, y * height, (x + w) * width, (y + h) * height), fill=colour)


def _turned(picture: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    stored = picture if orientation == 1 else picture.transpose(STORED[orientation])
    return _encoded(stored, "JPEG", quality=90, exif=exif)


def _fading(picture: Image.Image) -> Image.Image:
    """Transparent at the left, opaque at the right."""
    alpha = np.linspace(0, 255, picture.width).astype(np.uint8)[None].repeat(picture.height, axis=0)
    faded = picture.copy()
    faded.putalpha(Image.fromarray(alpha))
    return faded


def _sixteen_bits(picture: Image.Image) -> np.ndarray:
    """uint16 [H, W, 3] whose low byte is not its high byte."""
    levels = np.asarray(picture).astype(np.uint16)
    return levels << 8 | (levels * 7 + 50) % 256


def _sixteen_bit_png(levels: np.ndarray, profile: bytes | None = None) -> bytes:
    """PNG of colour type 2 and depth 16, which Pillow does not write. levels: uint16 [H, W, 3]."""
    height, width = levels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    unfiltered = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(unfiltered, 9)), (b"IEND", b"")]
    if profile is not None:
        chunks.insert(1, (b"iCCP", b"profile\0\0" + zlib.compress(profile, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def _animated(frames: list[Image.Image]) -> bytes:
    return _encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
