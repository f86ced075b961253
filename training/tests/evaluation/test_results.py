import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from distillvlm.evaluation.results import (
    read_caption_results,
    read_vqa_results,
    write_caption_results,
    write_vqa_results,
)


def test_caption_results_survive_a_round_trip(tmp_path: Path) -> None:
    captions = {"coco/139": "a room", "coco/285": "ein Bär — brown"}
    write_caption_results(tmp_path / "results.json", captions, "coco")
    assert read_caption_results(tmp_path / "results.json", "coco") == captions
    assert json.loads((tmp_path / "results.json").read_text())[0] == {"image_id": 139, "caption": "a room"}


def test_caption_results_load_in_the_coco_api(tmp_path: Path) -> None:
    write_caption_results(tmp_path / "results.json", {"coco/139": "a room"}, "coco")
    references = COCO()
    references.dataset = {"images": [{"id": 139}], "annotations": [{"id": 1, "image_id": 139, "caption": "a"}]}
    references.createIndex()
    results = references.loadRes(str(tmp_path / "results.json"))
    assert [annotation["caption"] for annotation in results.imgToAnns[139]] == ["a room"]


def test_image_ids_that_are_names_stay_names(tmp_path: Path) -> None:
    captions = {"flickr8k/1000_ab.jpg": "x", "flickr8k/007": "y"}
    write_caption_results(tmp_path / "results.json", captions, "flickr8k")
    assert read_caption_results(tmp_path / "results.json", "flickr8k") == captions


def test_photos_of_another_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="start with coco/ but received daquar/1"):
        write_caption_results(tmp_path / "results.json", {"daquar/1": "x"}, "coco")


def test_vqa_results_survive_a_round_trip(tmp_path: Path) -> None:
    write_vqa_results(tmp_path / "results.json", {25006: "tree", 25014: "yes"})
    assert read_vqa_results(tmp_path / "results.json") == {25006: "tree", 25014: "yes"}
    assert json.loads((tmp_path / "results.json").read_text())[1] == {"question_id": 25014, "answer": "yes"}


@pytest.mark.parametrize("content", ['{"question_id": 1}', '[{"question_id": 1}]', "[1]"])
def test_files_of_another_format_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="list of objects with question_id and answer"):
        read_vqa_results(tmp_path / "results.json")


def test_repeated_questions_are_refused(tmp_path: Path) -> None:
    rows = [{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "b"}]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="1 are repeated"):
        read_vqa_results(tmp_path / "results.json")
