"""A report's figures as a bundle's manifest has them."""

import shutil
from pathlib import Path

from distillvlm.evaluation.report import evaluate
from distillvlm.export.manifest import verify_bundle
from distillvlm.recipes.measure import write_metrics
from tests.evaluation.test_report import ANSWERS, CAPTIONS, TRAINING, VALIDATION
from tests.export.test_bundle import FIXTURE


def test_answers_stand_beside_what_sees_nothing_by_data_set_and_by_type(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(FIXTURE, bundle)
    report = evaluate(VALIDATION, TRAINING, CAPTIONS, ANSWERS, blind_answers=ANSWERS)
    write_metrics(bundle, report, "val")
    written = {(metric["name"], metric["data"]): metric for metric in verify_bundle(bundle)["metrics"]}
    for name in ("VQA", "VQA of majority", "VQA of question type prior", "VQA of blind model", "VQA, other"):
        assert written[name, "coco"]["items"] == 3
    assert written["exact match", "daquar"]["value"] == 100
    assert written["exact match, other of majority", "daquar"]["value"] == 50
    margin = written["exact match ahead of majority", "daquar"]
    assert (margin["value"], margin["items"]) == (50, 2)
    assert written["VQA ahead of blind model", "coco"]["interval"] == [0, 0]
