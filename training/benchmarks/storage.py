"""What a bundle's weights in fewer bits cost: bytes, captions and answers that stay the same, and both scores.

    MODEL_DIR=models/photos MORE_MODEL_DIRS=runs/photos/storages/fp32,runs/photos/storages/int8 npm start &
    cd training && .venv/bin/python benchmarks/storage.py --server http://127.0.0.1:3000 --data ROOT \
        --bundles ../runs/photos/storages/fp32 ../models/photos ../runs/photos/storages/int8

The first bundle is what the others are held against, on the same validation photos, through the server. Intervals are
95%, of paired differences, by bootstrap over photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillvlm.data.photos import load_photos
from distillvlm.data.records import Record, of_split
from distillvlm.evaluation.bootstrap import Interval, bootstrap_difference
from distillvlm.evaluation.captions import cider_d, tokenize
from distillvlm.evaluation.report import asked, captioned
from distillvlm.evaluation.server import measure
from distillvlm.evaluation.vqa import answer_score
from distillvlm.export.manifest import read_manifest


@dataclass(frozen=True)
class Found:
    """What a bundle says of photos [N] and questions [Q], and what it scores, in points."""

    captions: list[str]
    answers: list[str]
    cider: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundles", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    records = of_split(load_photos(options.data), "val")
    found = {bundle: ask(options.server, bundle, records) for bundle in options.bundles}
    print("| bundle | MB | captions the same | answers the same | CIDEr-D | VQA accuracy |\n|---|---|---|---|---|---|")
    first = found[options.bundles[0]]
    for bundle, one in found.items():
        print(row(bundle, one, first, records))


def ask(url: str, bundle: Path, records: Sequence[Record]) -> Found:
    manifest = read_manifest(bundle)
    captions, answers = measure(url, records, model=f"{manifest['name']}@{manifest['version']}").texts()
    references = tokenize({record.photo_id: record.captions for record in captioned(records)})
    said = tokenize({photo_id: [captions[photo_id]] for photo_id in references})
    pairs = asked(records)
    given = [answers[record.source][question.question_id] for record, question in pairs]
    accuracy = [answer_score(answer, question) for (_, question), answer in zip(pairs, given, strict=True)]
    return Found(
        [captions[photo_id] for photo_id in references], given, cider_d(said, references), 100 * np.array(accuracy)
    )


def row(bundle: Path, one: Found, first: Found, records: Sequence[Record]) -> str:
    size = sum(path.stat().st_size for path in bundle.iterdir()) / 1e6
    photos = [record.photo_id for record, _ in asked(records)]
    cells = [
        bundle.name,
        f"{size:.1f}",
        share_of_equal(one.captions, first.captions),
        share_of_equal(one.answers, first.answers),
        with_difference(one.cider.mean(), bootstrap_difference(one.cider, first.cider)),
        with_difference(one.accuracy.mean(), bootstrap_difference(one.accuracy, first.accuracy, photos)),
    ]
    return f"| {' | '.join(cells)} |"


def share_of_equal(texts: Sequence[str], others: Sequence[str]) -> str:
    return f"{100 * np.mean([text == other for text, other in zip(texts, others, strict=True)]):.1f}%"


def with_difference(mean: float, difference: Interval) -> str:
    return f"{mean:.1f} ({difference.value:+.2f} [{difference.low:.2f}, {difference.high:.2f}])"


if __name__ == "__main__":
    main()
