"""Things that stand outside: each touches all four sides of its box."""

from __future__ import annotations

from distillvlm.data.scenes.shapes.pen import CREAM, DARK, GLASS, GLOW, LEAF, METAL, WOOD, Pen


def ball(pen: Pen) -> None:
    pen.ellipse((0, 0, 1, 1))
    pen.ellipse((0.2, 0.14, 0.42, 0.32), pen.shade(-0.6))


def tree(pen: Pen) -> None:
    pen.rectangle((0.42, 0.6, 0.58, 1), WOOD)
    pen.ellipse((0, 0.3, 0.56, 0.74))
    pen.ellipse((0.44, 0.3, 1, 0.74))
    pen.ellipse((0.16, 0, 0.84, 0.56))


def house(pen: Pen) -> None:
    pen.rectangle((0.72, 0.06, 0.84, 0.4), pen.shade(0.5))
    pen.rectangle((0.1, 0.42, 0.9, 1))
    pen.polygon([(0.5, 0), (1, 0.46), (0, 0.46)], pen.shade(0.35))
    pen.rectangle((0.42, 0.66, 0.6, 1), WOOD)
    pen.rectangle((0.18, 0.56, 0.34, 0.74), GLASS)
    pen.rectangle((0.68, 0.56, 0.84, 0.74), GLASS)


def car(pen: Pen) -> None:
    pen.polygon([(0.2, 0.46), (0.32, 0.02), (0.68, 0), (0.84, 0.46)])
    pen.polygon([(0.28, 0.44), (0.36, 0.12), (0.49, 0.12), (0.49, 0.44)], GLASS)
    pen.polygon([(0.54, 0.44), (0.54, 0.12), (0.66, 0.12), (0.75, 0.44)], GLASS)
    pen.rectangle((0, 0.4, 1, 0.82), radius=0.14)
    pen.rectangle((0.92, 0.48, 1, 0.6), GLOW)
    for x in (0.12, 0.64):
        pen.ellipse((x, 0.58, x + 0.24, 1), DARK)
        pen.ellipse((x + 0.07, 0.7, x + 0.17, 0.88), METAL)


def bus(pen: Pen) -> None:
    pen.rectangle((0, 0, 1, 0.86), radius=0.1)
    for x in (0.06, 0.28, 0.5):
        pen.rectangle((x, 0.14, x + 0.18, 0.44), GLASS)
    pen.rectangle((0.74, 0.14, 0.92, 0.82), GLASS)
    for x in (0.12, 0.5):
        pen.ellipse((x, 0.66, x + 0.19, 1), DARK)
        pen.ellipse((x + 0.06, 0.77, x + 0.13, 0.89), METAL)


def boat(pen: Pen) -> None:
    pen.line([(0.5, 0.02), (0.5, 0.72)], WOOD, 0.04)
    pen.polygon([(0.54, 0), (0.54, 0.62), (0.94, 0.62)], CREAM)
    pen.polygon([(0.46, 0.14), (0.46, 0.62), (0.12, 0.62)], CREAM)
    pen.polygon([(0, 0.7), (1, 0.7), (0.82, 1), (0.16, 1)])


def tent(pen: Pen) -> None:
    pen.polygon([(0.5, 0), (1, 1), (0, 1)])
    pen.polygon([(0.5, 0.28), (0.68, 1), (0.32, 1)], DARK)


def rocket(pen: Pen) -> None:
    pen.polygon([(0.5, 1), (0.34, 0.8), (0.66, 0.8)], GLOW)
    pen.polygon([(0.3, 0.52), (0, 0.86), (0.3, 0.82)], pen.shade(0.35))
    pen.polygon([(0.7, 0.52), (1, 0.86), (0.7, 0.82)], pen.shade(0.35))
    pen.polygon([(0.5, 0), (0.68, 0.16), (0.74, 0.4), (0.7, 0.84), (0.3, 0.84), (0.26, 0.4), (0.32, 0.16)])
    pen.ellipse((0.38, 0.26, 0.62, 0.42), GLASS)


def flower(pen: Pen) -> None:
    pen.line([(0.5, 0.5), (0.5, 0.99)], LEAF, 0.08)
    pen.ellipse((0.5, 0.72, 0.86, 0.86), LEAF)
    for x, y in ((0.34, 0), (0.68, 0.11), (0.56, 0.34), (0.12, 0.34), (0, 0.11)):
        pen.ellipse((x, y, x + 0.32, y + 0.26))
    pen.ellipse((0.34, 0.19, 0.66, 0.43), GLOW)


def mushroom(pen: Pen) -> None:
    pen.rectangle((0.34, 0.4, 0.66, 1), CREAM, radius=0.1)
    pen.chord((0, 0, 1, 1.1), 180, 360)


def umbrella(pen: Pen) -> None:
    pen.line([(0.5, 0.02), (0.5, 0.9)], WOOD, 0.05)
    pen.arc((0.5, 0.8, 0.68, 1), 0, 180, WOOD, 0.05)
    pen.chord((0, 0, 1, 0.98), 180, 360)
    for x in (0, 0.34, 0.68):
        pen.chord((x, 0.4, x + 0.32, 0.58), 180, 360, pen.shade(0.35))


def fish(pen: Pen) -> None:
    pen.polygon([(0.7, 0.5), (1, 0.06), (1, 0.94)], pen.shade(0.3))
    pen.polygon([(0.3, 0.2), (0.44, 0), (0.6, 0.2)], pen.shade(0.3))
    pen.ellipse((0, 0.1, 0.82, 1))
    pen.ellipse((0.13, 0.36, 0.24, 0.54), (255, 255, 255))
    pen.ellipse((0.15, 0.42, 0.21, 0.52), DARK)


def duck(pen: Pen) -> None:
    pen.polygon([(0.18, 0.24), (0, 0.32), (0.18, 0.4)], (240, 150, 40))
    pen.polygon([(0.8, 0.6), (1, 0.44), (0.96, 0.8)])
    pen.ellipse((0.16, 0.42, 0.98, 1))
    pen.ellipse((0.1, 0, 0.54, 0.56))
    pen.ellipse((0.44, 0.56, 0.82, 0.84), pen.shade(0.25))
    pen.ellipse((0.22, 0.16, 0.31, 0.28), DARK)


def apple(pen: Pen) -> None:
    pen.line([(0.5, 0.24), (0.56, 0.02)], WOOD, 0.06)
    pen.ellipse((0.56, 0, 0.88, 0.16), LEAF)
    pen.ellipse((0, 0.16, 1, 1))
    pen.arc((0.34, 0.1, 0.66, 0.26), 10, 170, pen.outline, 0.02)
    pen.ellipse((0.18, 0.3, 0.32, 0.46), pen.shade(-0.6))
