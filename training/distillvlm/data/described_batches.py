"""Captions of photos that are not at hand, learnt from the tags that they tell of: many cheap sentences, so that what
photos have to teach is what they show, and no longer English."""

# Shapes: B photos, G tags.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from distillvlm.data.confusion import ConfusedTags, Confusion
from distillvlm.data.records import Described
from distillvlm.data.sources import SourceTags
from distillvlm.data.text_batches import UNSEEN_PHOTOS, TextBatch, TextBatches, caption_pool
from distillvlm.data.words import Words
from distillvlm.structures.regions import tags_alone


class DescribedBatches:
    """Captions with up to `num_tags` tags, right and wrong ones, and no regions.

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
        confusion: Confusion,
        sources: SourceTags | None = None,
    ) -> None:
        """batch: photos of a batch, captions of each. Captions with pieces that no caption may hold are left out.

        confusion: of the concept head, whose words are the first tags.
        sources: puts the photos' data sets in the last of the `num_tags` places, as often as they are told.

        Raises:
            ValueError: the confusion's words are not the first tags of `words`.
        """
        if confusion.words != words.tags[: len(confusion.words)]:
            raise ValueError("DescribedBatches: expected the confusion's words to be the tags")
        allowed = {words.tokenizer.cls_id, *words.caption_rows}
        pool = caption_pool(photos, words.tokenizer, max_tokens, allowed)
        kept = set(pool.photo_ids or ())
        captions = [photo.captions for photo in photos if photo.photo_id in kept]
        self.tags = ConfusedTags(confusion, captions)
        self.batches = TextBatches(
            replace(pool, photo_ids=None), words.tokenizer, len(words.answers), *batch, seed=seed
        )
        self.num_tags, self.feature_size, self.seed = num_tags, feature_size, seed
        self.sources = sources
        self.source_rows = None if sources is None else torch.from_numpy(sources.rows(pool.photo_ids or ()))

    def batch(self, step: int) -> TextBatch:
        batch = self.batches.batch(step)
        draw = np.random.default_rng((self.seed, 3, step))
        tags = torch.full((len(batch.photos), self.num_tags), -1)
        for b, row in enumerate((batch.photos - UNSEEN_PHOTOS).tolist()):
            drawn = torch.tensor(self.tags.draw(row, draw)[: self.num_tags], dtype=torch.long)
            tags[b, : len(drawn)] = drawn
        if self.sources is not None and self.source_rows is not None:
            told_B = torch.from_numpy(draw.random(len(tags)) < self.sources.shown)
            tags[:, -1] = torch.where(told_B, self.source_rows[batch.photos - UNSEEN_PHOTOS], -1)
        return replace(batch, regions=tags_alone(tags, self.feature_size))
