import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from distillvlm.evaluation.results import (
    Detection,
    read_caption_results,
    read_detection_results,
    read_scored_captions,
    read_vqa_results,
    write_caption_results,
    write_detection_results,
    write_vqa_results,
)


def test_caption_results_survive_a_round_trip(tmp_path: Path) -> None:
    captions = {"coco/139": "a room", "coco/285": "ein Bär — brown", "coco/286": ""}
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


def test_detection_results_survive_a_round_trip(tmp_path: Path) -> None:
    detections = [Detection(139, 18, (1.5, 2.0, 30.0, 40.25), 0.9), Detection("a.jpg", 0, (0.0, 0.0, 1.0, 1.0), 0.1)]
    write_detection_results(tmp_path / "results.json", detections)
    assert read_detection_results(tmp_path / "results.json") == detections
    first = {"image_id": 139, "category_id": 18, "bbox": [1.5, 2.0, 30.0, 40.25], "score": 0.9}
    assert json.loads((tmp_path / "results.json").read_text())[0] == first


def test_no_detections_are_a_file_too(tmp_path: Path) -> None:
    write_detection_results(tmp_path / "results.json", [])
    assert read_detection_results(tmp_path / "results.json") == []


def test_vqa_results_survive_a_round_trip(tmp_path: Path) -> None:
    write_vqa_results(tmp_path / "results.json", {25006: "tree", 25014: "yes"})
    assert read_vqa_results(tmp_path / "results.json") == {25006: "tree", 25014: "yes"}
    assert json.loads((tmp_path / "results.json").read_text())[1] == {"question_id": 25014, "answer": "yes"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question_id": 1}', r"results\.json, its results: expected a list, received dict"),
        ('[{"question_id": 1}]', r"results\.json, result 1: field 'answer' is missing"),
        ('[{"answer": "a"}]', r"results\.json, result at place 0: field 'question_id' is missing"),
        ('[{"question_id": 1, "answer": 2}]', r"results\.json, result 1: expected words, received 2"),
        ("[1]", r"results\.json, result at place 0: expected an object, received int"),
        ("[", r"Cannot read .*results\.json"),
    ],
)
def test_files_of_another_format_are_refused_by_file_and_record(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_vqa_results(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"bbox": [1, 2, 3]}, "result 139: not enough values"),
        ({"bbox": [1, 2, 3, "x"]}, "result 139: could not convert"),
        ({"score": float("nan")}, "result 139: expected finite numbers"),
        ({"image_id": None}, "expected a number or a name as image_id, received None"),
    ],
)
def test_malformed_detections_are_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    whole = {"image_id": 139, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.5}
    (tmp_path / "results.json").write_text(json.dumps([{**whole, **row}]))
    with pytest.raises(ValueError, match=message):
        read_detection_results(tmp_path / "results.json")


def test_scored_captions_without_a_score_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"image_id": 139, "caption": "a room"}]')
    with pytest.raises(ValueError, match="result 139: field 'score' is missing"):
        read_scored_captions(tmp_path / "results.json", "coco")


def test_repeated_questions_are_refused(tmp_path: Path) -> None:
    rows = [{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": "a"}]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="result 1: listed twice"):
        read_vqa_results(tmp_path / "results.json")
