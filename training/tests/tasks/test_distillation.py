"""Distillation as a whole: padding of photos and texts changes nothing, and a killed run resumes with its queue."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distillvlm.data.pretraining_batches import PretrainingBatch
from distillvlm.data.soft_targets import Likeliest
from distillvlm.data.text_batches import TextBatch
from distillvlm.engine.trainer import Schedule, train
from distillvlm.structures.regions import Regions
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import Objective
from distillvlm.tasks.pretraining import PretrainingObjective
from tests.tasks.test_objectives import captions, distillation, pretraining, pretraining_on_questions, questions

Batch = TypeVar("Batch", TextBatch, PretrainingBatch)


def with_padded_regions(regions: Regions) -> Regions:
    """Two more regions and a tag that are not there, full of numbers that must not be seen."""
    return Regions(
        boxes=functional.pad(regions.boxes, (0, 0, 0, 2), value=0.7),
        features=functional.pad(regions.features, (0, 0, 0, 2), value=50.0),
        labels=functional.pad(regions.labels, (0, 2)),
        attributes=functional.pad(regions.attributes, (0, 2)),
        scores=functional.pad(regions.scores, (0, 2)),
        valid=functional.pad(regions.valid, (0, 2)),
        tags=functional.pad(regions.tags, (0, 1), value=-1),
    )


def padded(batch: Batch) -> Batch:
    """One more text of each photo, two more tokens of each text, padded regions and tags; all of it padding."""
    if isinstance(batch, PretrainingBatch):
        return replace(
            batch,
            texts=padded(batch.texts),
            **{
                name: functional.pad(getattr(batch, name), (0, 2))
                for name in ("tag_tokens", "tag_targets", "match_tokens", "match_targets")
            },
        )
    assert batch.regions is not None
    assert batch.teacher_regions is not None
    return replace(
        batch,
        regions=with_padded_regions(batch.regions),
        teacher_regions=with_padded_regions(batch.teacher_regions),
        tokens=functional.pad(batch.tokens, (0, 2, 0, 1)),
        targets=functional.pad(batch.targets, (0, 2 * (batch.kind == "captions"), 0, 1)),
        valid=functional.pad(batch.valid, (0, 1)),
    )


def losses_gradients_and_queue(objective: Objective, batch: Batch) -> tuple[Tensor, ...]:
    """Of a step in training, which puts tokens into the queue."""
    settings = DistillationSettings(queue_size=32, classification=0.0 if isinstance(batch, PretrainingBatch) else 1.0)
    task = distillation(settings, objective, dropout=0.0)
    negatives = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    task.hidden_loss.queue.enqueue(negatives, torch.arange(32) + 10)
    losses = task(batch)
    sum(losses.values()).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in task.parameters()]
    queue = task.hidden_loss.queue
    return (*[loss.detach() for loss in losses.values()], *gradients, queue.tokens, queue.photos)


@pytest.mark.parametrize(
    ("objective", "batch"),
    [
        (LanguageObjective(), captions()),
        (LanguageObjective(), questions()),
        (LanguageObjective(question_attention="full"), questions()),
        (PretrainingObjective(), pretraining()),
        (PretrainingObjective("full"), pretraining()),
        (PretrainingObjective(), pretraining_on_questions()),
    ],
)
def test_padding_of_photos_and_texts_changes_no_loss_no_gradient_and_no_negative(
    objective: Objective, batch: Batch
) -> None:
    plain, wider = (losses_gradients_and_queue(objective, each) for each in (batch, padded(batch)))
    assert plain[0] > 0
    for ours, theirs in zip(wider, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_student_and_teacher_read_the_same_masked_tokens_of_a_dense_pre_training() -> None:
    task = distillation(DistillationSettings(queue_size=32, classification=0.0), PretrainingObjective())
    read: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    for (_, seen), model in zip(read.items(), (task.student, task.teacher.model), strict=True):
        model.word_embeddings.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
    batch = pretraining()
    task(batch)
    for student, teacher in zip(*read.values(), strict=True):
        assert torch.equal(student, teacher)
    tags, _, match = read["student"]
    assert torch.equal(tags, batch.tag_tokens)
    assert torch.equal(match, batch.match_tokens)
    assert (tags == 4).any()
    assert (match == 4).any()


class Captions:
    """The same captions of other photos in every step."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.killed_at = killed_at

    def batch(self, step: int) -> TextBatch:
        if step == self.killed_at:
            raise KeyboardInterrupt
        return replace(captions(), photos=torch.arange(3) + 3 * (step % 4))


def test_a_killed_distillation_resumes_with_its_queue_to_the_identical_curve(tmp_path: Path) -> None:
    def task() -> DistillationTask:
        return distillation(DistillationSettings(queue_size=40))

    schedule = Schedule(steps=8, learning_rate=1e-3, precision="no")
    whole, resumed = task(), task()
    expected = train(whole, Captions(), schedule, tmp_path / "whole", 3)
    with pytest.raises(KeyboardInterrupt):
        train(task(), Captions(killed_at=5), schedule, tmp_path / "cut", 3, checkpoint_seconds=0)
    assert train(resumed, Captions(), schedule, tmp_path / "cut", 3) == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert (whole.hidden_loss.queue.photos >= 0).all()


@pytest.mark.parametrize("batch", [captions(), questions()])
def test_words_and_answers_that_a_teacher_said_beforehand_take_the_place_of_its_own(batch: TextBatch) -> None:
    """Told all its own probabilities, the student has the same loss; told others, another."""
    torch.manual_seed(3)
    task = distillation(DistillationSettings(queue_size=8), LanguageObjective()).eval()
    asked = task(batch)["classification"].detach()
    with torch.no_grad():
        outputs = task.teacher.outputs(batch, torch.device("cpu"))
    is_caption = batch.kind == "captions"
    logits = outputs.logits["caption" if is_caption else "answer"]
    rows = logits.softmax(-1) if is_caption else logits.sigmoid()
    present = batch.targets != 0 if is_caption else batch.valid
    probabilities = torch.zeros(*present.shape, rows.shape[-1])
    probabilities[present] = rows.float()
    ids = torch.arange(rows.shape[-1]).expand_as(probabilities)
    told = task(replace(batch, soft=Likeliest(ids, probabilities)))["classification"].detach()
    torch.testing.assert_close(told, asked, atol=1e-3, rtol=1e-3)
    other = task(replace(batch, soft=Likeliest(ids, probabilities.flip(-1))))["classification"].detach()
    assert abs(other - asked) > 0.03
