"""Pictures: what is drawn is where the annotations say it is, in the colour they say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from distillvlm.data.scenes.backgrounds import draw_background
from distillvlm.data.scenes.difficulty import SMOKE, STUDY
from distillvlm.data.scenes.drawing import draw_scene
from distillvlm.data.scenes.layout import Scene, Thing, make_scene
from distillvlm.data.scenes.lexicon import BACKGROUNDS, CATEGORIES, COLOURS
from distillvlm.data.scenes.shapes import SHAPES
from distillvlm.data.scenes.shapes.pen import Pen


def scene_with(*things: Thing, blur: float = 0.0) -> Scene:
    return Scene("test", "grass", things, blur)


def thing(category: str = "ball", colour: str = "red", pattern: str = "plain", mirrored: bool = False) -> Thing:
    return Thing(category, colour, "big", pattern, (0.25, 0.25, 0.75, 0.75), mirrored)


def test_every_category_has_a_shape_and_every_shape_a_category() -> None:
    assert set(SHAPES) == set(CATEGORIES)


@pytest.mark.parametrize("category", SHAPES)
def test_a_shape_fills_its_box_to_all_four_sides(category: str) -> None:
    aspect = CATEGORIES[category].aspect
    width, height = round(200 * min(1, aspect)), round(200 * min(1, 1 / aspect))
    pen = Pen((width, height), COLOURS["red"], 2)
    SHAPES[category](pen)
    left, top, right, bottom = pen.finished("plain").getbbox()
    assert max(left, top, width - right, height - bottom) <= 3


@pytest.mark.parametrize("category", SHAPES)
@pytest.mark.parametrize("colour", ["red", "blue"])
def test_a_good_part_of_a_thing_has_its_colour(category: str, colour: str) -> None:
    """A fifth of the drawn pixels is nearer to it than to any other colour word, shading and outline aside."""
    pen = Pen((120, 120), COLOURS[colour], 2)
    SHAPES[category](pen)
    layer = np.asarray(pen.finished("plain")).reshape(-1, 4)
    drawn = layer[layer[:, 3] == 255, :3].astype(float)
    palette = np.array(list(COLOURS.values()), float)
    nearest = ((drawn[:, None] - palette) ** 2).sum(-1).argmin(1)
    assert (nearest == list(COLOURS).index(colour)).mean() > 0.2


@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
def test_what_changes_when_a_thing_is_added_lies_in_its_box(size: tuple[int, int]) -> None:
    with_thing = np.asarray(draw_scene(scene_with(thing("box")), size)).astype(int)
    without = np.asarray(draw_scene(scene_with(), size)).astype(int)
    assert with_thing.shape == (*size, 3)
    rows, columns = np.nonzero(abs(with_thing - without).sum(-1) > 60)
    height, width = size
    assert (columns.min() / width, columns.max() / width) == pytest.approx((0.25, 0.75), abs=0.03)
    assert rows.min() / height == pytest.approx(0.25, abs=0.03)
    assert 0.72 < rows.max() / height < 0.84  # the shadow lies on the ground below


def test_what_stands_lower_hides_what_stands_behind_it() -> None:
    near = Thing("box", "red", "big", "plain", (0.3, 0.4, 0.7, 0.9), False)
    far = Thing("box", "blue", "big", "plain", (0.3, 0.2, 0.7, 0.7), False)
    for things in ((near, far), (far, near)):
        red, _, blue = np.asarray(draw_scene(scene_with(*things), (96, 96)))[60, 40].tolist()
        assert red > blue


def test_a_mirrored_thing_is_the_other_way_round() -> None:
    plain = draw_scene(scene_with(thing("cup")), (96, 96)).crop((24, 24, 72, 72))
    mirrored = draw_scene(scene_with(thing("cup", mirrored=True)), (96, 96)).crop((24, 24, 72, 72))
    handle, other_side = np.asarray(plain)[:, 36:].astype(int), np.asarray(mirrored)[:, :12][:, ::-1].astype(int)
    assert abs(handle - other_side).mean() < 12
    assert abs(handle - np.asarray(mirrored)[:, 36:]).mean() > 25


@pytest.mark.parametrize("pattern", ["striped", "dotted", "checkered"])
def test_a_pattern_shows_on_dark_and_on_bright_things(pattern: str) -> None:
    for colour in ("black", "white"):
        plain = np.asarray(draw_scene(scene_with(thing(colour=colour)), (96, 96))).astype(int)
        patterned = np.asarray(draw_scene(scene_with(thing(colour=colour, pattern=pattern)), (96, 96)))
        assert (abs(plain - patterned).sum(-1) > 100).sum() > 200


def test_a_blurred_scene_has_weaker_edges() -> None:
    sharp, blurred = (np.asarray(draw_scene(scene_with(thing(), blur=blur), (96, 96))) for blur in (0.0, 0.02))
    assert abs(np.diff(blurred.astype(int))).mean() < abs(np.diff(sharp.astype(int))).mean()


def test_backgrounds_differ_and_unknown_ones_are_an_error() -> None:
    pictures = set()
    for name in BACKGROUNDS:
        canvas = Image.new("RGB", (40, 40))
        draw_background(canvas, name, make_scene(1, "train", 0, SMOKE).random("background"))
        pictures.add(canvas.tobytes())
    assert len(pictures) == len(BACKGROUNDS)
    with pytest.raises(ValueError, match="received 'moon'"):
        draw_background(Image.new("RGB", (8, 8)), "moon", make_scene(1, "train", 0, SMOKE).random("background"))


def test_an_unknown_pattern_is_an_error() -> None:
    with pytest.raises(ValueError, match="received 'wavy'"):
        draw_scene(scene_with(thing(pattern="wavy")), (32, 32))


@pytest.mark.parametrize("difficulty", [SMOKE, STUDY], ids=lambda difficulty: difficulty.name)
def test_a_scene_is_the_same_whenever_it_is_drawn(difficulty: object) -> None:
    first, again = (make_scene(3, "train", 5, difficulty) for _ in range(2))
    assert first == again
    assert draw_scene(first, (48, 48)).tobytes() == draw_scene(again, (48, 48)).tobytes()
    assert make_scene(4, "train", 5, difficulty) != first
