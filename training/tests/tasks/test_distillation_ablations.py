"""What the paper compares its losses with, and a teacher that several students share."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distillvlm.data.text_batches import TextBatch
from distillvlm.engine.processes import share_of
from distillvlm.engine.trainer import Schedule, train
from distillvlm.losses.attention import attention_loss
from distillvlm.losses.hidden import HiddenStateError, HiddenStateLoss
from distillvlm.modeling.encoded_once import EncodedOnce
from distillvlm.tasks.distillation import (
    DistillationSettings,
    DistillationTask,
    FrozenTeacher,
    distil_attention,
    mean_of,
)
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import texts_alone
from tests.modeling.tiny import tiny_model
from tests.tasks.test_objectives import captions, distillation, questions


def test_the_squared_error_of_two_tokens_by_hand_leaves_out_padding() -> None:
    loss = HiddenStateError(2, 2)
    torch.nn.init.eye_(loss.projection.weight)
    torch.nn.init.zeros_(loss.projection.bias)
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]])
    valid = torch.tensor([[True, True, False]])
    value = loss(student, teacher, valid, valid, torch.tensor([1]))
    assert value.item() == pytest.approx((2 + 2) / 2)


def test_a_settings_squared_error_takes_the_queues_place() -> None:
    task = distillation(DistillationSettings(squared_error=True))
    assert isinstance(task.hidden_loss, HiddenStateError)
    task(captions())["hidden"].backward()
    assert task.student.layers[0].query.weight.grad.any()


def test_pooled_states_are_one_mean_a_photo_over_what_is_valid() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert mean_of(hidden, valid).tolist() == [[[2.0]], [[0.0]]]
    task = distillation(DistillationSettings(queue_size=32, pooled=True))
    task(captions())
    assert isinstance(task.hidden_loss, HiddenStateLoss)
    photos = task.hidden_loss.queue.photos
    assert sorted(photos[photos >= 0].tolist()) == [0, 1, 2]


def test_texts_only_compares_neither_tags_nor_regions() -> None:
    task = distillation(DistillationSettings(queue_size=64, texts_only=True))
    with torch.no_grad():
        ours = task.objective.run(task.student, captions().regions, captions())
        theirs = task.teacher.outputs(captions(), torch.device("cpu"))
        text, other = ours.texts[0], theirs.texts[0]
        maps = (text.states.attention.flatten(2, 3), other.states.attention.flatten(2, 3), text.valid.flatten(1, 2))
        torch.testing.assert_close(distil_attention(texts_alone(ours), theirs), attention_loss(maps))
        task(captions())
    assert isinstance(task.hidden_loss, HiddenStateLoss)
    queued = task.hidden_loss.queue.tokens[task.hidden_loss.queue.photos >= 0]
    prefix = torch.nn.functional.normalize(theirs.prefix.hidden.flatten(0, 1), dim=-1)
    assert len(queued) > 3
    assert (queued @ prefix.T).max() < 1 - 1e-5


def test_texts_only_leaves_tags_and_regions_out_where_they_see_the_text() -> None:
    objective = LanguageObjective(question_attention="full")
    outputs = texts_alone(objective.run(tiny_model(), questions().regions, questions()))
    (text,) = outputs.texts
    assert text.valid.sum(-1).flatten().tolist() == [3, 3, 3]  # [CLS], a word, [SEP]
    assert text.words.sum(-1).flatten().tolist() == [1, 1, 1]
    assert not text.valid[..., 3:].any()


class Counting(LanguageObjective):
    def __init__(self) -> None:
        super().__init__()
        self.runs: list[object] = []

    def run(self, model, regions, batch):
        self.runs.append(model)
        return super().run(model, regions, batch)


def test_students_of_one_teacher_pay_for_it_once_and_learn_as_they_do_alone() -> None:
    def losses_of(settings: DistillationSettings, teacher: FrozenTeacher, batch: object) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return DistillationTask(tiny_model(), teacher, settings).eval()(batch)

    def teacher() -> FrozenTeacher:
        return FrozenTeacher(tiny_model(seed=1, hidden_size=32, num_layers=3), Counting())

    shared, plain, weak = teacher(), DistillationSettings(), DistillationSettings(attention=0, queue_size=8)
    for batch in (captions(), questions(), replace(captions())):
        for settings in (plain, weak):
            ours, alone = losses_of(settings, shared, batch), losses_of(settings, teacher(), batch)
            torch.testing.assert_close(ours, alone)
    assert isinstance(shared.objective, Counting)
    assert shared.objective.runs.count(shared.model) == 3


def test_a_killed_training_whose_teacher_remembers_resumes_to_the_curve_but_for_rounding(tmp_path: Path) -> None:
    """It encodes again what it had known, beside other texts."""

    class Texts:
        def __init__(self, killed_at: int | None = None) -> None:
            self.killed_at = killed_at

        def batch(self, step: int) -> TextBatch:
            if step == self.killed_at:
                raise KeyboardInterrupt
            batch: TextBatch = share_of((captions, questions)[step % 2](), step % 3, 3)  # of one photo
            return batch if step < 8 else (captions, questions)[step % 2]()

    def run(folder: str, killed_at: int | None = None) -> list[dict[str, float]]:
        torch.manual_seed(0)
        model = tiny_model(seed=1, hidden_size=32, num_layers=3).eval()
        teacher = FrozenTeacher(model, LanguageObjective(), EncodedOnce(model))
        task = DistillationTask(tiny_model(), teacher, DistillationSettings(queue_size=64))
        schedule = Schedule(steps=10, learning_rate=1e-3, precision="no")
        history = train(task, Texts(killed_at), schedule, tmp_path / folder, 3, checkpoint_seconds=0)
        return [progress.losses for progress in history]

    expected = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", killed_at=6)
    for ours, theirs in zip(run("cut"), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_teacher_that_remembers_teaches_the_same(autocast: bool) -> None:
    def losses_of(batch: TextBatch, remembers: bool) -> list[dict[str, Tensor]]:
        torch.manual_seed(0)
        model = tiny_model(seed=1, hidden_size=32, num_layers=3).eval()
        teacher = FrozenTeacher(model, LanguageObjective(), EncodedOnce(model) if remembers else None)
        task = DistillationTask(tiny_model(), teacher, DistillationSettings(queue_size=64)).eval()
        task.hidden_loss.queue.enqueue(torch.randn(64, 32), torch.arange(64) + 10)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return [task(each) for each in (batch, replace(batch))]

    for batch in (captions(), questions()):
        for ours, plain in zip(losses_of(batch, True), losses_of(batch, False), strict=True):
            torch.testing.assert_close(ours, plain, atol=2e-3, rtol=2e-3)
