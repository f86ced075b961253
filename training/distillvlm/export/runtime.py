"""A bundle on onnxruntime: the Python twin of the server's predictor, for parity, golden files and evaluation."""

# Shapes: B photos, R regions, N captions, T steps run, Q questions, A answers.
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from distillvlm.data.vocabulary import Tokenizer
from distillvlm.export.graphs import PREFIX_OUTPUTS, REGION_OUTPUTS
from distillvlm.export.manifest import GRAPHS, verify_bundle
from distillvlm.structures.calibration import Calibration

Arrays = Mapping[str, np.ndarray]
PREFIX_INPUTS = ("boxes", "valid", "features", "tags")


@dataclass(frozen=True)
class EncodedPhotos:
    """regions: the fields of `Regions`. prefix: `prefix_keys`, `prefix_values`, `prefix_mask`."""

    regions: Arrays
    prefix: Arrays

    def __len__(self) -> int:
        return len(self.prefix["prefix_mask"])


@dataclass(frozen=True)
class GeneratedCaption:
    """tokens: the words and [SEP], if the search came so far. score: as the manifest says. attention: [T, R]."""

    text: str
    tokens: list[int]
    log_probabilities: list[float]
    log_probability: float
    score: float
    attention: np.ndarray


@dataclass(frozen=True)
class RankedAnswer:
    answer: str
    score: float


class BundlePredictor:
    """Photos as pixels -> captions, answers.

    threads: inside one run of a graph. variant: of the bundle's graphs, see the manifest's schema.
    """

    def __init__(self, bundle: Path, threads: int = 1, variant: str | None = None) -> None:
        """
        Raises:
            KeyError: the bundle has no such variant.
            ValueError: a file of the bundle is missing or differs from the manifest.
        """
        self.manifest = verify_bundle(bundle)
        files = {name: self.manifest["graphs"][name]["file"] for name in GRAPHS}
        files |= self.manifest["variants"][variant] if variant is not None else {}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._sessions = {
            name: onnxruntime.InferenceSession(bundle / file, options, providers=["CPUExecutionProvider"])
            for name, file in files.items()
        }
        self.tokenizer = Tokenizer.load(bundle / "tokenizer.json")
        self.answer_words: list[str] = json.loads((bundle / "answers.json").read_text(encoding="utf-8"))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the pixels that `encode` takes."""
        return self.manifest["image"]["height"], self.manifest["image"]["width"]

    def encode(self, pixels_BHW3: np.ndarray) -> EncodedPhotos:
        """uint8 pixels, as `data.pixels.load_pixels` gives them, -> what captions and questions look at."""
        regions = self._run("detector", REGION_OUTPUTS, {"pixels": pixels_BHW3})
        feeds = {name: regions[name] for name in PREFIX_INPUTS}
        return EncodedPhotos(regions, self._run("prefix", PREFIX_OUTPUTS, feeds))

    def captions(
        self,
        photos: EncodedPhotos,
        num_beams: int | None = None,
        num_captions: int | None = None,
        max_tokens: int | None = None,
    ) -> list[list[GeneratedCaption]]:
        """For each photo its captions, best first; what is not given is the manifest's default."""
        given = {"num_beams": num_beams, "num_captions": num_captions, "max_tokens": max_tokens}
        scalars = {
            name: np.array(self.manifest["decoding"][name] if value is None else value) for name, value in given.items()
        }
        outputs = ("tokens", "log_probabilities", "attention")
        found = self._run("caption", outputs, {**photos.prefix, **scalars})
        return [
            [self.read_caption(*caption) for caption in zip(*photo, strict=True)]
            for photo in zip(*(found[name] for name in outputs), strict=True)
        ]

    def answers(
        self, photos: EncodedPhotos, questions: Sequence[Sequence[str]], top_k: int | None = None
    ) -> list[list[list[RankedAnswer]]]:
        """For each photo and each of its questions the best answers, best first."""
        limit = self.manifest["decoding"]["top_k"] if top_k is None else top_k
        logits = iter(self.answer_logits(photos, questions))
        return [[self._ranked(next(logits), limit) for _ in of_photo] for of_photo in questions]

    def answer_logits(self, photos: EncodedPhotos, questions: Sequence[Sequence[str]]) -> np.ndarray:
        """Logits [Q, A] of all questions, photo by photo."""
        rows = [self.question_ids(question) for of_photo in questions for question in of_photo]
        if not rows:
            return np.zeros((0, len(self.answer_words)), np.float32)
        ids_QT = np.full((len(rows), max(map(len, rows))), self.tokenizer.pad_id)
        for row, ids in enumerate(rows):
            ids_QT[row, : len(ids)] = ids
        photo_Q = np.repeat(np.arange(len(questions)), [len(of_photo) for of_photo in questions])
        feeds = {**photos.prefix, "question_ids": ids_QT, "photo_of_question": photo_Q}
        return self._run("answer", ("logits",), feeds)["logits"]

    def question_ids(self, question: str) -> list[int]:
        """[CLS] question [SEP].

        Raises:
            ValueError: the question is longer than the manifest allows.
        """
        ids = self.tokenizer.encode_question(question)
        limit = self.manifest["limits"]["question_tokens"]
        if len(ids) > limit:
            raise ValueError(f"Expected a question of at most {limit} tokens but received {len(ids)}")
        return ids

    def read_caption(
        self, tokens_T: np.ndarray, log_probabilities_T: np.ndarray, attention_T: np.ndarray
    ) -> GeneratedCaption:
        """One padded row of what a search gives."""
        length = int((tokens_T != self.tokenizer.pad_id).sum())
        total = float(log_probabilities_T[:length].sum(dtype=np.float64))
        return GeneratedCaption(
            text=self.tokenizer.decode(tokens_T[:length].tolist()),
            tokens=tokens_T[:length].tolist(),
            log_probabilities=log_probabilities_T[:length].tolist(),
            log_probability=total,
            score=self._calibrated("caption", float(np.exp(total / length))),
            attention=attention_T[:length],
        )

    def _ranked(self, logits_A: np.ndarray, top_k: int) -> list[RankedAnswer]:
        best = np.argsort(-logits_A, kind="stable")[:top_k]
        if self.manifest["scores"]["answer"]["activation"] == "sigmoid":
            scores_A = 1 / (1 + np.exp(-logits_A.astype(np.float64)))
        else:
            exponentials_A = np.exp(logits_A.astype(np.float64) - logits_A.max())
            scores_A = exponentials_A / exponentials_A.sum()
        return [RankedAnswer(self.answer_words[row], self._calibrated("answer", float(scores_A[row]))) for row in best]

    def _calibrated(self, what: str, score: float) -> float:
        found = self.manifest["scores"][what].get("calibration")
        return score if found is None else Calibration(**found).apply(score)

    def _run(self, graph: str, outputs: Sequence[str], feeds: Arrays) -> dict[str, np.ndarray]:
        values = self._sessions[graph].run(list(outputs), dict(feeds))
        return dict(zip(outputs, values, strict=True))
