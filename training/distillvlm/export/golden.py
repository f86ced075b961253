"""Golden files: what Python makes of pictures and texts, for the TypeScript half to make the same of.

    python -m distillvlm.export.golden

`pixels.json`: pictures of every coding, decoded, upright and squashed. `tokens.json`: questions -> token ids, token
ids -> sentences. `predictions.json`: regions, captions and answers of the tiny bundle. Pixels are base64 of uint8
[height, width, 3].
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from distillvlm.data.pixels import load_pixels, upright_size
from distillvlm.data.vocabulary import Tokenizer
from distillvlm.export.fixture import FIXTURE, write_fixture
from distillvlm.export.golden_pictures import golden_pictures
from distillvlm.export.runtime import BundlePredictor, EncodedPhotos

Case = dict[str, object]

GOLDEN = Path(__file__).parents[3] / "test" / "golden"

PIXEL_SIZE = (32, 40)  # not square, so that a swap of height and width shows
PREDICTED = ("exif-1.jpg", "large.jpg", "small.png", "animated.webp")
NUM_BEAMS = (1, 3, 5)
QUESTIONS = ("What colour is the dog?", "How many people are there?", "is this a cat")
TEXTS = (
    *QUESTIONS,
    "",
    "   \t\n ",
    "What's the man's dog doing?!",
    "QUEL ÉLÉPHANT À L'ŒIL BLEU, ça va?",
    "naïve café — “quoted” … 100% (2/3)",
    "Ist das eine Straße? ÄÖÜ",
    "狗在哪里? какая собака",
    "is the dog 🐕 happy 👨‍👩‍👧 ?",
    "zero\u200bwidth soft\u00adhyphen non\u00a0breaking \u202eright",
    "control\u0000character \ufffd replaced",
    "[CLS] is [MASK] read from text? [SEP] [PAD]",
    "a ##s a##s ##",
    "supercalifragilisticexpialidocious",
    "x" * 100,
    "x" * 101,
    "the dog " * 31,
    "1234567890 3.14 -5 1,000",
    "e\u0301 and \u00e9 are the same letter, \u212b and \u00c5 too",
)


def main() -> None:
    write_fixture(FIXTURE)
    write_golden(FIXTURE, GOLDEN)


def write_golden(bundle: Path, target: Path) -> None:
    """Writes the golden files of a bundle, and the pictures under `target / "images"`."""
    pictures = golden_pictures()
    images = target / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (images / name).write_bytes(content)
    predictor = BundlePredictor(bundle)
    _write(target / "pixels.json", [_pixel_case(name, content) for name, content in pictures.items()])
    _write(target / "tokens.json", _token_cases(predictor.tokenizer))
    _write(target / "predictions.json", [_predictions(predictor, name, pictures[name]) for name in PREDICTED])


def _pixel_case(name: str, content: bytes) -> Case:
    height, width = upright_size(content)
    return {
        "image": name,
        "upright": {"height": height, "width": width},
        "size": {"height": PIXEL_SIZE[0], "width": PIXEL_SIZE[1]},
        "pixels": _base64(load_pixels(content, PIXEL_SIZE)),
    }


def _token_cases(tokenizer: Tokenizer) -> dict[str, list[Case]]:
    """`encode`: ids with [CLS] and [SEP]. `decode`: ids of captions, without them."""
    encoded: list[Case] = [{"text": text, "ids": tokenizer.encode_question(text)} for text in TEXTS]
    sentences = ("a man's dog", "two dogs, running", "a red-blue ball (small)!", "street 12", "5 % off : a . b")
    decoded: list[Case] = [{"ids": ids, "text": tokenizer.decode(ids)} for ids in map(tokenizer.encode, sentences)]
    return {"encode": encoded, "decode": decoded}


def _predictions(predictor: BundlePredictor, name: str, content: bytes) -> Case:
    pixels = load_pixels(content, predictor.image_size)
    photo = predictor.encode(pixels[None])
    return {
        "image": name,
        "pixels": _base64(pixels),
        "regions": {field: _rounded(values[0]) for field, values in photo.regions.items() if field != "features"},
        "captions": [_captions(predictor, photo, num_beams) for num_beams in NUM_BEAMS],
        "answers": [_answers(predictor, photo, question) for question in QUESTIONS],
    }


def _captions(predictor: BundlePredictor, photo: EncodedPhotos, num_beams: int) -> Case:
    """All beams of one search."""
    found = predictor.captions(photo, num_beams, num_captions=num_beams)[0]
    captions = [{**asdict(caption), "attention": _rounded(caption.attention)} for caption in found]
    return {"num_beams": num_beams, "captions": captions}


def _answers(predictor: BundlePredictor, photo: EncodedPhotos, question: str) -> Case:
    return {
        "question": question,
        "logits": _rounded(predictor.answer_logits(photo, [[question]])[0]),
        "answers": [asdict(answer) for answer in predictor.answers(photo, [[question]])[0][0]],
    }


def _rounded(values: np.ndarray) -> list[object]:
    """Seven digits: the tests' tolerance is 1e-4."""
    exact = values if values.dtype.kind != "f" else values.astype(np.float64).round(7)
    return exact.tolist()


def _base64(pixels: np.ndarray) -> str:
    return base64.b64encode(pixels.tobytes()).decode("ascii")


def _write(path: Path, content: list[Case] | dict[str, list[Case]]) -> None:
    """JSON with one line for each case, so that a change shows as the case that it concerns."""

    def rows(cases: list[Case]) -> str:
        return "[\n" + ",\n".join(map(json.dumps, cases)) + "\n]"

    if isinstance(content, list):
        text = rows(content)
    else:
        text = "{\n" + ",\n".join(f"{json.dumps(key)}: {rows(cases)}" for key, cases in content.items()) + "\n}"
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
