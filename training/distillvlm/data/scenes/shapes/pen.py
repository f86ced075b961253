"""Draws one thing on a layer of its own; a shape says where, in shares of the thing's box (0-1, y down)."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

WOOD: Colour = (139, 94, 60)
DARK: Colour = (52, 52, 60)
GLASS: Colour = (190, 226, 240)
CREAM: Colour = (250, 240, 215)
LEAF: Colour = (62, 140, 66)
METAL: Colour = (176, 182, 190)
GLOW: Colour = (255, 236, 150)

_PATTERN_PERIODS = 5  # along the longer side of a thing
_SHADE = 62  # of 255, at a thing's lower edge


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`share` (0-1) of the other colour in the first."""
    red, green, blue = (round(mine + (theirs - mine) * share) for mine, theirs in zip(colour, other, strict=True))
    return red, green, blue


class Pen:
    """A layer as large as the thing's box, and the part of it that carries the thing's own colour and pattern."""

    def __init__(self, size: tuple[int, int], colour: Colour, line_width: int) -> None:
        """size: (width, height) in pixels."""
        self.colour = colour
        self.outline = mix(colour, (20, 20, 30), 0.62)
        self._line_width = line_width
        self._layer = Image.new("RGBA", size, (*colour, 0))
        self._body = Image.new("L", size, 0)
        self._on_layer, self._on_body = ImageDraw.Draw(self._layer), ImageDraw.Draw(self._body)

    def shade(self, share: float) -> Colour:
        """The thing's colour, darker by `share`; below 0 lighter. It carries no pattern."""
        return mix(self.colour, (20, 20, 30), share) if share >= 0 else mix(self.colour, (255, 255, 255), -share)

    def polygon(self, points: Sequence[Point], fill: Colour | None = None) -> None:
        """fill: None for the thing's own colour; the same for the other strokes."""
        corners = [self._point(point) for point in points]
        colour, line = self._inks(fill)
        self._on_layer.polygon(corners, colour, line, self._line_width)
        self._on_body.polygon(corners, self._belongs(fill), 0, self._line_width)

    def ellipse(self, box: Box, fill: Colour | None = None) -> None:
        colour, line = self._inks(fill)
        self._on_layer.ellipse(self._box(box), colour, line, self._line_width)
        self._on_body.ellipse(self._box(box), self._belongs(fill), 0, self._line_width)

    def chord(self, box: Box, start: int, end: int, fill: Colour | None = None) -> None:
        """The part of an ellipse from `start` to `end`, in degrees clockwise from three o'clock."""
        colour, line = self._inks(fill)
        self._on_layer.chord(self._box(box), start, end, colour, line, self._line_width)
        self._on_body.chord(self._box(box), start, end, self._belongs(fill), 0, self._line_width)

    def rectangle(self, box: Box, fill: Colour | None = None, radius: float = 0.0) -> None:
        """radius: of the corners, in shares of the thing's height."""
        colour, line = self._inks(fill)
        pixels = round(radius * self._layer.height)
        self._on_layer.rounded_rectangle(self._box(box), pixels, colour, line, self._line_width)
        self._on_body.rounded_rectangle(self._box(box), pixels, self._belongs(fill), 0, self._line_width)

    def line(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """width: in shares of the thing's width."""
        pixels = max(self._line_width, round(width * self._layer.width))
        self._on_layer.line([self._point(point) for point in points], (*fill, 255), pixels, joint="curve")

    def arc(self, box: Box, start: int, end: int, fill: Colour, width: float) -> None:
        pixels = max(self._line_width, round(width * self._layer.width))
        self._on_layer.arc(self._box(box), start, end, (*fill, 255), pixels)

    def finished(self, pattern: str) -> Image.Image:
        """The RGBA layer with its pattern ("plain", "striped", "dotted", "checkered") and shaded towards the ground."""
        if pattern != "plain":
            bright = sum(self.colour) > 3 * 125
            accent = self.shade(0.42) if bright else self.shade(-0.5)
            mask = ImageChops.multiply(_pattern_mask(pattern, self._layer.size), self._body)
            self._layer.paste((*accent, 255), mask=mask)
        darkness = Image.linear_gradient("L").resize(self._layer.size).point([n * _SHADE // 255 for n in range(256)])
        alpha = self._layer.getchannel("A")
        self._layer.paste((0, 0, 20, 255), mask=ImageChops.multiply(darkness, alpha))
        self._layer.putalpha(alpha)
        return self._layer

    def _inks(self, fill: Colour | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        colour = self.colour if fill is None else fill
        return (*colour, 255), (*(self.outline if fill is None else mix(fill, (20, 20, 30), 0.62)), 255)

    @staticmethod
    def _belongs(fill: Colour | None) -> int:
        return 255 if fill is None else 0

    def _point(self, point: Point) -> Point:
        return point[0] * (self._layer.width - 1), point[1] * (self._layer.height - 1)

    def _box(self, box: Box) -> Box:
        return (*self._point(box[:2]), *self._point(box[2:]))


def _pattern_mask(pattern: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    step = max(2, max(size) // _PATTERN_PERIODS)
    if pattern == "striped":
        for x in range(-height, width, step):
            draw.polygon([(x, height), (x + height, 0), (x + height + step // 2, 0), (x + step // 2, height)], 255)
        return mask
    half, radius = step // 2, step * 0.24
    for row, y in enumerate(range(0, height + step, half if pattern == "checkered" else round(step * 0.6))):
        for x in range(-(row % 2) * half, width + step, step):
            if pattern == "checkered":
                draw.rectangle((x, y, x + half - 1, y + half - 1), 255)
            elif pattern == "dotted":
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
            else:
                raise ValueError(f"pattern: expected plain, striped, dotted or checkered, received {pattern!r}")
    return mask
