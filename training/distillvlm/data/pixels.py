"""A picture file, or its bytes, as upright sRGB pixels of the model's size, by the decoder of the server.

sharp is libvips with JavaScript in front. Here the same release of libvips takes the steps of the server's
`decodePhoto` in sharp's order, so that model and server see the same picture; golden files hold the two together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips

from distillvlm.data.views import WHOLE

MAX_PIXELS = 100_000_000  # what claims more is a mistake or an attack
WHITE = 255.0
# Pictures are decoded side by side by their callers, and none is decoded twice.
pyvips.concurrency_set(1)
pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)


def load_pixels(
    source: Path | bytes, size: tuple[int, int], crop: tuple[float, float, float, float] = WHOLE
) -> np.ndarray:
    """Decodes a picture, turns it upright and squashes it (the aspect is not kept).

    size: (height, width). crop: the part that is kept, x1, y1, x2, y2 as shares of the upright picture.
    Returns uint8 [height, width, 3], sRGB; transparency lies on white; of an animation the first frame.
    Raises:
        ValueError: the picture can't be read or decoded, or claims more than `MAX_PIXELS`; names the file.
    """
    height, width = size
    image = _open(source)
    try:
        # The decoder can give its rows once and in order, which a turn does not take them in.
        upright = image.copy_memory().autorot()
        opaque = _cut(_on_white(_to_srgb_profile(upright)), crop)
        squashed = opaque.resize(width / opaque.width, vscale=height / opaque.height, kernel="linear")
        return squashed.colourspace("srgb").numpy()
    except pyvips.Error as error:
        raise _undecodable(source, error) from error


def upright_size(source: Path | bytes) -> tuple[int, int]:
    """(height, width) in pixels of the upright picture, from the file's header alone.

    Raises:
        ValueError: as `load_pixels`.
    """
    image = _open(source)
    sideways = image.get_typeof("orientation") != 0 and image.get("orientation") in (5, 6, 7, 8)
    return (image.width, image.height) if sideways else (image.height, image.width)


def _open(source: Path | bytes) -> pyvips.Image:
    """Reads the header; the whole file must be sound once its pixels are asked for."""
    try:
        if isinstance(source, bytes):
            image = pyvips.Image.new_from_buffer(source, "", access="sequential", fail_on="error")
        else:
            opened = pyvips.Source.new_from_file(str(source))  # `Image.new_from_file` reads options in a name
            image = pyvips.Image.new_from_source(opened, "", access="sequential", fail_on="error")
    except (OSError, pyvips.Error) as error:
        raise _undecodable(source, error) from error
    if image.width * image.height > MAX_PIXELS:
        raise _undecodable(source, f"it claims {image.width} x {image.height} pixels, {MAX_PIXELS} are the limit")
    return image


def _to_srgb_profile(image: pyvips.Image) -> pyvips.Image:
    """Through the embedded profile; one that is broken or does not fit the pixels is ignored.

    CMYK without a profile goes through libvips's own; 16 bits stay 16 bits.
    """
    # sharp's ways: a 16-bit grey keeps its numbers, and 16-bit colours come out in Display P3.
    target = "p3" if image.interpretation == "rgb16" else "srgb"
    if image.get_typeof("icc-profile-data") != 0 and image.interpretation != "grey16":
        try:
            depth = 16 if image.interpretation == "rgb16" else 8
            return image.icc_transform(target, embedded=True, depth=depth, intent="perceptual")
        except pyvips.Error:
            return image
    if image.interpretation == "cmyk":
        return image.icc_transform(target, input_profile="cmyk", intent="perceptual")
    return image


def _on_white(image: pyvips.Image) -> pyvips.Image:
    if not image.hasalpha():
        return image
    white = WHITE * 256 if image.interpretation in ("rgb16", "grey16") else WHITE  # as sharp has it
    return image.flatten(background=[white])


def _cut(image: pyvips.Image, crop: tuple[float, float, float, float]) -> pyvips.Image:
    if crop == WHOLE:
        return image
    left, top, right, bottom = (
        round(share * side) for share, side in zip(crop, (image.width, image.height) * 2, strict=True)
    )
    return image.crop(left, top, max(1, right - left), max(1, bottom - top))


def _undecodable(source: Path | bytes, error: object) -> ValueError:
    name = str(source) if isinstance(source, Path) else "the picture"
    return ValueError(f"Cannot decode {name}: {' '.join(str(error).split())}")
