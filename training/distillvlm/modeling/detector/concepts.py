"""The concept head: which of the words that people use of photos fit this one, from its regions."""

# Shapes: B photos, R regions, F feature size, H hidden size, K classes of the backbone, L labels, W concept words,
# G tags.
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillvlm.modeling.detector.tagger import best_scores
from distillvlm.structures.regions import Regions

LEAST_CHANCE = 1e-3  # probabilities of classes and labels far below it tell nothing
RAREST = 1e-6  # prior of a word


def noisy_or(logits_BRW: Tensor, valid_BR: Tensor) -> tuple[Tensor, Tensor]:
    """A word fits the photo if it fits one of its valid regions: log p and log (1 - p), both float32 [B, W].

    1 - p is the product over regions of 1 - sigmoid(logit), so log (1 - p) = -sum of softplus(logit).
    Source: multiple instance learning for words, Fang et al. 2015, arXiv:1411.4952, section 3.1.
    """
    fits_BW = (functional.softplus(logits_BRW.float()) * valid_BR[..., None]).sum(1)
    return log1mexp(fits_BW), -fits_BW


def log1mexp(x: Tensor) -> Tensor:
    """log (1 - exp(-x)) of x > 0, exact for small and for large x, and so are its gradients.

    Source: Maechler 2012, "Accurately computing log(1 - exp(-|a|))", equation 7.
    """
    x = x.clamp(min=1e-30)
    is_small = x < math.log(2)
    # each branch is given values that it can take, since 0 times the infinite gradient of the other one is no number
    small, large = torch.where(is_small, x, 0.5), torch.where(is_small, 1.0, x)
    return torch.where(is_small, (-torch.expm1(-small)).log(), torch.log1p(-torch.exp(-large)))


class ConceptHead(nn.Module):
    """Scores words at each region, from its feature and from what classifier and detections say of the whole photo.

    Frozen statistics: features are standardised by `feature_mean` and `feature_deviation` (see `standardise`).
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(
        self,
        feature_size: int,
        num_classes: int,
        num_labels: int,
        num_words: int,
        hidden_size: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.local = nn.Linear(feature_size, hidden_size)
        self.whole = nn.Linear(num_classes + num_labels, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Linear(hidden_size, num_words)
        self.register_buffer("feature_mean", torch.zeros(feature_size))
        self.register_buffer("feature_deviation", torch.ones(feature_size))

    @torch.no_grad()
    def standardise(self, mean_F: Tensor, deviation_F: Tensor) -> None:
        """Statistics of region features, from `RegionStore.feature_statistics`."""
        self.feature_mean.copy_(mean_F)
        self.feature_deviation.copy_(deviation_F)

    @torch.no_grad()
    def start_at(self, prior_W: Tensor, regions: int) -> None:
        """Lets every word begin about as likely as it is in general, for photos of so many valid regions."""
        per_region_W = -torch.log1p(-prior_W.clamp(RAREST, 0.99)) / regions
        self.words.bias.copy_(torch.expm1(per_region_W).log())  # softplus(bias) is the region's part

    def forward(
        self, features_BRF: Tensor, valid_BR: Tensor, classes_BK: Tensor, labels_BL: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log p and log (1 - p) of each word, float32 [B, W].

        classes: probabilities of the backbone's classes. labels: the best score of each of the detector's labels.
        """
        features_BRF = (features_BRF - self.feature_mean) / self.feature_deviation
        whole_BH = self.whole(_sparse_log(torch.cat([classes_BK, labels_BL], dim=-1)))
        hidden_BRH = functional.gelu(self.local(features_BRF) + whole_BH[:, None])
        return noisy_or(self.words(self.dropout(hidden_BRH)), valid_BR)

    def of_regions(self, regions: Regions, classes_BK: Tensor) -> tuple[Tensor, Tensor]:
        """The same of a detector's `Regions`."""
        labels_BL = best_scores(regions.labels, regions.scores, self.num_labels)
        return self(regions.features, regions.valid, classes_BK, labels_BL)


def _sparse_log(probabilities: Tensor) -> Tensor:
    """Probabilities on a scale on which 0 stays 0, 1 stays 1, and each tenfold counts alike."""
    return torch.log1p(probabilities / LEAST_CHANCE) / math.log1p(1 / LEAST_CHANCE)


@dataclass(frozen=True)
class ConceptTags:
    """Tags from a concept head.

    prior: float32 [W], share of the training photos' captions that say each word.
    threshold: of a word's weight, probability / sqrt(prior); the root lifts telling words over common ones.
    """

    words: tuple[str, ...]
    prior: Tensor
    threshold: float = 0.5
    hidden_size: int = 256

    def __post_init__(self) -> None:
        if self.prior.shape != (len(self.words),):
            raise ValueError(f"Expected prior [{len(self.words)}] but received {list(self.prior.shape)}")


class ConceptTagger(nn.Module):
    """The most telling words of a photo."""

    prior: Tensor

    def __init__(self, head: ConceptHead, tags: ConceptTags, num_tags: int) -> None:
        super().__init__()
        if num_tags > len(tags.words):
            raise ValueError(
                f"Expected at most {len(tags.words)} (one a concept word) for num_tags but received {num_tags}"
            )
        self.head = head
        self.words = tags.words
        self.threshold = tags.threshold
        self.num_tags = num_tags
        self.register_buffer("prior", tags.prior.float())

    def forward(self, regions: Regions, classes_BK: Tensor) -> Tensor:
        """Rows of `words`, int64 [B, G], -1 where none weighs enough; `classes`: see `ConceptHead.forward`."""
        return self.best(self.weigh(regions, classes_BK))

    def weigh(self, regions: Regions, classes_BK: Tensor) -> Tensor:
        """How telling each word is of the photo, float32 [B, W]."""
        log_present_BW, _ = self.head.of_regions(regions, classes_BK)
        return log_present_BW.exp() / self.prior.clamp(min=RAREST).sqrt()

    def best(self, weight_BW: Tensor) -> Tensor:
        best_BG, tags_BG = weight_BW.topk(self.num_tags, dim=1)
        return torch.where(best_BG >= self.threshold, tags_BG, -1)
