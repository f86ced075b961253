"""A picture file, or its bytes, as upright sRGB pixels of the model's size.

The server does the same with sharp (`autoOrient`, `flatten` on white, `toColourspace("srgb")`,
`resize(..., { fit: "fill", kernel: "linear" })`); golden files hold the two together.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

WHITE = (255, 255, 255)
# libvips, under sharp, first shrinks by whole numbers while the result stays this many times too large.
REDUCING_GAP = 2.0
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def load_pixels(source: Path | bytes, size: tuple[int, int]) -> np.ndarray:
    """Decodes a picture, turns it upright and squashes it (the aspect is not kept).

    size: (height, width).
    Returns uint8 [height, width, 3], sRGB; transparency lies on white; of an animation the first frame.
    Raises:
        ValueError: the picture can't be read or decoded; names the file.
    """
    height, width = size
    with _open(source) as image:
        try:
            upright = upright_srgb(image)
        except _DECODING_ERRORS as error:
            raise ValueError(f"Cannot decode {_name(source)}: {error}") from error
    return np.asarray(_squashed(upright, width, height))


def upright_size(source: Path | bytes) -> tuple[int, int]:
    """(height, width) in pixels of the upright picture, from the file's header alone.

    Raises:
        ValueError: as `load_pixels`.
    """
    with _open(source) as image:
        sideways = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if sideways else (image.height, image.width)


def upright_srgb(image: Image.Image) -> Image.Image:
    """An opened picture as upright RGB of its own size."""
    profile = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(_eight_bits(image))
    alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
    colours = _to_srgb(upright, profile)
    if alpha is None:
        return colours
    flattened = Image.new("RGB", upright.size, WHITE)
    flattened.paste(colours, mask=alpha)
    return flattened


def _squashed(image: Image.Image, width: int, height: int) -> Image.Image:
    """Shrinks with a triangle filter, then enlarges what is too small: libvips's two steps.

    Pillow's own enlarging would lie off by a part of a pixel: libvips reads output column x at column
    x * w / width - 0.5 of the input.
    """
    smaller = (min(width, image.width), min(height, image.height))
    shrunk = image.resize(smaller, Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    if shrunk.size == (width, height):
        return shrunk
    across, down = shrunk.width / width, shrunk.height / height
    # `transform` maps centres of pixels: half an output pixel is taken back.
    to_input = (across, 0.0, -across / 2, 0.0, down, -down / 2)
    return shrunk.transform((width, height), Image.Transform.AFFINE, to_input, Image.Resampling.BILINEAR)


def _open(source: Path | bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except UnidentifiedImageError as error:
        raise ValueError(f"Cannot decode {_name(source)}: not a picture of a known format") from error
    except _DECODING_ERRORS as error:
        raise ValueError(f"Cannot decode {_name(source)}: {error}") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit greys when it converts them; the high byte is meant."""
    if not image.mode.startswith("I"):
        return image
    high_byte = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    high_byte.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return high_byte


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB through the embedded profile; a profile that does not fit the pixels is ignored, as sharp does."""
    without_alpha = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L", "1": "L"}
    colours = image.convert(without_alpha[image.mode]) if image.mode in without_alpha else image
    if profile and colours.mode in ("L", "RGB", "CMYK"):
        try:
            converted = ImageCms.profileToProfile(
                colours, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except ImageCms.PyCMSError:
            converted = None
        if converted is not None:
            return converted
    return colours.convert("RGB")


def _name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else "the picture"
