from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from distillvlm.data.records import Question, Record, Split
from distillvlm.evaluation.server import Scored
from distillvlm.recipes import sheet as module
from distillvlm.recipes.sheet import draw_by_lot, write_sheet


def record(source: str, number: int, path: Path, split: Split = "test") -> Record:
    asked = (Question(1, "what <is> it?", ("a cat",)), Question(2, "made up?", ("no",), "", "generated"))
    return Record(f"{source}/{number}", path, 8, 8, split, source, ("a cat & a dog",), asked)


def test_each_data_set_has_its_share_and_a_small_one_all_that_it_has() -> None:
    records = [record(source, n, Path()) for source, count in (("coco", 20), ("daquar", 2)) for n in range(count)]
    drawn = draw_by_lot(records, 9, seed=3)
    assert Counter(one.source for one in drawn) == {"coco": 7, "daquar": 2}
    assert drawn == draw_by_lot(records, 9, seed=3)
    assert drawn != draw_by_lot(records, 9, seed=4)
    assert len(draw_by_lot(records, 100, seed=0)) == 22


def test_a_page_holds_photos_and_both_kinds_of_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGBA", (640, 480), (255, 0, 0, 128)).save(path)
    asked: list[tuple[Path, str]] = []

    def answer(url: str, questions: Sequence[tuple[Path, str]]) -> list[Scored]:
        asked.extend(questions)
        return [Scored("a dog", 0.125)] * len(questions)

    monkeypatch.setattr(module, "load_photos", lambda root: [record("coco", 1, path), record("coco", 2, path, "val")])
    monkeypatch.setattr(module, "caption_photos", lambda url, paths: {one: Scored("a <cat>", 0.75) for one in paths})
    monkeypatch.setattr(module, "answer_questions", answer)
    write_sheet("http://server", tmp_path, "test", tmp_path / "out" / "sheet.html")
    page = (tmp_path / "out" / "sheet.html").read_text()
    assert page.count("<figure>") == page.count("data:image/jpeg;base64,") == 1
    assert "a &lt;cat&gt;</span> (0.75)" in page
    assert "a cat &amp; a dog" in page
    assert '<span class="said wrong">a dog</span> (0.12) <span class="people">cat</span>' in page
    assert asked == [(path, "what <is> it?")]  # people's questions alone
