"""The teacher's captions: written once, taken up after a kill, drawn as often as asked for."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pycocotools.coco import COCO

from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_batches import caption_pool
from distillvlm.evaluation.predictions import BeamSettings, search_captions
from distillvlm.evaluation.results import ScoredCaption, read_scored_captions
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes import teacher_captions
from distillvlm.recipes.consensus import Consensus
from distillvlm.recipes.language import ModelSize, new_model
from distillvlm.recipes.teacher_captions import (
    BeamSearch,
    SequenceLevelSettings,
    with_teacher_captions,
    write_teacher_captions,
)
from distillvlm.tasks.scst import CaptionReward
from tests.data.photo_set import photo_records, region_store, words

SETTINGS = SequenceLevelSettings(captions=2, beam=BeamSettings(num_beams=3, max_tokens=6))
PHOTOS = [f"test/{number}" for number in range(6)]
WORDS = words()


def teacher(ending: float = 0.0) -> VisionLanguageModel:
    """A random model; `ending` is added to the score of [SEP]."""
    model = new_model(ModelSize(16, 1, 2, 32), WORDS, feature_size=2, seed=0)
    with torch.no_grad():
        model.word_bias[WORDS.tokenizer.sep_id] += ending
    return model


@pytest.fixture
def store(tmp_path: Path) -> RegionStore:
    return region_store(tmp_path / "regions", photo_records(tmp_path))


def write(store: RegionStore, folder: Path, model: VisionLanguageModel) -> dict[str, list[ScoredCaption]]:
    return write_teacher_captions(BeamSearch(model, store, WORDS, SETTINGS), PHOTOS, "test", folder)


def consensus(store: RegionStore, teachers: Sequence[VisionLanguageModel]) -> Consensus:
    reward = CaptionReward(WORDS.tokenizer, [["a dog runs", "a dog"], ["a cat sits"]])
    teacher_of = {photo_id: place % len(teachers) for place, photo_id in enumerate(PHOTOS)}
    return Consensus(teachers, teacher_of, store, WORDS, reward, samples=4, seed=1, max_tokens=6)


def test_the_best_finished_captions_are_written_with_their_scores(store: RegionStore, tmp_path: Path) -> None:
    captions = write(store, tmp_path / "captions", teacher(ending=2.0))
    for photo_id, hypotheses in search_captions(teacher(ending=2.0), store, PHOTOS, WORDS, SETTINGS.beam):
        finished = [ScoredCaption(each.caption, each.score) for each in hypotheses if each.finished]
        assert captions[photo_id] == finished[:2]
        assert len(finished) >= 2
        assert finished[0].score > finished[1].score
    assert read_scored_captions(tmp_path / "captions" / "captions.json", "test") == captions


def test_the_file_loads_in_the_coco_api(store: RegionStore, tmp_path: Path) -> None:
    captions = write(store, tmp_path / "captions", teacher(ending=2.0))
    references = COCO()
    images = [{"id": number} for number in range(6)]
    references.dataset = {"images": images, "annotations": [{"id": 1, "image_id": 0, "caption": "a"}]}
    references.createIndex()
    results = references.loadRes(str(tmp_path / "captions" / "captions.json"))
    assert [row["score"] for row in results.imgToAnns[3]] == [each.score for each in captions["test/3"]]


def test_captions_without_an_end_are_left_out(store: RegionStore, tmp_path: Path) -> None:
    assert write(store, tmp_path / "captions", teacher(ending=-100.0)) == {}


def test_a_cut_off_run_searches_only_what_is_missing(
    store: RegionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Sequence[str]] = []

    def cut_off(model: Any, store: Any, photo_ids: Sequence[str], *rest: Any) -> Iterator[Any]:
        searched.append(photo_ids)
        for number, found in enumerate(search_captions(model, store, photo_ids, *rest)):
            if number == 3 and len(searched) == 1:
                raise KeyboardInterrupt
            yield found

    whole = write(store, tmp_path / "whole", teacher(ending=2.0))
    monkeypatch.setattr(teacher_captions, "search_captions", cut_off)
    monkeypatch.setattr(teacher_captions, "PHOTOS_AT_ONCE", 2)
    with pytest.raises(KeyboardInterrupt):
        write(store, tmp_path / "cut", teacher(ending=2.0))
    with (tmp_path / "cut" / "captions.jsonl").open("a") as file:
        assert file.tell() > 0  # three photos, of which one is of a batch that was not finished
        file.write('["test/3", [{"capt')  # torn in the middle of a line
    assert write(store, tmp_path / "cut", teacher(ending=2.0)) == whole
    assert searched == [PHOTOS, PHOTOS[2:]]
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["captions.json"]
    assert write(store, tmp_path / "cut", teacher(ending=-100.0)) == whole  # taken from the file
    rows = json.loads((tmp_path / "cut" / "captions.json").read_text())
    assert rows[0].keys() == {"image_id", "caption", "score"}


def test_the_drawn_caption_that_agrees_most_is_chosen(store: RegionStore) -> None:
    search = consensus(store, [teacher(ending=2.0)])
    captions = [[5, 6, 3, 0], [5, 7, 3, 0], [5, 6, 3, 0], [8, 9, 9, 9]]  # the last has no end
    said = [WORDS.tokenizer.decode(row) for row in captions]
    (chosen,) = search.agreed(captions)
    assert chosen.caption == said[0]
    spoken = [search.reward.words(row) for row in captions[:3]]
    assert chosen.score == pytest.approx(search.reward.cider.scores(spoken[:1], spoken[1:])[0])
    assert search.agreed([captions[0], captions[3]]) == []  # nothing to agree with


def test_each_photo_is_described_by_its_own_teacher_and_the_same_again(store: RegionStore) -> None:
    silent, talking = teacher(ending=-100.0), teacher(ending=2.0)
    found = dict(consensus(store, [silent, talking])(PHOTOS))
    assert [bool(found[photo_id]) for photo_id in PHOTOS] == [False, True] * 3
    assert dict(consensus(store, [silent, talking])(PHOTOS)) == found


def test_a_teachers_caption_counts_as_so_many_human_ones(tmp_path: Path) -> None:
    records = photo_records(tmp_path, 2)
    taught = with_teacher_captions(records, {"test/1": [ScoredCaption("a dog sits", -0.1)]}, times=3)
    assert taught[0] == records[0]
    assert taught[1].captions == (*records[1].captions, "a dog sits", "a dog sits", "a dog sits")
    assert taught[1].questions == records[1].questions
    assert list(map(len, caption_pool(taught, WORDS.tokenizer, 20).texts)) == [5, 5]
