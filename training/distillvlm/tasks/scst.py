"""Self-critical sequence training: captions that the model draws itself, rewarded by CIDEr-D."""

# Shapes: B photos, N human captions of a photo, K sampled captions, T tokens, M tokens of all samples.
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from distillvlm.data.sentences import distinct_sentences, function_word_endings
from distillvlm.data.text_batches import TextBatch
from distillvlm.data.vocabulary import Tokenizer
from distillvlm.engine.trainer import Task
from distillvlm.losses.cider import CiderD
from distillvlm.losses.policy import mean_of_others, policy_gradient_loss
from distillvlm.modeling.generation import beam_search, sample_captions
from distillvlm.modeling.layouts import DenseLayout, Layout
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import Objective, before_last_layer

END = "[SEP]"
"""Counts as a word of the reward: without it, captions learn to break off ("a dog in a")."""

# Words as the PTB tokenizer has them ("t-shirt", but "dog" and "'s"), and punctuation.
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*|'[a-z]+|[^\w\s]")


@dataclass(frozen=True)
class ScstSettings:
    """How captions are drawn and judged.

    samples: of each photo. baseline: what a sample is compared with: the mean reward of the photo's other samples
    (Luo 2020, better and cheaper) or the reward of the greedy caption (Rennie et al. 2017). max_tokens: [SEP] included.
    temperature: the model's logits are divided by it, where captions are drawn and where they are learnt: below 1 the
    model that is trained is nearer to the one that a search reads.
    """

    samples: int = 5
    baseline: Literal["others", "greedy"] = "others"
    max_tokens: int = 20
    temperature: float = 1.0


class CaptionReward:
    """CIDEr-D (0-10) of token ids against a photo's human captions, by words and not by pieces of words, as it is
    measured; document frequencies are those of `captions` (one entry a photo).

    Punctuation counts here, which the measured figure leaves out: as long as it was free, captions learnt to pile it up
    ("running in the grass.....").
    """

    def __init__(self, tokenizer: Tokenizer, captions: Iterable[Sequence[str]]) -> None:
        self.tokenizer = tokenizer
        self.cider = CiderD(
            [[self.words([*tokenizer.encode(text), tokenizer.sep_id]) for text in texts] for texts in captions]
        )

    def words(self, tokens: Iterable[int]) -> list[str]:
        """What a caption's tokens say, up to and with [SEP]."""
        row = list(tokens)
        ended = self.tokenizer.sep_id in row
        said = row[: row.index(self.tokenizer.sep_id)] if ended else row
        return _WORD.findall(self.tokenizer.decode(said)) + [END] * ended

    def __call__(self, captions_BKT: Tensor, references_BNT: Tensor, valid_BN: Tensor) -> Tensor:
        """Rewards float32 [B, K]. references_BNT: `w1 .. wn [SEP]`, where `valid_BN`."""
        rewards = [
            self.cider.scores(
                [self.words(row) for row in captions],
                [self.words(row) for row, counts in zip(references, valid, strict=True) if counts],
            )
            for captions, references, valid in zip(
                captions_BKT.tolist(), references_BNT.tolist(), valid_BN.tolist(), strict=True
            )
        ]
        return torch.tensor(rewards, device=captions_BKT.device)


class ScstTask(Task):
    """Raises the probability of sampled captions that beat the baseline, and lowers that of the others.

    Captions are drawn and run without dropout: so the samples come from the very distribution whose log-probabilities
    are learnt. They are drawn by the cached decoder, and run once more with gradient, in the dense layout.
    Batches of references hold all human captions of their photos. Questions and captions among the batches are learnt
    as in fine-tuning, so that a model does not forget how to answer, nor what people say.

    Source: Rennie et al. 2017, arXiv:1612.00563.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        reward: CaptionReward,
        settings: ScstSettings,
        layout: Layout | None = None,
        objective: Objective | None = None,
    ) -> None:
        """layout: that in which the model says captions; None for the dense one. objective: of questions and captions;
        None for `LanguageObjective()`."""
        super().__init__()
        if settings.baseline == "others" and settings.samples < 2:
            raise ValueError(f"scst: expected at least 2 samples of each photo but received {settings.samples}")
        self.trained = self.model = model
        self.reward, self.settings, self.layout = reward, settings, layout or DenseLayout()
        self.objective = objective or LanguageObjective()
        self.loss_weights = {}
        self._measured: dict[str, float] = {}

    def forward(self, batch: TextBatch) -> dict[str, Tensor]:
        batch = batch.to(self.model.word_bias.device)
        self._measured = {}
        self.model.train(self.training and batch.kind != "references")
        if batch.kind != "references":
            return self.objective.losses(self.model, self.objective.run(self.model, batch.regions, batch), batch)
        if batch.regions is None:
            raise ValueError("scst: expected references of photos")
        prefix = self.layout.encode_photos(self.model, batch.regions)
        samples, max_tokens, temperature = self.settings.samples, self.settings.max_tokens, self.settings.temperature
        samples_BKT = sample_captions(self.model, prefix, samples, max_tokens, temperature).tokens
        rewards_BK = self.reward(samples_BKT, batch.targets, batch.valid)
        baseline_BK = self._baseline(rewards_BK, prefix, batch)
        self._measured = {
            "reward": float(rewards_BK.mean()),
            "baseline": float(baseline_BK.mean()),
            **self._faults(samples_BKT),
        }
        log_probabilities_BKT = caption_log_probabilities(self.model, prefix, samples_BKT, temperature)
        return {"policy": policy_gradient_loss(log_probabilities_BKT, rewards_BK - baseline_BK)}

    def measurements(self) -> dict[str, float]:
        return self._measured

    def before_last_layer(self) -> Sequence[nn.Module]:
        return before_last_layer(self.model)

    def _faults(self, samples_BKT: Tensor) -> dict[str, float]:
        """Shares of the samples, by which it is seen that a model says the same of everything, or breaks off."""
        said = [self.reward.tokenizer.decode(row) for row in samples_BKT.flatten(0, 1).tolist()]
        return {"distinct": distinct_sentences(said) / len(said), "function_word_endings": function_word_endings(said)}

    def _baseline(self, rewards_BK: Tensor, prefix: Prefix, batch: TextBatch) -> Tensor:
        if self.settings.baseline == "others":
            return mean_of_others(rewards_BK)
        greedy = beam_search(self.model, prefix, 1, self.settings.max_tokens, length_penalty=0.0)
        return self.reward(greedy.tokens, batch.targets, batch.valid).expand_as(rewards_BK)


def caption_log_probabilities(
    model: VisionLanguageModel, prefix: Prefix, tokens_BKT: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probability of each token of captions `w1 .. wn [SEP]` given those before it; [B, K, T], 0 at padding.

    temperature: see `sample_captions`.
    """
    begins_BK1 = torch.full_like(tokens_BKT[..., :1], model.lexicon.cls)
    before_BKT = torch.cat([begins_BK1, tokens_BKT[..., :-1]], dim=-1)
    before_BKT = before_BKT.masked_fill(before_BKT == model.lexicon.sep, model.lexicon.pad)
    states = model.encode_captions(prefix, before_BKT)
    present_BKT = tokens_BKT != model.lexicon.pad
    logits_MV = model.caption_logits(states.hidden[:, :, tokens_BKT.shape[-1] :][present_BKT])
    chosen_M = (logits_MV / temperature).log_softmax(-1).gather(-1, tokens_BKT[present_BKT][:, None]).squeeze(-1)
    return torch.zeros_like(tokens_BKT, dtype=chosen_M.dtype).masked_scatter(present_BKT, chosen_M)
