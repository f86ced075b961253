"""Things of a house: each touches all four sides of its box."""

from __future__ import annotations

from distillvlm.data.scenes.shapes.pen import CREAM, DARK, GLOW, METAL, WOOD, Pen


def box(pen: Pen) -> None:
    pen.polygon([(0, 0.24), (0.24, 0), (1, 0), (0.76, 0.24)], pen.shade(-0.4))
    pen.polygon([(0.76, 0.24), (1, 0), (1, 0.76), (0.76, 1)], pen.shade(0.35))
    pen.rectangle((0, 0.24, 0.76, 1))


def cup(pen: Pen) -> None:
    pen.arc((0.56, 0.2, 1, 0.78), 270, 90, pen.outline, 0.12)
    pen.arc((0.585, 0.23, 0.97, 0.75), 270, 90, pen.colour, 0.065)
    pen.polygon([(0, 0.1), (0.78, 0.1), (0.68, 1), (0.1, 1)])
    pen.ellipse((0, 0, 0.78, 0.2), pen.shade(-0.4))
    pen.ellipse((0.1, 0.05, 0.68, 0.16), (88, 52, 32))


def bottle(pen: Pen) -> None:
    pen.rectangle((0.34, 0, 0.66, 0.1), WOOD)
    pen.polygon([(0.36, 0.08), (0.64, 0.08), (0.66, 0.26), (1, 0.42), (1, 1), (0, 1), (0, 0.42), (0.34, 0.26)])
    pen.rectangle((0, 0.54, 1, 0.8), CREAM)


def lamp(pen: Pen) -> None:
    pen.rectangle((0.44, 0.48, 0.56, 0.94), METAL)
    pen.rectangle((0.2, 0.9, 0.8, 1), METAL)
    pen.polygon([(0.24, 0), (0.76, 0), (1, 0.54), (0, 0.54)])


def chair(pen: Pen) -> None:
    for x in (0, 0.88):
        pen.rectangle((x, 0.5, x + 0.12, 1), pen.shade(0.4))
    pen.rectangle((0.02, 0, 0.98, 0.5), radius=0.08)
    pen.rectangle((0, 0.5, 1, 0.66))


def table(pen: Pen) -> None:
    for x in (0.06, 0.86):
        pen.rectangle((x, 0.2, x + 0.08, 1), pen.shade(0.4))
    pen.rectangle((0, 0, 1, 0.26))


def candle(pen: Pen) -> None:
    pen.ellipse((0.3, 0, 0.7, 0.26), GLOW)
    pen.line([(0.5, 0.14), (0.5, 0.3)], DARK, 0.06)
    pen.rectangle((0.12, 0.28, 0.88, 1))
    pen.ellipse((0, 0.88, 1, 1), METAL)


def cake(pen: Pen) -> None:
    for x in (0.28, 0.5, 0.72):
        pen.rectangle((x - 0.025, 0.1, x + 0.025, 0.34), CREAM)
        pen.ellipse((x - 0.035, 0, x + 0.035, 0.14), GLOW)
    pen.rectangle((0.2, 0.3, 0.8, 0.62), radius=0.06)
    pen.rectangle((0.06, 0.58, 0.94, 0.96), radius=0.06)
    pen.ellipse((0, 0.88, 1, 1), METAL)


def book(pen: Pen) -> None:
    pen.rectangle((0.06, 0.06, 1, 1), CREAM)
    pen.rectangle((0, 0, 0.94, 0.94), radius=0.04)
    pen.rectangle((0, 0, 0.14, 0.94), pen.shade(0.4))
    pen.rectangle((0.3, 0.2, 0.78, 0.38), CREAM)


def clock(pen: Pen) -> None:
    pen.ellipse((0, 0, 1, 1))
    pen.ellipse((0.16, 0.16, 0.84, 0.84), (255, 255, 255))
    pen.line([(0.5, 0.5), (0.5, 0.26)], DARK, 0.06)
    pen.line([(0.5, 0.5), (0.68, 0.58)], DARK, 0.06)


def hat(pen: Pen) -> None:
    pen.ellipse((0, 0.66, 1, 1), pen.shade(0.2))
    pen.polygon([(0.22, 0.8), (0.26, 0.04), (0.5, 0), (0.74, 0.04), (0.78, 0.8), (0.5, 0.88)])
    pen.polygon([(0.23, 0.6), (0.5, 0.66), (0.77, 0.6), (0.78, 0.8), (0.5, 0.87), (0.22, 0.8)], DARK)
