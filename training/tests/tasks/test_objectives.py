"""What the objectives learn from, which parameters they reach, and what a teacher adds."""

from dataclasses import replace

import pytest
import torch

from distillvlm.data.pretraining_batches import PretrainingBatch
from distillvlm.data.text_batches import TextBatch
from distillvlm.engine.gradient_shares import gradient_shares, outputs_of
from distillvlm.modeling.layouts import DenseLayout, QuestionAttention, dense_sequences, encode_sequences
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import ObjectiveTask
from distillvlm.tasks.pretraining import PretrainingObjective
from tests.modeling.tiny import ANSWERS, tiny_model, tiny_regions

PHOTOS = torch.tensor([0, 1, 2])


def captions() -> TextBatch:
    tokens = torch.tensor(
        [[[2, 7, 8, 9], [2, 10, 0, 0]], [[2, 11, 12, 0], [0, 0, 0, 0]], [[2, 13, 0, 0], [2, 5, 6, 0]]]
    )
    targets = torch.tensor(
        [[[7, 8, 9, 3], [10, 3, 0, 0]], [[11, 12, 3, 0], [0, 0, 0, 0]], [[13, 3, 0, 0], [5, 6, 3, 0]]]
    )
    return TextBatch("captions", tiny_regions(), tiny_regions(seed=9), tokens, targets, targets.any(-1), PHOTOS)


def questions() -> TextBatch:
    tokens = torch.tensor([[[2, 7, 3]], [[2, 8, 3]], [[2, 9, 3]]])
    targets = torch.rand(3, 1, ANSWERS, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(3, 1, dtype=torch.bool)
    return TextBatch("questions", tiny_regions(), tiny_regions(seed=9), tokens, targets, valid, PHOTOS)


def pretraining() -> PretrainingBatch:
    tags = torch.tensor([[4, 0, 6, 0, 0, 0], [7, 0, 4, 0, 0, 0], [8, 0, 9, 0, 0, 0]])
    tag_targets = torch.tensor([[5, 0, 0, 0, 0, 0], [0, 0, 8, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    match = torch.tensor([[[2, 4, 8, 3]], [[2, 9, 3, 0]], [[2, 10, 4, 3]]])
    match_targets = torch.tensor([[[0, 7, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 12, 0]]])
    return PretrainingBatch(captions(), tags, tag_targets, match, match_targets, torch.tensor([True, False, True]))


def pretraining_on_questions() -> PretrainingBatch:
    return replace(pretraining(), texts=replace(questions(), kind="texts", targets=torch.zeros(3, 1, 0)))


def parameters_without_gradient(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_fine_tuning_reaches_every_parameter_but_pre_trainings_head(attention: QuestionAttention) -> None:
    model = tiny_model().train()
    task = ObjectiveTask(model, LanguageObjective(question_attention=attention))
    total = sum(loss for batch in (captions(), questions()) for loss in task(batch).values())
    total.backward()
    # A key bias adds the same to every score of a query, which softmax takes out again: its gradient is rounding noise.
    assert {name for name in parameters_without_gradient(model) if "key.bias" not in name} == {
        "match_head.weight",
        "match_head.bias",
    }


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_pre_training_reaches_every_parameter_but_the_answers(attention: QuestionAttention) -> None:
    model = tiny_model().train()
    losses = ObjectiveTask(model, PretrainingObjective(attention))(pretraining())
    assert set(losses) == {"caption", "masked_tags", "masked_words", "match"}
    sum(losses.values()).backward()
    assert {name for name in parameters_without_gradient(model) if "key.bias" not in name} == {
        "answer_head.weight",
        "answer_head.bias",
    }


def test_pre_training_on_questions_teaches_no_caption() -> None:
    model = tiny_model().train()
    losses = ObjectiveTask(model, PretrainingObjective())(pretraining_on_questions())
    assert set(losses) == {"masked_tags", "masked_words", "match"}
    assert all(bool(loss > 0) for loss in losses.values())


@torch.no_grad()
def test_under_full_attention_tags_and_regions_see_the_question_and_not_the_caption() -> None:
    model, batch = tiny_model(), questions()
    full = LanguageObjective(question_attention="full").run(model, batch.regions, batch)
    states = DenseLayout("full").encode_questions(model, batch.regions, batch.tokens)
    torch.testing.assert_close(full.logits["answer"], model.answer_logits(model.pool(states))[:, 0])
    prefix = LanguageObjective().run(model, batch.regions, batch)
    assert (full.logits["answer"] - prefix.logits["answer"]).abs().min() > 1e-4
    assert full.texts[0].words[:, :, -4:].sum() == batch.regions.valid.sum()  # regions may be negatives
    for attention in ("prefix", "full"):
        said = LanguageObjective(question_attention=attention).run(model, batch.regions, captions())
        assert torch.equal(said.prefix.hidden, model.encode_prefix(batch.regions).hidden)


@torch.no_grad()
def test_masked_words_of_pre_training_are_read_with_the_attention_of_questions() -> None:
    model, batch = tiny_model(), pretraining()
    full = PretrainingObjective("full").run(model, batch.texts.regions, batch)
    sequences = dense_sequences(batch.match_tokens, batch.tag_tokens)
    states = encode_sequences(model, sequences, batch.texts.regions)
    torch.testing.assert_close(full.logits["match"], model.match_logits(model.pool(states))[:, 0])
    masked = states.hidden[:, :, : batch.match_tokens.shape[2]][batch.match_targets != 0]
    torch.testing.assert_close(full.logits["masked_words"], model.word_logits(masked))
    prefix = PretrainingObjective().run(model, batch.texts.regions, batch)
    assert torch.equal(full.logits["masked_tags"], prefix.logits["masked_tags"])
    assert torch.equal(full.logits["caption"], prefix.logits["caption"])


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_distillation_of_questions_pulls_on_the_student_under_either_attention(attention: QuestionAttention) -> None:
    task = distillation(DistillationSettings(queue_size=64), LanguageObjective(question_attention=attention))
    task(replace(questions(), photos=PHOTOS + 10))  # fills the queue
    losses = task(questions())
    for name in ("attention", "hidden", "classification"):
        task.zero_grad()
        losses[name].backward(retain_graph=True)
        assert task.student.layers[0].query.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_distillation_in_pre_training_takes_batches_with_and_without_captions(attention: QuestionAttention) -> None:
    task = distillation(DistillationSettings(classification=0.0, queue_size=64), PretrainingObjective(attention))
    for batch in (pretraining(), pretraining_on_questions()):
        losses = task(batch)
        sum(losses.values()).backward()
        assert {"attention", "hidden"} < set(losses)
    with pytest.raises(ValueError, match=r"pre-training wants classification 0, as the paper, not 1\.0"):
        distillation(DistillationSettings(queue_size=64), PretrainingObjective(attention))(pretraining())


def test_distillation_in_pre_training_reaches_every_parameter_but_the_answers() -> None:
    task = distillation(DistillationSettings(classification=0.0, queue_size=64), PretrainingObjective())
    texts = replace(captions(), photos=PHOTOS + 10)
    task(replace(pretraining(), texts=texts))  # fills the queue
    for name in ("attention", "hidden"):
        task.zero_grad()
        task(pretraining())[name].backward()
        assert task.student.layers[0].query.weight.grad.abs().sum() > 0
    sum(task(pretraining()).values()).backward()
    assert {name for name in parameters_without_gradient(task) if "key.bias" not in name} == {
        "trained.answer_head.weight",
        "trained.answer_head.bias",
    }


def test_a_blind_model_does_not_see_the_photo() -> None:
    model = tiny_model()
    task = ObjectiveTask(model, LanguageObjective(), blind=True).eval()
    batch = questions()
    other = replace(batch, regions=tiny_regions(seed=5))
    assert torch.equal(task(batch)["answer"], task(other)["answer"])
    seeing = ObjectiveTask(model, LanguageObjective()).eval()
    assert not torch.equal(seeing(batch)["answer"], seeing(other)["answer"])


@pytest.mark.parametrize(
    ("objective", "batch"),
    [
        (LanguageObjective(0.0), captions()),
        (PretrainingObjective(), pretraining()),
        (PretrainingObjective(), pretraining_on_questions()),
        (LanguageObjective(question_attention="full"), questions()),
        (PretrainingObjective("full"), pretraining_on_questions()),
    ],
)
def test_padded_texts_change_no_loss_and_no_gradient(objective, batch) -> None:
    def gradients(of) -> tuple[torch.Tensor, ...]:
        model = tiny_model()
        losses = ObjectiveTask(model, objective).eval()(of)
        sum(losses.values()).backward()
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
        return (*[loss.detach() for loss in losses.values()], *grads)

    plain = batch.texts if isinstance(batch, PretrainingBatch) else batch
    pad = torch.nn.functional.pad
    wider = replace(
        plain,
        tokens=pad(plain.tokens, (0, 2, 0, 1)),
        targets=pad(plain.targets, (0, 2 * (plain.kind == "captions"), 0, 1)),
        valid=pad(plain.valid, (0, 1)),
    )
    padded = replace(batch, texts=wider) if isinstance(batch, PretrainingBatch) else wider
    for ours, theirs in zip(gradients(padded), gradients(batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def distillation(settings: DistillationSettings, objective: object = None, **student: int | float) -> DistillationTask:
    torch.manual_seed(0)
    teacher = tiny_model(seed=1, hidden_size=32, num_layers=3)
    return DistillationTask(
        tiny_model(**student), FrozenTeacher(teacher, objective or LanguageObjective()), settings
    ).train()


def test_the_teacher_stays_in_eval_mode_without_gradient_and_out_of_the_checkpoint() -> None:
    task = distillation(DistillationSettings(queue_size=16))
    for batch in (captions(), questions()):
        losses = task(batch)
        sum(losses.values()).backward()
    assert not task.teacher.model.training
    assert all(parameter.grad is None for parameter in task.teacher.model.parameters())
    assert not any(
        value.data_ptr() == task.teacher.model.pooler.weight.data_ptr() for value in task.state_dict().values()
    )


def test_distillation_reaches_every_parameter_its_projection_among_them() -> None:
    task = distillation(DistillationSettings(queue_size=16))
    task(replace(captions(), photos=PHOTOS + 10))  # fills the queue
    for batch in (captions(), questions()):
        sum(task(batch).values()).backward()
    assert {name for name in parameters_without_gradient(task) if "key.bias" not in name} == {
        "trained.match_head.weight",
        "trained.match_head.bias",
    }


def test_each_loss_can_be_switched_off_and_pulls_on_the_student() -> None:
    names = ("attention", "hidden", "classification")
    for name in names:
        switched = {other: float(other == name) for other in names}
        task = distillation(DistillationSettings(queue_size=16, **switched))
        task(captions())  # fills the queue
        losses = task(captions())
        assert set(losses) == {"caption", name}
        losses[name].backward()
        reached = task.student.layers[0].query.weight.grad
        assert reached is not None
        assert reached.any()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_shares_of_the_gradient_are_taken_at_the_last_layers_input(num_layers: int) -> None:
    task = distillation(DistillationSettings(queue_size=16), num_layers=num_layers, dropout=0.0)
    task(captions())  # fills the queue
    last = task.student.encoder_layers[-1]
    with outputs_of(task.before_last_layer()) as inputs:
        losses = task(captions())
    prefix = torch.cat(inputs[:-1], dim=1)
    prefix_states = last.prefix(prefix, task.student.encode_prefix(captions().regions).mask)
    torch.testing.assert_close(prefix_states[0], task.student.encode_prefix(captions().regions).hidden)
    shares = gradient_shares(losses, inputs)
    assert set(shares) == {"caption", "attention", "hidden", "classification"}
    assert min(shares.values()) > 0
    assert sum(shares.values()) == pytest.approx(1)


def test_a_student_that_equals_its_teacher_has_nothing_left_to_learn_from_it() -> None:
    student = tiny_model()
    settings = DistillationSettings(hidden=0, queue_size=16)
    task = DistillationTask(student, FrozenTeacher(tiny_model(), LanguageObjective()), settings).eval()
    batch = replace(captions(), teacher_regions=captions().regions)
    losses = task(batch)
    assert float(losses["attention"].detach()) == pytest.approx(0, abs=1e-9)
    losses["classification"].backward()
    assert student.word_bias.grad is not None
    assert student.word_bias.grad.abs().max() < 1e-6


def test_tags_and_special_tokens_never_enter_the_queue() -> None:
    task = distillation(DistillationSettings(queue_size=256))
    task(captions())
    with torch.no_grad():
        theirs = task.objective.run(task.teacher.model, captions().teacher_regions, captions())
    queued = task.hidden_loss.queue.tokens[task.hidden_loss.queue.photos >= 0]
    tags = torch.nn.functional.normalize(theirs.prefix.hidden[:, :6].flatten(0, 1), dim=-1)
    words = torch.nn.functional.normalize(theirs.texts[0].states.hidden[:, :, :4].flatten(0, 2), dim=-1)
    assert len(queued) > 10
    assert (queued @ tags.T).max() < 1 - 1e-5
    assert (queued @ words.T).max() < 1 - 1e-5  # [CLS] and the words themselves: only their queries are negatives


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_words_of_polluted_texts_never_enter_the_queue(attention: QuestionAttention) -> None:
    """They may be words of a photo that is in the same batch."""
    batch, objective = pretraining(), PretrainingObjective(attention)
    match = objective.run(tiny_model(), batch.texts.regions, batch).texts[-1]
    assert match.words.flatten(1).any(1).tolist() == batch.matched.tolist()
    assert match.valid.flatten(1).any(1).all()


def test_teacher_and_student_need_as_many_heads() -> None:
    with pytest.raises(ValueError, match="they have 4 and 2"):
        DistillationTask(
            tiny_model(), FrozenTeacher(tiny_model(num_heads=2), LanguageObjective()), DistillationSettings()
        )
