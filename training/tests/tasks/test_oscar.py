"""OSCAR's layout in training: losses, gradients, padding, and what a teacher adds."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distillvlm.data.oscar_batches import OscarBatch, OscarKind
from distillvlm.engine.processes import batch_rows, share_of
from distillvlm.modeling.layouts import OscarLayout
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.objective import ObjectiveTask
from distillvlm.tasks.oscar import OscarObjective
from tests.modeling.tiny import ANSWERS, tiny_model, tiny_regions
from tests.tasks.test_distillation import with_padded_regions

KINDS: tuple[OscarKind, ...] = ("captions", "questions", "pretraining")
TEXT, TAGS = 5, 4
OBJECTIVE = OscarObjective(OscarLayout(text_length=8, tags_length=TAGS))


def oscar_batch(kind: OscarKind) -> OscarBatch:
    """Two texts of each of three photos, but for the last; [MASK] is 4, [SEP] 3."""
    text = torch.tensor(
        [[[2, 7, 4, 9, 3], [2, 4, 3, 0, 0]], [[2, 11, 12, 4, 3], [2, 5, 4, 0, 0]], [[2, 4, 3, 0, 0], [0, 0, 0, 0, 0]]]
    )
    tags = torch.tensor([[10, 11, 3, 0], [12, 3, 0, 0], [13, 14, 15, 3]])[:, None].repeat(1, 2, 1)
    targets = torch.zeros(3, 2, TEXT + TAGS, dtype=torch.long)
    for place, token in {(0, 0, 2): 8, (0, 1, 1): 10, (1, 0, 3): 13, (1, 1, 2): 3, (2, 0, 1): 20}.items():
        targets[place] = token
    matched = torch.ones(3, 2, dtype=torch.bool)
    if kind == "questions":
        targets.zero_()
    if kind == "pretraining":
        tags[0, 0, 1], targets[0, 0, TEXT + 1] = 4, 11
        matched[1], targets[1] = False, 0
    answers = torch.rand(3, 2, ANSWERS, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True, True], [True, True], [True, False]])
    both = (tiny_regions(), tiny_regions(seed=9))
    return OscarBatch(kind, *both, text, tags, targets, answers, matched, valid, torch.arange(3))


def distillation(**settings: float | int) -> DistillationTask:
    torch.manual_seed(0)
    teacher = FrozenTeacher(tiny_model(seed=1, hidden_size=32, num_layers=3), OBJECTIVE)
    return DistillationTask(tiny_model(), teacher, DistillationSettings(queue_size=64, **settings)).train()


def without_gradient(model: VisionLanguageModel) -> set[str]:
    names = {name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()}
    return {name for name in names if "key.bias" not in name}  # softmax takes it out again


@pytest.mark.parametrize(
    ("kind", "names"),
    [("captions", {"caption"}), ("questions", {"answer"}), ("pretraining", {"masked", "match"})],
)
def test_losses_of_each_kind(kind: OscarKind, names: set[str]) -> None:
    losses = ObjectiveTask(tiny_model(), OBJECTIVE)(oscar_batch(kind))
    assert set(losses) == names
    assert all(bool(loss > 0) for loss in losses.values())


def test_all_kinds_together_reach_every_parameter() -> None:
    model = tiny_model().train()
    task = ObjectiveTask(model, OBJECTIVE)
    for kinds, left in (
        (("captions", "questions"), {"match_head.weight", "match_head.bias"}),
        (("pretraining",), {"answer_head.weight", "answer_head.bias"}),
    ):
        model.zero_grad()
        for kind in kinds:
            sum(task(oscar_batch(kind)).values()).backward()
        assert without_gradient(model) == left


def test_a_caption_loss_is_that_of_its_masked_words_by_hand() -> None:
    model, batch = tiny_model(), oscar_batch("captions")
    objective = OscarObjective(OBJECTIVE.layout, label_smoothing=0.0)
    outputs = objective.run(model, batch.regions, batch)
    hidden = outputs.texts[0].states.hidden
    scores = []
    for place, token in {(0, 0, 2): 8, (0, 1, 1): 10, (1, 0, 3): 13, (1, 1, 2): 3, (2, 0, 1): 20}.items():
        scores.append(-model.caption_logits(hidden[place]).log_softmax(-1)[token])
    torch.testing.assert_close(objective.losses(model, outputs, batch)["caption"], torch.stack(scores).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_loss_and_no_gradient(kind: OscarKind) -> None:
    def losses_and_gradients(batch: OscarBatch) -> tuple[Tensor, ...]:
        task = distillation(classification=float(kind != "pretraining")).eval()
        task.hidden_loss.queue.enqueue(
            torch.randn(64, 32, generator=torch.Generator().manual_seed(1)), torch.arange(9, 73)
        )
        losses = task(batch)
        sum(losses.values()).backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in task.parameters()]
        return (*[loss.detach() for loss in losses.values()], *grads)

    batch = oscar_batch(kind)
    regions, teacher_regions = map(with_padded_regions, (batch.regions, batch.teacher_regions))
    targets_of_text, targets_of_tags = batch.targets.split([TEXT, TAGS], dim=-1)
    wider, more = (0, 2, 0, 1), (0, 1)
    padded = replace(
        batch,
        regions=regions,
        teacher_regions=teacher_regions,
        text=functional.pad(batch.text, wider),
        tags=functional.pad(batch.tags, wider),
        targets=torch.cat([functional.pad(targets_of_text, wider), functional.pad(targets_of_tags, wider)], -1),
        answers=functional.pad(batch.answers, (0, 0, 0, 1)),
        matched=functional.pad(batch.matched, more, value=True),
        valid=functional.pad(batch.valid, more),
    )
    for ours, theirs in zip(losses_and_gradients(padded), losses_and_gradients(batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_student_and_teacher_read_the_same_masked_tokens(kind: OscarKind) -> None:
    task, batch = distillation(classification=0.0), oscar_batch(kind)
    read: dict[str, list[Tensor]] = {}
    for name, model in (("student", task.student), ("teacher", task.teacher.model)):
        seen = read.setdefault(name, [])
        model.word_embeddings.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
    task(batch)
    assert [len(seen) for seen in read.values()] == [2, 2]
    for student, teacher, given in zip(*read.values(), (batch.text, batch.tags), strict=True):
        assert torch.equal(student, given)
        assert torch.equal(teacher, given)
    assert (batch.text == 4).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_distillation_loss_pulls_on_the_student(kind: OscarKind) -> None:
    task, batch = distillation(classification=float(kind != "pretraining")), oscar_batch(kind)
    task(replace(batch, photos=batch.photos + 10))  # fills the queue
    losses = task(batch)
    expected = {"attention", "hidden", "classification"} - ({"classification"} if kind == "pretraining" else set())
    assert expected < set(losses)
    for name in expected:
        task.zero_grad()
        losses[name].backward(retain_graph=True)
        assert task.student.layers[0].query.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in task.teacher.model.parameters())


def test_a_student_that_equals_its_teacher_has_nothing_left_to_learn_from_its_attention() -> None:
    task = DistillationTask(tiny_model(), FrozenTeacher(tiny_model(), OBJECTIVE), DistillationSettings(hidden=0)).eval()
    batch = oscar_batch("captions")
    losses = task(replace(batch, teacher_regions=batch.regions))
    assert float(losses["attention"].detach()) == pytest.approx(0, abs=1e-9)
    assert float(losses["classification"].detach()) == pytest.approx(0, abs=1e-6)


def test_words_and_a_photos_regions_once_may_become_negatives() -> None:
    batch = oscar_batch("captions")
    text = OBJECTIVE.run(tiny_model(), batch.regions, batch).texts[0]
    words = text.words.long().tolist()
    none = [0] * TAGS
    assert words[0] == [[0, 1, 1, 1, 0, *none, 1, 1, 1, 0], [0, 1, 0, 0, 0, *none, 0, 0, 0, 0]]
    assert words[1][1] == [0, 1, 1, 0, 0, *none, 0, 0, 0, 0]  # a masked end is a query
    assert not text.valid[2, 1].any()


def test_processes_share_a_batch_by_its_photos() -> None:
    batch = oscar_batch("captions")
    assert batch_rows(batch) == 3
    last = share_of(batch, 2, 3)
    assert last.photos.tolist() == [2]
    assert torch.equal(last.targets, batch.targets[2:])
    assert last.kind == "captions"


def test_a_photo_is_needed() -> None:
    with pytest.raises(ValueError, match="OSCAR's layout: expected regions"):
        ObjectiveTask(tiny_model(), OBJECTIVE, blind=True)(oscar_batch("questions"))
