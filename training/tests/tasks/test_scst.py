"""Self-critical training: what is rewarded becomes likelier, and questions are not forgotten."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from distillvlm.data.text_batches import TextBatch
from distillvlm.data.vocabulary import SPECIAL_TOKENS, Tokenizer
from distillvlm.modeling.generation import beam_search, sample_captions
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.scst import CaptionReward, ScstSettings, ScstTask, caption_log_probabilities
from tests.modeling.tiny import tiny_model, tiny_regions

# As many pieces as the tiny model's vocabulary.
PIECES = (
    *(".", "-", "'", "s", "t", "a", "the", "dog", "cat"),
    *("shirt", "red", "blue", "runs", "sleeps", "on", "over", "##ing", "beach"),
)
TOKENIZER = Tokenizer((*SPECIAL_TOKENS, *PIECES))
REWARD = CaptionReward(TOKENIZER, [["a dog runs", "the red dog"], ["a cat sleeps on the beach"], ["the blue shirt"]])


def ids(text: str) -> list[int]:
    return [*TOKENIZER.encode(text), TOKENIZER.sep_id]


def references(targets_BNT: Tensor) -> TextBatch:
    """One photo whose human captions are given as `w1 .. wn [SEP]`."""
    regions = tiny_regions(batch=1, seed=2)
    valid = torch.ones(targets_BNT.shape[:2], dtype=torch.bool)
    return TextBatch("references", regions, None, torch.zeros_like(targets_BNT), targets_BNT, valid, torch.tensor([0]))


def draw(model: VisionLanguageModel) -> Tensor:
    """The two captions [1, 2, T] that a task draws behind the same seed; the first has six words, the other two."""
    torch.manual_seed(3)
    return sample_captions(model, model.encode_prefix(tiny_regions(batch=1, seed=2)), 2, max_tokens=6).tokens


def log_probabilities(model: VisionLanguageModel, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        prefix = model.encode_prefix(tiny_regions(batch=1, seed=2))
        return caption_log_probabilities(model, prefix, tokens).sum(-1)[0]


def people_say(text: str) -> TextBatch:
    """One photo with one caption to learn."""
    said = ids(text)
    return replace(
        references(torch.tensor([[said]])), kind="captions", tokens=torch.tensor([[[TOKENIZER.cls_id, *said[:-1]]]])
    )


def changes(task: ScstTask, references_BNT: Tensor) -> Tensor:
    """How the log-probabilities [2] of the drawn captions change by a small step down the gradient."""
    tokens = draw(task.model)
    before = log_probabilities(task.model, tokens)
    torch.manual_seed(3)
    task.train()(references(references_BNT))["policy"].backward()
    with torch.no_grad():
        for parameter in task.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad
    return log_probabilities(task.model, tokens) - before


def test_the_vocabularies_of_tokenizer_and_model_are_of_one_size() -> None:
    assert len(TOKENIZER) == tiny_model().config.vocab_size


def test_a_caption_that_beats_the_greedy_one_becomes_likelier() -> None:
    model = tiny_model()
    task = ScstTask(model, REWARD, ScstSettings(samples=2, baseline="greedy", max_tokens=6))
    change = changes(task, draw(model)[:, :1])  # the first is what people said
    assert task.measurements()["reward"] > task.measurements()["baseline"]
    assert change[0] > 0


def test_captions_behind_the_greedy_one_become_less_likely() -> None:
    model = tiny_model()
    task = ScstTask(model, REWARD, ScstSettings(samples=2, baseline="greedy", max_tokens=6))
    greedy = beam_search(model, model.encode_prefix(tiny_regions(batch=1, seed=2)), 1, 6, 0.0).tokens
    change = changes(task, greedy)
    assert task.measurements()["reward"] < task.measurements()["baseline"] == pytest.approx(10)
    assert (change < 0).all()


def test_the_better_of_two_samples_gains_on_the_other() -> None:
    model = tiny_model()
    change = changes(ScstTask(model, REWARD, ScstSettings(samples=2, max_tokens=6)), draw(model)[:, 1:])
    assert change[1] > change[0]


def questions() -> TextBatch:
    return replace(
        references(torch.zeros(1, 1, 1, dtype=torch.long)),
        kind="questions",
        tokens=torch.tensor([[[2, 7, 3]]]),
        targets=torch.tensor([[[0.0, 1.0, 0.0, 0.3, 0.0]]]),
    )


def test_captions_are_drawn_without_dropout_and_people_s_are_learnt_with_it_as_questions_are() -> None:
    task = ScstTask(tiny_model(dropout=0.5), REWARD, ScstSettings()).train()
    drawn, said = references(torch.tensor([[ids("a dog runs")]])), people_say("a dog runs")
    for batch, drops in ((drawn, False), (questions(), True), (drawn, False), (said, True)):
        task(batch)
        assert any(module.training for module in task.model.modules()) == drops
    task.eval()(questions())
    assert not task.model.training


def test_in_bf16_every_weight_that_has_a_say_in_drawn_captions_learns_from_them() -> None:
    """What is drawn without gradients must not leave casts of weights behind that the pass with gradients takes up."""

    def learns(precision: torch.dtype | None) -> set[str]:
        model = tiny_model()
        task = ScstTask(model, REWARD, ScstSettings(samples=2, max_tokens=6)).train()
        torch.manual_seed(3)
        with torch.autocast("cpu", precision, enabled=precision is not None):
            losses = task(references(draw(model)[:, 1:]))
        losses["policy"].backward()
        return {
            name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
        }

    assert learns(torch.bfloat16) == learns(None) >= {"word_transform.weight"}


def test_questions_are_learnt_as_before() -> None:
    task = ScstTask(tiny_model(), REWARD, ScstSettings()).train()
    assert set(task(questions())) == {"answer"}
    assert task.measurements() == {}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_captions_of_people_are_learnt_as_the_objective_says(smoothing: float) -> None:
    model, batch, objective = tiny_model(), people_say("a dog runs"), LanguageObjective(smoothing)
    losses = ScstTask(model, REWARD, ScstSettings(), objective=objective).eval()(batch)
    expected = objective.losses(model, objective.run(model, batch.regions, batch), batch)
    assert list(losses) == ["caption"]
    torch.testing.assert_close(losses["caption"], expected["caption"])


def test_what_is_learnt_at_a_temperature_is_what_was_drawn_at_it() -> None:
    """The same as of a model whose own logits are as much larger."""
    model, sharper, settings = tiny_model(), tiny_model(), ScstSettings(samples=4, max_tokens=6)
    logits_of = model.caption_logits
    sharper.caption_logits = lambda hidden: logits_of(hidden) / 0.5  # type: ignore[method-assign]
    torch.manual_seed(3)
    drawn = sample_captions(model, model.encode_prefix(tiny_regions(batch=1, seed=2)), 4, 6, temperature=0.5).tokens
    losses = []
    for task in (
        ScstTask(model, REWARD, replace(settings, temperature=0.5)),
        ScstTask(sharper, REWARD, settings),
        ScstTask(model, REWARD, settings),
    ):
        torch.manual_seed(3)
        losses.append(task(references(drawn[:, :1]))["policy"].item())  # the first is what people said
    assert losses[0] != 0
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] != pytest.approx(losses[2])


def test_how_many_samples_differ_and_break_off_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("a dog runs", "a dog runs", "the cat on a", "the cat")
    rows = [ids(text) for text in said]
    tokens = torch.tensor([[row + [0] * (5 - len(row)) for row in rows]])
    drawn = SimpleNamespace(tokens=tokens)
    monkeypatch.setattr("distillvlm.tasks.scst.sample_captions", lambda *_: drawn)
    task = ScstTask(tiny_model(), REWARD, ScstSettings(samples=4, max_tokens=5))
    task(references(torch.tensor([[ids("a dog runs")]])))
    measured = task.measurements()
    assert (measured["distinct"], measured["function_word_endings"]) == (0.75, 0.25)


def test_words_of_the_reward_are_whole_with_punctuation_and_the_end() -> None:
    assert REWARD.words(ids("the red dog's t-shirt.")) == ["the", "red", "dog", "'s", "t-shirt", ".", "[SEP]"]
    assert REWARD.words([*ids("a cat"), 0, 0]) == ["a", "cat", "[SEP]"]
    assert REWARD.words(TOKENIZER.encode("the dog runsing over")) == ["the", "dog", "runsing", "over"]  # cut off


def test_piled_up_punctuation_costs_reward() -> None:
    reference = torch.tensor([[ids("a dog runs.")]])
    ended, piled = (
        float(REWARD(torch.tensor([[ids(text)]]), reference, torch.tensor([[True]])))
        for text in ("a dog runs.", "a dog runs...")
    )
    assert ended == pytest.approx(10.0)
    assert piled < 8


def test_only_references_that_count_are_compared_with() -> None:
    said, other = ids("a dog runs on the beach"), ids("the blue cat")
    references = torch.tensor([[said, other + [0] * (len(said) - len(other))]])
    captions = torch.tensor([[said]])
    alone = REWARD(captions, references, torch.tensor([[True, False]]))
    assert float(alone) == pytest.approx(10.0)
    assert float(REWARD(captions, references, torch.tensor([[True, True]]))) == pytest.approx(5.0, abs=1.0)


def test_one_sample_has_no_others() -> None:
    with pytest.raises(ValueError, match="at least 2 samples of each photo but received 1"):
        ScstTask(tiny_model(), REWARD, ScstSettings(samples=1))
