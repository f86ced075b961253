"""A drawing for each category."""

from __future__ import annotations

from collections.abc import Callable

from distillvlm.data.scenes.shapes import household, outdoors, sky
from distillvlm.data.scenes.shapes.pen import Pen

SHAPES: dict[str, Callable[[Pen], None]] = {
    "apple": outdoors.apple,
    "ball": outdoors.ball,
    "balloon": sky.balloon,
    "bird": sky.bird,
    "boat": outdoors.boat,
    "book": household.book,
    "bottle": household.bottle,
    "box": household.box,
    "bus": outdoors.bus,
    "butterfly": sky.butterfly,
    "cake": household.cake,
    "candle": household.candle,
    "car": outdoors.car,
    "chair": household.chair,
    "clock": household.clock,
    "cup": household.cup,
    "duck": outdoors.duck,
    "fish": outdoors.fish,
    "flower": outdoors.flower,
    "hat": household.hat,
    "hot air balloon": sky.hot_air_balloon,
    "house": outdoors.house,
    "kite": sky.kite,
    "lamp": household.lamp,
    "mushroom": outdoors.mushroom,
    "rocket": outdoors.rocket,
    "star": sky.star,
    "table": household.table,
    "tent": outdoors.tent,
    "tree": outdoors.tree,
    "umbrella": outdoors.umbrella,
}
