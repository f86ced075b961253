"""The cells of the study: each a student's training that differs from another in one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from distillvlm.modeling.layouts import QuestionAttention
from distillvlm.tasks.distillation import DistillationSettings

# The teacher adapted to the student's boxes; the control, "un-adapted", which had as many steps on its own boxes, fed
# the student's; the control at its own boxes.
Teaching = Literal["adapted", "control", "control at its own boxes"]

# Set once, with the first seed's student and 480 steps of fine-tuning, so that each loss has about a tenth of the
# gradient or more (see `gradient_shares`). With weights of 1 attention had 0.01 of it in pre-training and 0.05 in
# fine-tuning.
PRETRAINING = DistillationSettings(attention=18.0, hidden=1.8)
FINETUNING = DistillationSettings(attention=3.0, hidden=1.0, classification=1.0)


@dataclass(frozen=True)
class Cell:
    """One student.

    pretraining, finetuning: what it learns from its teacher in each stage; None: it has no teacher there.
    begins: the cell whose pre-training it goes on from; None: its own.
    """

    name: str
    about: str
    pretraining: DistillationSettings | None = None
    finetuning: DistillationSettings | None = None
    taught_by: Teaching = "adapted"
    begins: str | None = None


@dataclass(frozen=True)
class Group:
    """Cells that are trained in lock-step, with each of `seeds` seeds.

    data_share: of the annotated scenes. captions: of each scene; None: the recipe's. teacher_captions: times that each
    of the adapted teacher's captions counts among a scene's own (sequence-level distillation). scst: the cells go on
    from those of the same name without "+ scst", by self-critical training. question_attention, label_smoothing: see
    `LanguageObjective`. length: of the trainings, in those of the other groups.
    """

    name: str
    cells: tuple[Cell, ...]
    seeds: int
    data_share: float = 1.0
    captions: int | None = None
    teacher_captions: int = 0
    scst: bool = False
    question_attention: QuestionAttention = "prefix"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    length: float = 1.0


def distilled(name: str, about: str, taught_by: Teaching = "adapted", **changes: Any) -> Cell:
    """All losses but for the changes, which are those of both stages."""
    return Cell(name, about, replace(PRETRAINING, **changes), replace(FINETUNING, **changes), taught_by)


PLAIN = Cell("none", "no distillation")
DISTILLED = distilled("all", "all losses")
CLASSIFICATION = replace(FINETUNING, attention=0.0, hidden=0.0)

HEADLINE = Group(
    "headline",
    (PLAIN, DISTILLED, distilled("all-unadapted", "all losses, from the un-adapted teacher", "control")),
    seeds=5,
)
LOSSES = Group(
    "losses",
    (
        distilled("attention", "attention alone", hidden=0.0, classification=0.0),
        distilled("hidden", "hidden states alone", attention=0.0, classification=0.0),
        Cell("classification", "classification alone", None, CLASSIFICATION, begins="none"),
        distilled("texts-only", "all losses, tokens of texts alone", texts_only=True),
        Cell("pretraining-only", "all losses, in pre-training alone", PRETRAINING, None, begins="all"),
        Cell("finetuning-only", "all losses, in fine-tuning alone", None, FINETUNING, begins="none"),
    ),
    seeds=2,
)
OWN_BOXES = Group(
    "own-boxes",
    (
        Cell(
            "own-boxes",
            "classification alone, from the teacher at its own boxes",
            None,
            CLASSIFICATION,
            "control at its own boxes",
            begins="none",
        ),
    ),
    seeds=2,
)
SEQUENCE = Group(
    "sequence",
    (
        replace(PLAIN, name="none + sequence", about="no distillation, but the teacher's captions", begins="none"),
        replace(DISTILLED, name="all + sequence", about="all losses, and the teacher's captions", begins="all"),
    ),
    seeds=2,
    teacher_captions=1,
)
SCST = Group(
    "scst",
    (
        Cell("none + scst", "no distillation, then SCST"),
        Cell("all + scst", "all losses, then SCST"),
    ),
    seeds=2,
    scst=True,
)
QUEUES = Group(
    "queues",
    (
        distilled("queue-256", "all losses, 256 negatives", queue_size=256),
        distilled("queue-1024", "all losses, 1,024 negatives", queue_size=1024),
        distilled("squared-error", "all losses, squared error in place of the NCE", squared_error=True),
    ),
    seeds=1,
)
FULL_ATTENTION = Group(
    "full-attention",
    (replace(PLAIN, name="none, full attention", about="no distillation; tags and regions see a question"),),
    seeds=2,
    question_attention="full",
)
LONGER = Group(
    "longer",
    (
        replace(PLAIN, name="none, longer", about="no distillation, for the time that `all` takes"),
        replace(DISTILLED, name="all, longer", about="all losses, in as many steps as `none, longer`"),
    ),
    seeds=2,
    length=3.0,  # samples a second of a plain student, in those of a distilled one (`benchmarks/throughput.py`)
)
LONGER_UNADAPTED = Group(
    "longer-unadapted",
    (distilled("all-unadapted, longer", "all losses, from the un-adapted teacher, in as many steps", "control"),),
    seeds=1,
    length=LONGER.length,
)
TENTH = Group(
    "tenth",
    (replace(PLAIN, name="none, 10%"), replace(DISTILLED, name="all, 10%")),
    seeds=1,
    data_share=0.1,
)
HUNDREDTH = Group(
    "hundredth",
    (replace(PLAIN, name="none, 1%"), replace(DISTILLED, name="all, 1%")),
    seeds=1,
    data_share=0.01,
)
# In as many steps ten times the labels were worth nothing (CIDEr-D 53.6 for 56.2): a student learns too little of them.
# So it has three times the steps, and another student has those alone.
PILOT = (
    Group("pilot", (PLAIN,), seeds=1),
    Group("pilot-longer", (Cell("three times the steps", "no distillation"),), seeds=1, length=3.0),
    Group(
        "pilot-more",
        (Cell("ten times the labels", "no distillation, three times the steps"),),
        seeds=1,
        data_share=10 / 3,
        captions=3,
        length=3.0,
    ),
)
# Both arms of the headline, each with another setting; `LONGER` has another length. What of smoothing and dropout is
# best on validation scenes is every group's; the length is what the study can pay for.
SEARCH = (
    Group(
        "search-smoothing",
        (replace(PLAIN, name="none, smoothing"), replace(DISTILLED, name="all, smoothing")),
        seeds=1,
        label_smoothing=0.1,
    ),
    Group(
        "search-dropout",
        (replace(PLAIN, name="none, dropout"), replace(DISTILLED, name="all, dropout")),
        seeds=1,
        dropout=0.1,
    ),
)
GROUPS = (
    *SEARCH,
    HEADLINE,
    LOSSES,
    OWN_BOXES,
    SEQUENCE,
    SCST,
    LONGER,
    LONGER_UNADAPTED,
    FULL_ATTENTION,
    QUEUES,
    TENTH,
    HUNDREDTH,
)
