"""Generated scenes: pictures drawn by code with boxes, attributes, captions and questions; seeded, of any size."""

from distillvlm.data.scenes.difficulty import SMOKE, STUDY, Difficulty
from distillvlm.data.scenes.files import load_scenes, write_scenes

__all__ = ["SMOKE", "STUDY", "Difficulty", "load_scenes", "write_scenes"]
