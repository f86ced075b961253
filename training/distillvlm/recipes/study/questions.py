"""What the study asks: which cells it compares, what the paper found, and what its answers leave open."""

from __future__ import annotations

from distillvlm.evaluation.comparison_tables import Sweep
from distillvlm.recipes.study.cells import DISTILLED, PLAIN

TEACHERS = (
    ("teacher", "own boxes"),
    ("teacher, student's boxes", "student's boxes, before adaptation"),
    ("control", "own boxes, as many steps more"),
    ("control, student's boxes", "the same, fed the student's boxes: un-adapted"),
    ("adapted, student's boxes", "student's boxes, adapted"),
)
TEACHER_PAIRS = (
    ("teacher, student's boxes", "teacher"),
    ("adapted, student's boxes", "control, student's boxes"),
    ("adapted, student's boxes", "control"),
)
HEADLINE_PAIRS = (("all", "none"), ("all", "all-unadapted"), ("all-unadapted", "none"))
SEARCHED = tuple(
    (f"{arm}, {setting}", arm) for setting in ("smoothing", "dropout", "longer") for arm in (PLAIN.name, DISTILLED.name)
)
QUESTIONS = {
    "For the time that distillation takes, and longer": (
        ("none, longer", "none"),
        ("all", "none, longer"),
        ("all, longer", "none, longer"),
        ("all, longer", "all-unadapted, longer"),
    ),
    "What each part is worth": (
        ("attention", "none"),
        ("hidden", "none"),
        ("classification", "none"),
        ("texts-only", "all"),
        ("pretraining-only", "none"),
        ("finetuning-only", "none"),
        ("all", "pretraining-only"),
        ("all", "finetuning-only"),
        ("classification", "own-boxes"),
    ),
    "Negatives, and a squared error in their place": (
        ("queue-256", "all"),
        ("queue-1024", "all"),
        ("squared-error", "all"),
    ),
    "Beyond the paper: the teacher's captions as targets, and SCST": (
        ("none + sequence", "none"),
        ("all + sequence", "all"),
        ("all + sequence", "none + sequence"),
        ("none + scst", "none"),
        ("all + scst", "all"),
        ("all + scst", "none + scst"),
    ),
    "With less data": (("all, 10%", "none, 10%"), ("all, 1%", "none, 1%")),
    "Questions that tags and regions may see": (("none, full attention", "none"),),
}
SWEEPS = {
    "study-queue": Sweep("tokens in the queue", {"all": {256: "queue-256", 1024: "queue-1024", 4096: "all"}}),
    "study-data": Sweep(
        "share of the scenes", {arm: {0.01: f"{arm}, 1%", 0.1: f"{arm}, 10%", 1.0: arm} for arm in ("none", "all")}
    ),
}
"""By the name of their picture."""
FINDINGS = (
    ("a student learns more with a teacher than without", "all", "none"),
    ("so it does where the one without learns for as long", "all", "none, longer"),
    ("so it does where both have three times the steps", "all, longer", "none, longer"),
    ("adaptation makes up for the student's boxes", "adapted, student's boxes", "control, student's boxes"),
    ("an adapted teacher teaches more than an un-adapted one", "all", "all-unadapted"),
    ("attention helps by itself", "attention", "none"),
    ("hidden states help by themselves", "hidden", "none"),
    ("the words' distribution helps by itself", "classification", "none"),
    ("distilling in pre-training helps", "pretraining-only", "none"),
    ("distilling in fine-tuning helps", "finetuning-only", "none"),
    ("in both it helps more than in fine-tuning alone", "all", "finetuning-only"),
    ("the contrastive loss teaches more than a squared error", "all", "squared-error"),
)
LIMITS = """\
All intervals are of one teacher, one pair of detectors and one set of scenes: what another training of these would
change is not in them. Where a cell has one seed or two, its interval is over test scenes alone; seeds of the plain
student differ by more than most of the small differences here.

- Cells with a tenth or a hundredth of the scenes have fewer captions and questions; their detectors, their words and
  the mean and deviation of their regions are those of all 12,000.
- `own-boxes` is taught by the control, which has seen its own boxes for as many steps as the adapted one has seen the
  student's.
- `none, longer` has 3.0 times the steps: the ratio of a training that runs its teacher anew at each step. In
  fine-tuning the study remembers what its teacher said, so the plain student is given more time than the distilled one
  took.
- `+ scst` ends with 240 steps of SCST and 60 of questions, which the cell that it goes on from has not had.
- Not run: a queue of 16,384, hidden states averaged over a text, another layer than the last.
- The student's detector sees 128 px and the teacher's 256."""
