"""Whether a bundle says what its PyTorch modules say, and the same alone as in a batch."""

# Shapes: B photos, K beams, T steps run, Q questions, A answers.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from distillvlm.export.graphs import REGION_OUTPUTS
from distillvlm.export.runtime import BundlePredictor, GeneratedCaption
from distillvlm.export.storage import Storage, rounded
from distillvlm.modeling.detector.concepts import ConceptTagger
from distillvlm.modeling.detector.detector import Detector
from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from distillvlm.structures.regions import Regions

TOLERANCE = 1e-4  # of logits and log-probabilities in fp32
NEAR_TIE = 1e-3  # of what two captions rank by in their searches, and of two tags' weights, relative: either may win


@dataclass
class Comparison:
    """Of one run with another. Differences are the largest absolute ones.

    regions, captions, answers: how many are identical: a photo's boxes (to `TOLERANCE`), labels, attributes and tags;
        a caption's tokens; a question's best answer. near_ties: captions that differ, with ranks `NEAR_TIE` apart, or
        said of tags that differ where their weights are as near: whatever was said, rounding had chosen the tags.
    features, log_probabilities, logits: differences where a photo's regions are identical, of log-probabilities where
        its captions are too.
    """

    photos: int = 0
    questions: int = 0
    regions: int = 0
    captions: int = 0
    near_ties: int = 0
    answers: int = 0
    features: float = 0.0
    log_probabilities: float = 0.0
    logits: float = 0.0

    def identical(self, required: float) -> bool:
        """Whether that share of the captions is, the others are near ties, and all answers are."""
        captions = self.captions >= required * self.photos and self.captions + self.near_ties == self.photos
        return captions and self.answers == self.questions

    @property
    def within_tolerance(self) -> bool:
        return max(self.log_probabilities, self.logits) <= TOLERANCE

    def add(self, one: PhotoOutputs, other: PhotoOutputs) -> None:
        """Counts one photo."""
        self.photos += 1
        self.questions += len(one.logits)
        same_regions = _same_regions(one.regions, other.regions)
        same_caption = one.caption.tokens == other.caption.tokens
        self.regions += same_regions
        self.captions += same_caption
        self.near_ties += not same_caption and (abs(one.rank - other.rank) < NEAR_TIE or _tags_tie(one, other))
        self.answers += int((one.logits.argmax(-1) == other.logits.argmax(-1)).sum())
        if not same_regions:
            return
        self.features = max(self.features, _difference(one.regions["features"], other.regions["features"]))
        self.logits = max(self.logits, _difference(one.logits, other.logits))
        if same_caption:
            pair = np.array(one.caption.log_probabilities), np.array(other.caption.log_probabilities)
            self.log_probabilities = max(self.log_probabilities, _difference(*pair))

    def __str__(self) -> str:
        return (
            f"identical: regions {self.regions}/{self.photos}, captions {self.captions}/{self.photos} "
            f"(and {self.near_ties} near ties), "
            f"answers {self.answers}/{self.questions}; largest difference: features {self.features:.1e}, "
            f"log-probabilities {self.log_probabilities:.1e}, logits {self.logits:.1e}"
        )


@dataclass(frozen=True)
class ParityReport:
    """pytorch: the bundle against its modules, weights rounded as stored. batch: photos alone against mixed batches.
    required: the share of captions that must be identical, see `Comparison.identical`."""

    pytorch: Comparison
    batch: Comparison
    required: float = 1.0

    @property
    def passed(self) -> bool:
        return all(part.identical(self.required) and part.within_tolerance for part in (self.pytorch, self.batch))

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"PyTorch and bundle: {self.pytorch}\nAlone and in a batch: {self.batch}\nParity {verdict}"


@dataclass(frozen=True)
class PhotoOutputs:
    """regions: fields of `Regions` without the batch axis. rank: what the caption won its search by. logits: [Q, A] of
    the photo's questions. tag_weights: [W + 1], of a concept head's words and behind them what a tag must weigh; None
    where nobody has looked."""

    regions: dict[str, np.ndarray]
    caption: GeneratedCaption
    rank: float
    logits: np.ndarray
    tag_weights: np.ndarray | None = None


def check_parity(
    bundle: Path,
    detector: Detector,
    model: VisionLanguageModel,
    photos: np.ndarray,
    questions: Sequence[Sequence[str]],
    storage: Storage = "fp16",
    required: float = 1.0,
    batch_size: int = 8,
) -> ParityReport:
    """Compares a bundle with the modules that it was written from, and with itself at batch 1.

    photos: uint8 [N, height, width, 3]. questions: those of each photo. storage: of the bundle's weights.
    """
    predictor = BundlePredictor(bundle)
    reference = _Modules(rounded(detector, storage), rounded(model, storage), predictor)
    report = ParityReport(Comparison(), Comparison(), required)
    for start in range(0, len(photos), batch_size):
        part = slice(start, start + batch_size)
        in_batch = list(_bundle_outputs(predictor, photos[part], questions[part]))
        for index, output in enumerate(in_batch, start):
            alone = slice(index, index + 1)
            report.batch.add(output, *_bundle_outputs(predictor, photos[alone], questions[alone]))
            report.pytorch.add(output, reference.outputs(photos[alone], questions[index]))
    return report


def _bundle_outputs(
    predictor: BundlePredictor, pixels_BHW3: np.ndarray, questions: Sequence[Sequence[str]]
) -> Iterator[PhotoOutputs]:
    photos = predictor.encode(pixels_BHW3)
    captions = predictor.captions(photos)
    ends = np.cumsum([len(of_photo) for of_photo in questions])
    logits = np.split(predictor.answer_logits(photos, questions), ends[:-1])
    for index, caption in enumerate(captions):
        regions = {name: values[index] for name, values in photos.regions.items()}
        yield PhotoOutputs(regions, caption[0], _rank(caption[0], predictor), logits[index])


def _rank(caption: GeneratedCaption, predictor: BundlePredictor) -> float:
    return float(caption.log_probability / len(caption.tokens) ** predictor.manifest["decoding"]["length_penalty"])


class _Modules:
    """The PyTorch side; it borrows the bundle's tokenizer, settings and reading of captions."""

    def __init__(self, detector: Detector, model: VisionLanguageModel, predictor: BundlePredictor) -> None:
        self.detector = detector
        self.model = model
        self.predictor = predictor

    @torch.no_grad()
    def outputs(self, pixels_1HW3: np.ndarray, questions: Sequence[str]) -> PhotoOutputs:
        regions = self.detector(torch.from_numpy(pixels_1HW3))
        prefix = self.model.encode_prefix(regions)
        decoding = self.predictor.manifest["decoding"]
        found = beam_search(
            self.model, prefix, decoding["num_beams"], decoding["max_tokens"], decoding["length_penalty"]
        )
        best = (values[0, 0].numpy() for values in (found.tokens, found.log_probabilities, found.attention))
        arrays = {name: getattr(regions, name)[0].numpy() for name in REGION_OUTPUTS}
        logits = [self._logits(prefix, self.predictor.question_ids(question)) for question in questions]
        caption = self.predictor.read_caption(*best)
        weights = self._tag_weights(regions)
        return PhotoOutputs(arrays, caption, _rank(caption, self.predictor), np.stack(logits), weights)

    def _tag_weights(self, regions: Regions) -> np.ndarray | None:
        tagger = self.detector.tagger
        if not isinstance(tagger, ConceptTagger):
            return None
        weights = tagger.weigh(regions, self.detector.classes_of(regions))[0].numpy()
        return np.append(weights, tagger.threshold)

    def _logits(self, prefix: Prefix, ids: list[int]) -> np.ndarray:
        states = self.model.encode_questions(prefix, torch.tensor([[ids]]))
        return self.model.answer_logits(self.model.pool(states))[0, 0].numpy()


def _same_regions(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    words = all(np.array_equal(one[name], other[name]) for name in ("labels", "attributes", "tags"))
    return words and _difference(one["boxes"], other["boxes"]) <= TOLERANCE


def _tags_tie(one: PhotoOutputs, other: PhotoOutputs) -> bool:
    """Whether their tags differ, but nowhere by more than words that weigh almost alike; no tag (-1) weighs what a word
    must."""
    tags, others = one.regions["tags"], other.regions["tags"]
    if other.tag_weights is None or np.array_equal(tags, others):
        return False
    return bool(np.allclose(other.tag_weights[tags], other.tag_weights[others], rtol=NEAR_TIE, atol=0))


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max(initial=0.0))
