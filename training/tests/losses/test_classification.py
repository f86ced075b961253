import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distillvlm.losses.classification import (
    answer_distillation,
    answer_loss,
    caption_loss,
    likeliest_answers_distillation,
    likeliest_words_distillation,
    masked_token_loss,
    match_loss,
    word_distillation,
)

FORBIDDEN = -1e9


def test_caption_loss_by_hand_without_smoothing() -> None:
    # Probabilities 1/4, 1/4, 1/2 and 1/2, 1/4, 1/4; words 2 and 1.
    logits = torch.tensor([[1.0, 1.0, 2.0], [2.0, 1.0, 1.0]]).log()
    loss = caption_loss(logits, torch.tensor([2, 1]), torch.ones(3, dtype=torch.bool))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_caption_loss_smooths_over_allowed_pieces_only() -> None:
    # Allowed: pieces 0 and 2, probabilities 1/4 and 3/4. 0.8 to the word 2, 0.2 spread over both.
    logits = torch.tensor([[0.0, FORBIDDEN, math.log(3)]])
    loss = caption_loss(logits, torch.tensor([2]), torch.tensor([True, False, True]), label_smoothing=0.2)
    assert loss.item() == pytest.approx(-(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)))


def test_caption_loss_with_all_pieces_allowed_is_pytorchs() -> None:
    torch.manual_seed(0)
    logits, words = torch.randn(7, 11), torch.randint(11, (7,))
    expected = functional.cross_entropy(logits, words, label_smoothing=0.1)
    assert caption_loss(logits, words, torch.ones(11, dtype=torch.bool), 0.1).item() == pytest.approx(expected.item())


def test_forbidden_pieces_get_no_gradient() -> None:
    logits = torch.tensor([[0.5, FORBIDDEN, 1.0]], requires_grad=True)
    caption_loss(logits, torch.tensor([2]), torch.tensor([True, False, True]), 0.1).backward()
    assert logits.grad[0, 1] == 0
    assert logits.grad[0].sum().item() == pytest.approx(0, abs=1e-6)


def test_answer_loss_is_summed_over_answers_and_averaged_over_questions() -> None:
    # Sigmoid of 0 is 1/2 whatever the target: ln 2 for each of three answers.
    assert answer_loss(torch.zeros(2, 3), torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.0, 1.0]])).item() == pytest.approx(
        3 * math.log(2)
    )
    confident = answer_loss(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert confident.item() == pytest.approx(math.log(4 / 3) + math.log(2))


def test_answer_distillation_is_lowest_at_the_teachers_logits() -> None:
    teacher = torch.tensor([[2.0, -1.0, 0.5]])
    student = teacher.clone().requires_grad_()
    loss = answer_distillation(student, teacher)
    loss.backward()
    entropy = torch.distributions.Bernoulli(logits=teacher).entropy().sum()
    assert loss.item() == pytest.approx(entropy.item())
    assert student.grad.abs().max().item() == pytest.approx(0, abs=1e-6)


def test_word_distillation_by_hand() -> None:
    # Teacher 1/2, 1/2; student 1/4, 3/4: 1/2 ln 2 + 1/2 ln(2/3).
    teacher, student = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert word_distillation(student, teacher).item() == pytest.approx(expected)


def test_word_distillation_softens_both_and_multiplies_by_the_squared_temperature() -> None:
    # At temperature 2 the logits 2 ln 3 become ln 3.
    teacher, student = torch.zeros(1, 2), torch.tensor([[0.0, 2 * math.log(3)]])
    expected = 4 * (0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert word_distillation(student, teacher, temperature=2.0).item() == pytest.approx(expected)


def test_word_distillation_ignores_forbidden_pieces() -> None:
    teacher, student = torch.randn(3, 4), torch.randn(3, 4)
    column = torch.full((3, 1), FORBIDDEN)
    wide = word_distillation(torch.cat([student, column], 1), torch.cat([teacher, column], 1), 2.0)
    assert wide.item() == pytest.approx(word_distillation(student, teacher, 2.0).item(), rel=1e-5)


def test_match_loss_counts_matched_as_the_second_class() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert match_loss(logits, torch.tensor([True, False])).item() == pytest.approx(expected)


def test_masked_token_loss_is_the_mean_over_masked_places() -> None:
    logits = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log()
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert masked_token_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: caption_loss(logits, torch.zeros(0, dtype=torch.int64), torch.ones(5, dtype=torch.bool), 0.1),
        lambda logits: masked_token_loss(logits, torch.zeros(0, dtype=torch.int64)),
        lambda logits: match_loss(logits[:, :2], torch.zeros(0, dtype=torch.bool)),
        lambda logits: answer_loss(logits, torch.zeros(0, 5)),
        lambda logits: answer_distillation(logits, torch.zeros(0, 5)),
        lambda logits: word_distillation(logits, torch.zeros(0, 5), 2.0),
    ],
)
def test_nothing_to_score_gives_zero_with_zero_gradient(loss: Callable[[Tensor], Tensor]) -> None:
    head = torch.nn.Linear(3, 5)
    value = loss(head(torch.zeros(0, 3)))
    value.backward()
    assert value == 0
    assert torch.equal(head.weight.grad, torch.zeros(5, 3))


def test_settings_out_of_range_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="label_smoothing in 0-1 but received 1"):
        caption_loss(torch.zeros(1, 2), torch.tensor([0]), torch.ones(2, dtype=torch.bool), 1.0)
    with pytest.raises(ValueError, match="positive temperature but received 0"):
        word_distillation(torch.zeros(1, 2), torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match=r"student's are \(1, 2\) and the teacher's \(1, 3\)"):
        word_distillation(torch.zeros(1, 2), torch.zeros(1, 3))


def test_all_likeliest_words_give_the_whole_divergence() -> None:
    generator = torch.Generator().manual_seed(4)
    student, teacher = torch.randn(5, 7, generator=generator), torch.randn(5, 7, generator=generator)
    probabilities, ids = teacher.softmax(-1).topk(7)
    found = likeliest_words_distillation(student, ids, probabilities)
    assert float(found) == pytest.approx(float(word_distillation(student, teacher)), abs=1e-4)


def test_unlikely_words_count_as_one() -> None:
    student = torch.tensor([[2.0, 1.0, 0.0, 0.0]])
    probabilities = torch.tensor([[0.5, 0.3]])
    ours = student.softmax(-1)[0]
    expected = 0.5 * (0.5 / ours[1]).log() + 0.3 * (0.3 / ours[0]).log() + 0.2 * (0.2 / (ours[2] + ours[3])).log()
    found = likeliest_words_distillation(student, torch.tensor([[1, 0]]), probabilities)
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_likeliest_answers_are_targets_and_the_others_have_no_chance() -> None:
    student = torch.tensor([[1.0, -1.0, 0.5]])
    found = likeliest_answers_distillation(student, torch.tensor([[2, 0]]), torch.tensor([[0.9, 0.2]]))
    assert float(found) == pytest.approx(float(answer_loss(student, torch.tensor([[0.2, 0.0, 0.9]]))), abs=1e-6)
