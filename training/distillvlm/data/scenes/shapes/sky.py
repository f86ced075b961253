"""Things that fly or hang in the air: each touches all four sides of its box."""

from __future__ import annotations

from math import cos, pi, sin

from distillvlm.data.scenes.shapes.pen import DARK, WOOD, Pen


def star(pen: Pen) -> None:
    radii = (1.0, 0.45)
    corners = [(radii[n % 2] * sin(n * pi / 5), -radii[n % 2] * cos(n * pi / 5)) for n in range(10)]
    wide, low = sin(2 * pi / 5), cos(pi / 5)
    pen.polygon([((x + wide) / (2 * wide), (y + 1) / (1 + low)) for x, y in corners])


def kite(pen: Pen) -> None:
    pen.line([(0.5, 0.66), (0.62, 0.78), (0.46, 0.88), (0.58, 0.99)], DARK, 0.03)
    for y in (0.76, 0.86):
        pen.polygon([(0.4, y), (0.4, y + 0.08), (0.66, y), (0.66, y + 0.08)], pen.shade(0.35))
    pen.polygon([(0.5, 0), (1, 0.28), (0.5, 0.72), (0, 0.28)])
    pen.line([(0.5, 0), (0.5, 0.72)], pen.outline, 0.02)
    pen.line([(0, 0.28), (1, 0.28)], pen.outline, 0.02)


def balloon(pen: Pen) -> None:
    pen.line([(0.5, 0.7), (0.42, 0.82), (0.56, 0.9), (0.5, 0.99)], DARK, 0.03)
    pen.polygon([(0.5, 0.66), (0.6, 0.74), (0.4, 0.74)])
    pen.ellipse((0, 0, 1, 0.7))
    pen.ellipse((0.2, 0.1, 0.4, 0.24), pen.shade(-0.6))


def hot_air_balloon(pen: Pen) -> None:
    for x in (0.32, 0.68):
        pen.line([(x, 0.6), (0.5 + (x - 0.5) * 0.6, 0.86)], DARK, 0.02)
    pen.rectangle((0.38, 0.84, 0.62, 1), WOOD)
    pen.polygon([(0.1, 0.5), (0.9, 0.5), (0.64, 0.72), (0.36, 0.72)])
    pen.ellipse((0, 0, 1, 0.64))


def bird(pen: Pen) -> None:
    pen.polygon([(0.84, 0.34), (1, 0.42), (0.84, 0.5)], (240, 150, 40))
    pen.polygon([(0.24, 0.62), (0, 0.5), (0.04, 0.86)], pen.shade(0.3))
    pen.ellipse((0.14, 0.4, 0.74, 1))
    pen.ellipse((0.54, 0.2, 0.9, 0.66))
    pen.polygon([(0.3, 0.66), (0.2, 0), (0.6, 0.56)], pen.shade(0.3))
    pen.ellipse((0.72, 0.32, 0.79, 0.42), DARK)


def butterfly(pen: Pen) -> None:
    pen.ellipse((0, 0, 0.52, 0.62))
    pen.ellipse((0.48, 0, 1, 0.62))
    pen.ellipse((0.08, 0.46, 0.5, 1), pen.shade(0.25))
    pen.ellipse((0.5, 0.46, 0.92, 1), pen.shade(0.25))
    pen.ellipse((0.44, 0.16, 0.56, 0.92), DARK)
