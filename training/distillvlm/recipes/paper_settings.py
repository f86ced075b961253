"""`paper`: its sizes, its settings, and how long each network is trained.

What neither the paper (arXiv:2104.02096) nor OSCAR (arXiv:2004.06165), bottom-up attention (arXiv:1707.07998), BERT
(arXiv:1810.04805) and MiniVLM (arXiv:2012.06946) state is marked "ours".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distillvlm.modeling.backbones import IMAGENET, MINUS_ONE_TO_ONE
from distillvlm.modeling.checkpoints import BERT, CheckpointFormat
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize

PIECES, ANSWERS, LABELS, ATTRIBUTES = 30_522, 3_129, 1_600, 400  # BERT's; OSCAR's; bottom-up attention's
LEAST_ANSWERS = 9  # questions with an answer, for it to be one of OSCAR's 3,129
# OSCAR's captioner has 70 - 40 = 30 places for tags: 15 words of two pieces each.
TAGS, TAG_PIECES = 15, 2
CAPTION_TOKENS = 39  # OSCAR's 40 without [CLS]
TEXT_TOKENS = (
    35  # of questions and tags in pre-training: OSCAR+'s, https://github.com/microsoft/Oscar, VinVL_MODEL_ZOO.md
)
ATTENTION_DROPOUT = 0.1  # BERT's
NORMALISATION = {"teacher": IMAGENET, "student": MINUS_ONE_TO_ONE}


# Where the teacher's own regions come from: its detector, or published files of features.
FeatureName = Literal["detector", "tsv"]
# What pre-training reads: captions of COCO and Flickr30k, VQA v2's questions, GQA's, names of Visual Genome's boxes,
# captions and questions of OSCAR's corpus.
TextName = Literal["captions", "questions", "gqa", "tags", "corpus"]
EVERY_TEXT: tuple[TextName, ...] = ("captions", "questions", "gqa", "tags")  # of the public sets, without the corpus


@dataclass(frozen=True)
class Course:
    """How one objective is trained. batch: photos, and texts of each; in SCST, captions that are drawn of each."""

    name: Literal["pretraining", "captions", "questions", "scst"]
    steps: int
    rate: float
    batch: tuple[int, int]
    dropout: float = 0.1


@dataclass(frozen=True)
class Beginning:
    """Weights from outside that a model begins with: a folder below the data root."""

    folder: str
    kind: CheckpointFormat


# Sizes are (height, width): multiples of 64 near the paper's short side of 600, in the usual shape of COCO's photos.
# The box head makes the region's feature: 2048 numbers as in bottom-up attention; 1024, ours, give the student the
# paper's 34M parameters. Anchor sides are the level's stride (8 to 64) times a scale. Steps and rates are ours.
TEACHER_DETECTOR = DetectorRecipe(
    "resnet101", "weights/resnet101.pth", (640, 832), 256, 2048, 90_000, 16, 1e-4, (3.0, 4.25, 6.0)
)
STUDENT_DETECTOR = DetectorRecipe(
    "tf_efficientnet_lite0", "lite0", (384, 512), 128, 1024, 60_000, 32, 4e-4, (3.0, 4.25)
)
TEACHER = ModelSize(hidden_size=768, num_layers=12, num_heads=12, intermediate_size=3072)  # BERT-base
STUDENT = ModelSize(hidden_size=384, num_layers=12, num_heads=12, intermediate_size=1536)  # MiniLM, MiniVLM
TEACHER_BEGINS, STUDENT_BEGINS = Beginning("weights/bert", BERT), Beginning("weights/minilm", BERT)

# OSCAR has 1M steps of 768 pairs for 6.5M pairs: as many epochs of the 0.7M that COCO and Flickr30k have.
PRETRAINING = Course("pretraining", 110_000, 5e-5, (256, 3))
CORPUS_PRETRAINING = Course("pretraining", 1_000_000, 5e-5, (768, 1))
# OSCAR: 30 epochs of 567k captions, batch 256, rate 3e-5; 25 epochs of 605k questions, batch 128, rate 5e-5.
CAPTIONS = Course("captions", 66_400, 3e-5, (64, 4))
QUESTIONS = Course("questions", 118_200, 5e-5, (32, 4), dropout=0.3)
COURSES = (PRETRAINING, CAPTIONS, QUESTIONS)
CORPUS_COURSES = (CORPUS_PRETRAINING, CAPTIONS, QUESTIONS)
# OSCAR: 5 epochs, here of 113k photos, rate 5e-6. Five drawn captions of each photo, of 64 photos, are ours.
SCST = Course("scst", 8_850, 5e-6, (64, 5))
