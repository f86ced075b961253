"""Places, painted over the whole canvas: sky or wall down to the horizon, then ground."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from distillvlm.data.scenes.layout import HORIZON
from distillvlm.data.scenes.shapes.pen import Colour, mix

_WHITE: Colour = (255, 255, 255)


def draw_background(canvas: Image.Image, name: str, random: Random) -> None:
    """
    Raises:
        ValueError: an unknown background.
    """
    if name not in _PAINTERS:
        raise ValueError(f"background: expected one of {', '.join(_PAINTERS)}, received {name!r}")
    _PAINTERS[name](canvas, random)


def _grass(canvas: Image.Image, random: Random) -> None:
    _daylight(canvas, random, (120, 190, 240), (214, 238, 250))
    _gradient(canvas, HORIZON, 1, (150, 204, 110), (98, 166, 74))
    _strokes(canvas, random, (76, 142, 60), slant=0.01, length=0.028)


def _beach(canvas: Image.Image, random: Random) -> None:
    _daylight(canvas, random, (110, 196, 236), (222, 242, 248))
    _gradient(canvas, HORIZON - 0.08, HORIZON + 0.06, (40, 140, 190), (96, 196, 210))
    _gradient(canvas, HORIZON + 0.06, 1, (246, 226, 170), (226, 196, 132))
    _speckles(canvas, random, (204, 172, 112), 60, HORIZON + 0.1)


def _snow(canvas: Image.Image, random: Random) -> None:
    _gradient(canvas, 0, HORIZON, (150, 176, 204), (206, 220, 234))
    _hills(canvas, random, (222, 232, 242))
    _gradient(canvas, HORIZON, 1, (250, 252, 255), (214, 226, 242))
    _speckles(canvas, random, _WHITE, 70, 0.0)


def _room(canvas: Image.Image, random: Random) -> None:
    wall = random.choice(((236, 216, 190), (206, 220, 206), (222, 208, 226)))
    _gradient(canvas, 0, HORIZON + 0.04, mix(wall, _WHITE, 0.2), wall)
    _gradient(canvas, HORIZON + 0.04, 1, (190, 142, 96), (158, 110, 70))
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    for column in range(0, 10, 2):
        left = column * width // 10
        draw.rectangle((left, 0, left + width // 10, (HORIZON + 0.02) * height), mix(wall, _WHITE, 0.35))
    draw.rectangle((0, (HORIZON + 0.02) * height, width, (HORIZON + 0.05) * height), (246, 240, 230))
    for row in range(1, 5):
        y = round((HORIZON + 0.05 + 0.11 * row) * height)
        draw.line((0, y, width, y), (134, 92, 58), max(1, height // 200))


def _night(canvas: Image.Image, random: Random) -> None:
    _gradient(canvas, 0, HORIZON, (14, 18, 54), (44, 54, 108))
    _speckles(canvas, random, (255, 250, 210), 45, 0.0, HORIZON)
    x, radius = random.uniform(0.1, 0.9) * canvas.width, 0.05 * min(canvas.size)
    y = 0.1 * canvas.height
    ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), (244, 240, 214))
    _hills(canvas, random, (30, 40, 76))
    _gradient(canvas, HORIZON, 1, (40, 58, 70), (22, 34, 46))


def _water(canvas: Image.Image, random: Random) -> None:
    _daylight(canvas, random, (140, 200, 240), (226, 240, 248))
    _gradient(canvas, HORIZON - 0.02, 1, (70, 160, 206), (24, 96, 160))
    draw = ImageDraw.Draw(canvas)
    for _ in range(26):
        x, y = random.random() * canvas.width, random.uniform(HORIZON + 0.03, 1) * canvas.height
        wide, high = 0.06 * canvas.width, 0.012 * canvas.height
        draw.arc((x, y, x + wide, y + high), 0, 180, (170, 216, 238), max(1, canvas.height // 190))


def _road(canvas: Image.Image, random: Random) -> None:
    _daylight(canvas, random, (160, 196, 224), (228, 236, 240))
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    left = 0.0
    while left < 1:
        wide, top = random.uniform(0.1, 0.2), random.uniform(0.22, 0.4)
        colour = random.choice(((178, 160, 150), (158, 166, 180), (190, 178, 152)))
        draw.rectangle((left * width, top * height, (left + wide) * width, HORIZON * height), colour)
        left += wide
    _gradient(canvas, HORIZON, 1, (122, 124, 130), (92, 94, 100))
    for number in range(4):
        start = (0.04 + number * 0.26) * width
        draw.rectangle((start, 0.76 * height, start + 0.14 * width, 0.785 * height), (240, 236, 210))


def _desert(canvas: Image.Image, random: Random) -> None:
    _gradient(canvas, 0, HORIZON, (250, 190, 120), (254, 230, 180))
    _hills(canvas, random, (214, 142, 88))
    _gradient(canvas, HORIZON, 1, (228, 164, 100), (196, 124, 70))
    _strokes(canvas, random, (180, 110, 62), slant=0.06, length=0.008)


def _daylight(canvas: Image.Image, random: Random, top: Colour, bottom: Colour) -> None:
    """A sky with clouds."""
    _gradient(canvas, 0, HORIZON, top, bottom)
    draw = ImageDraw.Draw(canvas)
    for _ in range(random.randrange(1, 4)):
        x, y, size = random.random(), random.uniform(0.04, 0.22), random.uniform(0.05, 0.09)
        for shift, scale in ((-0.9, 0.7), (0.0, 1.0), (0.9, 0.75)):
            centre, radius = (x + shift * size) * canvas.width, size * scale * canvas.width
            middle = y * canvas.height
            draw.ellipse(
                (centre - radius, middle - radius * 0.5, centre + radius, middle + radius * 0.5),
                mix(top, _WHITE, 0.75),
            )


def _gradient(canvas: Image.Image, start: float, end: float, top: Colour, bottom: Colour) -> None:
    """A band over the whole width, from `start` to `end` in shares of the height."""
    first, last = round(start * canvas.height), round(end * canvas.height)
    size = (canvas.width, last - first)
    weights = Image.linear_gradient("L").resize(size)
    canvas.paste(Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), weights), (0, first))


def _hills(canvas: Image.Image, random: Random, colour: Colour) -> None:
    draw = ImageDraw.Draw(canvas)
    for centre in (0.1, 0.45, 0.85):
        middle = (centre + random.uniform(-0.1, 0.1)) * canvas.width
        wide, high = random.uniform(0.25, 0.4) * canvas.width, random.uniform(0.06, 0.12) * canvas.height
        horizon = HORIZON * canvas.height
        draw.ellipse((middle - wide, horizon - high, middle + wide, horizon + high), colour)


def _speckles(canvas: Image.Image, random: Random, colour: Colour, count: int, top: float, bottom: float = 1.0) -> None:
    draw = ImageDraw.Draw(canvas)
    for _ in range(count):
        x, y = random.random() * canvas.width, random.uniform(top, bottom) * canvas.height
        radius = random.uniform(0.002, 0.005) * canvas.height
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _strokes(canvas: Image.Image, random: Random, colour: Colour, slant: float, length: float) -> None:
    draw = ImageDraw.Draw(canvas)
    for _ in range(60):
        x, y = random.random() * canvas.width, random.uniform(HORIZON + 0.03, 1) * canvas.height
        end = (x + slant * canvas.width, y - length * canvas.height)
        draw.line((x, y, *end), colour, max(1, canvas.height // 190))


_PAINTERS: dict[str, Callable[[Image.Image, Random], None]] = {
    "grass": _grass,
    "beach": _beach,
    "snow": _snow,
    "room": _room,
    "night": _night,
    "water": _water,
    "road": _road,
    "desert": _desert,
}
