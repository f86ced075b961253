"""The data set's name as a photo's last tag: told in a share of the views of training photos, and never else."""

import numpy as np
import pytest

from distillvlm.data.sources import SOURCE_WORDS, SourceTags, source_row, with_source_tags


def test_both_flickrs_are_one_source_and_an_unknown_one_is_named() -> None:
    words = [SOURCE_WORDS[source_row(f"{name}/1")] for name in ("flickr8k", "flickr30k", "coco", "daquar")]
    assert words == ["flickr", "flickr", "coco", "daquar"]
    with pytest.raises(ValueError, match="received 'vg/1'"):
        source_row("vg/1")


def test_the_source_stands_last_in_its_share_of_the_views() -> None:
    ids = [f"{('coco', 'daquar')[number % 2]}/{number}" for number in range(400)]
    trained = set(ids[:300])
    before = np.arange(400 * 4 * 2).reshape(400, 4, 2)
    tags = with_source_tags(before, ids, trained, SourceTags(10_000, 0.7), seed=1)
    assert np.array_equal(tags[..., :2], before)
    last = tags[..., 2]
    assert (last[300:] == -1).all()
    assert 0.65 < (last[:300] >= 0).mean() < 0.75
    assert set(last[0:300:2].ravel().tolist()) == {-1, 10_001}
    assert set(last[1:300:2].ravel().tolist()) == {-1, 10_002}
    assert np.array_equal(tags, with_source_tags(before, ids, trained, SourceTags(10_000, 0.7), seed=1))
