"""Draws a scene with Pillow, larger than asked for, and reduces it: smooth edges at any size."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from distillvlm.data.scenes.backgrounds import draw_background
from distillvlm.data.scenes.layout import Scene, Thing
from distillvlm.data.scenes.lexicon import CATEGORIES, COLOURS
from distillvlm.data.scenes.shapes import SHAPES
from distillvlm.data.scenes.shapes.pen import Pen

SUPERSAMPLING = 3
_OUTLINE = 0.011  # of the picture's shorter side
_SHADOW = (10, 10, 40, 80)


def draw_scene(scene: Scene, size: tuple[int, int]) -> Image.Image:
    """size: (height, width) in pixels; other than square it stretches the scene. Returns RGB."""
    height, width = (side * SUPERSAMPLING for side in size)
    canvas = Image.new("RGB", (width, height))
    draw_background(canvas, scene.background, scene.random("background"))
    for thing in sorted(scene.things, key=lambda thing: thing.box[3]):  # the nearest stands lowest
        _draw_thing(canvas, thing)
    picture = canvas.reduce(SUPERSAMPLING)
    return picture.filter(ImageFilter.GaussianBlur(scene.blur * min(size))) if scene.blur else picture


def _draw_thing(canvas: Image.Image, thing: Thing) -> None:
    x1, x2 = (round(share * canvas.width) for share in (thing.box[0], thing.box[2]))
    y1, y2 = (round(share * canvas.height) for share in (thing.box[1], thing.box[3]))
    if CATEGORIES[thing.category].zone == "ground":
        flat = (x2 - x1) * 0.07
        ImageDraw.Draw(canvas, "RGBA").ellipse((x1, y2 - flat, x2, y2 + flat), _SHADOW)
    line_width = max(1, round(_OUTLINE * min(canvas.size)))
    pen = Pen((max(2, x2 - x1), max(2, y2 - y1)), COLOURS[thing.colour], line_width)
    SHAPES[thing.category](pen)
    layer = pen.finished(thing.pattern)
    canvas.paste(ImageOps.mirror(layer) if thing.mirrored else layer, (x1, y1), layer_mask(layer, thing))


def layer_mask(layer: Image.Image, thing: Thing) -> Image.Image:
    alpha = layer.getchannel("A")
    return ImageOps.mirror(alpha) if thing.mirrored else alpha
