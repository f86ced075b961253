"""The tiny bundle that tests of both languages share: real graphs of every kind, random weights, under 1 MB.

python -m distillvlm.export.fixture
"""

from __future__ import annotations

import string
from pathlib import Path

import torch
from torch import Tensor, nn

from distillvlm.data.vocabulary import SPECIAL_TOKENS, Tokenizer
from distillvlm.export.bundle import BundleWords, write_bundle
from distillvlm.export.manifest import (
    AnswerScore,
    CaptionScore,
    Decoding,
    ManifestFacts,
    Provenance,
    Scores,
    Source,
)
from distillvlm.modeling.detector.config import DetectorConfig
from distillvlm.modeling.detector.detector import Detector
from distillvlm.modeling.vision_language import VisionLanguageConfig, VisionLanguageModel
from distillvlm.structures.calibration import Calibration
from distillvlm.structures.lexicon import Lexicon

FIXTURE = Path(__file__).parents[3] / "test" / "fixtures" / "bundle-tiny"
SEED = 3  # of those from 0, the first whose captions of the golden pictures all differ and have several words

IMAGE_SIZE = (64, 64)
LABELS = ("dog", "cat", "man", "tree", "car", "traffic light")
ATTRIBUTES = ("red", "blue", "wooden", "small")
ANSWERS = ("yes", "no", "red", "2", "dog", "on the table", "blue", "3")
CAPTION_WORDS = tuple(
    [
        "a",
        "an",
        "the",
        "of",
        "on",
        "in",
        "with",
        "and",
        "at",
        "is",
        "are",
        "man",
        "woman",
        "dog",
        "cat",
        "tree",
        "car",
        "table",
        "grass",
        "beach",
        "street",
        "ball",
        "red",
        "blue",
        "green",
        "small",
        "large",
        "wooden",
        "two",
        "three",
        "people",
        "sitting",
        "standing",
        "running",
        "holding",
        "near",
        "field",
        "water",
        "sky",
        "house",
        "traffic",
        "light",
        "photo",
    ]
)
QUESTION_WORDS = tuple(
    [
        "what",
        "which",
        "who",
        "where",
        "how",
        "many",
        "colour",
        "color",
        "does",
        "do",
        "this",
        "there",
        "any",
        "yes",
        "no",
        "animal",
        "doing",
    ]
)
CONTINUATIONS = ("##s", "##ing", "##ed")


def main() -> None:
    write_fixture(FIXTURE)


def write_fixture(target: Path) -> None:
    detector = fixture_detector()
    words = BundleWords(Tokenizer(vocabulary()), LABELS, ATTRIBUTES, detector.tag_words, ANSWERS)
    write_bundle(target, detector, fixture_transformer(detector, words.tokenizer), words, fixture_facts())


def fixture_facts() -> ManifestFacts:
    source = Source("random numbers", "weights", "every weight, for tests of the code alone", "none")
    provenance = Provenance((source,), "fixture", "0000000", (SEED,), "2026-11-24", teacher=None)
    scores = Scores(
        CaptionScore("chance_of_good_caption", good_from=50.0, calibration=Calibration(1.5, 0.25)),
        AnswerScore(meaning="chance_of_right_answer", calibration=Calibration(0.75, -0.5)),
    )
    return ManifestFacts("tiny", "1.0.0", "Apache-2.0", provenance, Decoding(length_penalty=0.9), scores)


def vocabulary() -> tuple[str, ...]:
    """Specials, every printable character of ASCII alone and as a continuation, words. No CJK: that is [UNK]."""
    characters = string.digits + string.ascii_lowercase
    pieces = [*SPECIAL_TOKENS, *string.punctuation, *characters, *(f"##{c}" for c in characters)]
    words = [*CAPTION_WORDS, *QUESTION_WORDS, *CONTINUATIONS]
    return tuple(dict.fromkeys([*pieces, *words]))


def fixture_detector() -> Detector:
    """A detector whose random features tell pictures apart."""
    torch.manual_seed(SEED)
    config = DetectorConfig(
        labels=LABELS,
        attributes=ATTRIBUTES,
        backbone="test_efficientnet",
        pretrained=None,
        image_size=IMAGE_SIZE,
        pyramid_channels=16,
        pyramid_layers=1,
        num_candidates=48,
        num_proposals=16,
        head_size=32,
        attribute_embedding=8,
        score_threshold=0.2,
        tag_threshold=0.2,
        grid=2,
        num_regions=12,
        num_tags=3,
    )
    detector = Detector(config)
    with torch.no_grad():
        for head in (detector.rpn, detector.box_head, detector.attribute_head):
            assert head is not None
            for parameter in head.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
                module.momentum = None  # statistics of all pictures, equally weighed
        detector(noise_pictures(32))
    return detector.eval()


def noise_pictures(count: int) -> Tensor:
    """Coloured noise of few large patches, uint8 [count, H, W, 3]."""
    patches = torch.rand(count, 3, 6, 6)
    pictures = nn.functional.interpolate(patches, IMAGE_SIZE, mode="bicubic").clamp(0, 1) * 255
    return pictures.permute(0, 2, 3, 1).to(torch.uint8)


def fixture_transformer(detector: Detector, tokenizer: Tokenizer) -> VisionLanguageModel:
    """Weights ten times BERT's, so that attention is far from uniform and words depend on the picture."""
    torch.manual_seed(SEED)
    pieces = vocabulary()
    allowed = torch.tensor([piece in {*CAPTION_WORDS, *CONTINUATIONS, "[SEP]"} for piece in pieces])
    rows = [tokenizer.encode(tag) for tag in detector.tag_words]
    tag_tokens = torch.tensor([row + [tokenizer.pad_id] * (2 - len(row)) for row in rows])
    config = VisionLanguageConfig(
        vocab_size=len(pieces),
        num_answers=len(ANSWERS),
        region_feature_size=detector.feature_size,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        intermediate_size=64,
    )
    model = VisionLanguageModel(config, Lexicon(tag_tokens, allowed))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.word_bias[tokenizer.sep_id] += 1.0
    return model.eval()


if __name__ == "__main__":
    main()
