"""Tags: the words that stand before a photo's regions."""

# Shapes: B photos, R detections, L labels, W tag words, G tags, K classes of the backbone.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TIE_BREAK = 2e-3  # by how much the last word's prior is raised


@dataclass(frozen=True)
class ClassifierTags:
    """Words from the backbone's own classifier.

    table: float32 [K, words], 1 where a class counts for a word, so that a product sums probabilities.
    prior: float32 [words], mean probability of each word over the training photos.
    threshold: of a word's weight, probability / sqrt(prior); the root lifts telling words over common ones.
    first: before the detections' tags instead of in the slots that they leave.
    max_words: at most so many.
    """

    words: tuple[str, ...]
    table: Tensor
    prior: Tensor
    threshold: float = 0.5
    first: bool = False
    max_words: int = 8

    def __post_init__(self) -> None:
        if self.table.shape[1:] != (len(self.words),) or self.prior.shape != (len(self.words),):
            raise ValueError(
                f"Expected table [classes, {len(self.words)}] and prior [{len(self.words)}] but received "
                f"{list(self.table.shape)} and {list(self.prior.shape)}"
            )


def best_scores(labels_BR: Tensor, scores_BR: Tensor, num_labels: int) -> Tensor:
    """The best score of each label among a photo's detections, float32 [B, L], 0 for none. labels: -1 for none."""
    one_hot_BRL = functional.one_hot(labels_BR.clamp(min=0), num_labels) * (labels_BR >= 0)[..., None]
    return (one_hot_BRL * scores_BR[..., None]).amax(dim=1)


class Tagger(nn.Module):
    """The most certain words of a photo: distinct labels of its detections and, if given, words of the classifier."""

    table: Tensor
    prior: Tensor

    def __init__(
        self, labels: tuple[str, ...], num_tags: int, threshold: float, classifier: ClassifierTags | None
    ) -> None:
        super().__init__()
        extra = () if classifier is None else tuple(word for word in classifier.words if word not in labels)
        self.words = labels + extra
        self.num_labels = len(labels)
        self.num_tags = num_tags
        self.threshold = threshold
        self.classifier = classifier
        if num_tags > len(self.words):
            raise ValueError(
                f"Expected at most {len(self.words)} (one a tag word) for num_tags but received {num_tags}"
            )
        if classifier is not None:
            column = {word: index for index, word in enumerate(classifier.words)}
            known = [index for index, word in enumerate(self.words) if word in column]
            source = [column[self.words[index]] for index in known]
            table = torch.zeros(len(classifier.table), len(self.words))
            table[:, known] = classifier.table[:, source].float()
            prior = torch.ones(len(self.words))
            prior[known] = classifier.prior[source].float()
            self.register_buffer("table", table)
            # Words of the same classes tie, and the last bit of a sum differs between runtimes: the earlier word wins.
            self.register_buffer("prior", prior * torch.linspace(1, 1 + TIE_BREAK, len(self.words)))

    def forward(self, labels_BR: Tensor, scores_BR: Tensor, probabilities_BK: Tensor | None) -> Tensor:
        """Rows of `words`, int64 [B, G], -1 where none is certain enough.

        labels: int64 [B, R], -1 for none. probabilities: of the backbone's classes, needed with a classifier only.
        """
        scores_BW = best_scores(labels_BR, scores_BR, len(self.words))
        rank_BW = torch.where(scores_BW >= self.threshold, scores_BW, 0.0)
        if self.classifier is not None:
            assert probabilities_BK is not None
            rank_BW = self._with_classifier(rank_BW, probabilities_BK)
        best_BG, tags_BG = rank_BW.topk(self.num_tags, dim=1)
        return torch.where(best_BG > 0, tags_BG, -1)

    def _with_classifier(self, detected_BW: Tensor, probabilities_BK: Tensor) -> Tensor:
        assert self.classifier is not None
        weight_BW = probabilities_BK @ self.table / self.prior.clamp(min=1e-6).sqrt()
        kth_B1 = weight_BW.topk(min(self.classifier.max_words, len(self.words)), dim=1).values[:, -1:]
        chosen_BW = torch.where((weight_BW >= self.classifier.threshold) & (weight_BW >= kth_B1), weight_BW, 0.0)
        # each group is squeezed into 0-1, the first one lifted by 1
        chosen_BW = chosen_BW / (1 + chosen_BW)
        first, rest = (chosen_BW, detected_BW) if self.classifier.first else (detected_BW, chosen_BW)
        return torch.where(first > 0, first + 1, rest)
