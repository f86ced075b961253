"""Captions of photos that are not at hand, learnt from the tags that they tell of: many cheap sentences, so that what
photos have to teach is what they show, and no longer English."""

# Shapes: B photos, G tags.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from distillvlm.data.records import Described
from distillvlm.data.text_batches import UNSEEN_PHOTOS, TextBatch, TextBatches, caption_pool
from distillvlm.data.told_tags import ToldTags
from distillvlm.data.words import Words
from distillvlm.structures.regions import tags_alone

# Detector and classifier find 0.38 of the tags that a photo's captions tell of, among 6.3 tags of which a quarter are
# told of; of the two most certain 0.58 (Flickr8k's and COCO's training photos, `photos-small`).
KEPT_SHARE = 0.4
STRANGERS = 3  # photos whose tags are mixed in, the same share of each
CERTAINTY = 4  # how far ahead a photo's own tags stand


class DescribedBatches:
    """Captions with tags and no regions: up to `num_tags` of those that a photo's captions tell of, and strange ones.

    Mirrored views have no place here: without a photo, left is as good as right.
    """

    def __init__(
        self,
        photos: Sequence[Described],
        words: Words,
        batch: tuple[int, int],
        max_tokens: int,
        num_tags: int,
        feature_size: int,
        seed: int,
    ) -> None:
        """batch: photos of a batch, captions of each. Captions with pieces that no caption may hold are left out."""
        allowed = {words.tokenizer.cls_id, *words.caption_rows}
        pool = caption_pool(photos, words.tokenizer, max_tokens, allowed)
        kept = set(pool.photo_ids or ())
        told = ToldTags(words.tags)
        self.told = [told(photo.captions) for photo in photos if photo.photo_id in kept]
        self.batches = TextBatches(
            replace(pool, photo_ids=None), words.tokenizer, len(words.answers), *batch, seed=seed
        )
        self.num_tags, self.feature_size, self.seed = num_tags, feature_size, seed

    def batch(self, step: int) -> TextBatch:
        batch = self.batches.batch(step)
        draw = np.random.default_rng((self.seed, 3, step))
        tags = torch.full((len(batch.photos), self.num_tags), -1)
        for b, row in enumerate((batch.photos - UNSEEN_PHOTOS).tolist()):
            drawn = torch.tensor(self._tags(row, draw), dtype=torch.long)
            tags[b, : len(drawn)] = drawn
        return replace(batch, regions=tags_alone(tags, self.feature_size))

    def _tags(self, row: int, draw: np.random.Generator) -> list[int]:
        """Some of the photo's tags, in front as a rule, and some of any others'."""
        strangers = [self.told[other] for other in draw.integers(len(self.told), size=STRANGERS)]
        places = {tag: draw.random() for tags in strangers for tag in tags if draw.random() < KEPT_SHARE}
        places |= {tag: draw.random() ** CERTAINTY for tag in self.told[row] if draw.random() < KEPT_SHARE}
        return sorted(places, key=places.__getitem__)[: self.num_tags]
