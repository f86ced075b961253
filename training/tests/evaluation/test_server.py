"""Against a small HTTP server that speaks the contract and parses forms with the standard library."""

import email.parser
import email.policy
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from distillvlm.data.records import Question, Record
from distillvlm.evaluation import server as server_module
from distillvlm.evaluation.server import QUESTIONS_PER_REQUEST, ServerError, answer_questions, caption_photos, measure

SECOND = {"answer": "second", "score": 0.125}


@dataclass
class FakeService:
    """Answers with the photo's bytes as text; `failures` are the (status, body) given first."""

    url: str = ""
    requests: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    failures: list[tuple[int, bytes]] = field(default_factory=list)

    def respond(self, path: str, fields: dict[str, list[str]]) -> tuple[int, bytes]:
        self.requests.append((path, fields))
        if self.failures:
            return self.failures.pop(0)
        photo = fields["image"][0]
        if path == "/caption":
            return 200, json.dumps({"model": "m@1", "caption": f"a photo of {photo}", "score": 0.25}).encode()
        results: list[dict[str, Any]] = [
            {"image": 0, "question": text, "answers": [{"answer": f"{photo}: {text}", "score": 0.5}, SECOND]}
            for text in fields["questions"]
        ]
        if photo == "broken":
            results[0] = {"image": 0, "problem": {"title": "Undecodable image", "detail": "not a photo"}}
        return 200, json.dumps({"model": "m@1", "results": results}).encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    fake = FakeService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            fields: dict[str, list[str]] = {}
            for part in form.iter_parts():
                name = str(part.get_param("name", header="content-disposition"))
                fields.setdefault(name, []).append(str(bytes(part.get_payload(decode=True)), "utf-8"))
            status, content = fake.respond(self.path, fields)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: pytest's output is for failures."""

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{http_server.server_port}/"
    monkeypatch.setattr(server_module, "_pause_s", lambda retry_after, attempt: 0.0)
    yield fake
    http_server.shutdown()
    thread.join()
    http_server.server_close()


def photos(folder: Path, *names: str) -> list[Path]:
    paths = [folder / f"{name}.jpg" for name in names]
    for path in paths:
        path.write_bytes(path.stem.encode())
    return paths


def test_captions_belong_to_their_photos_whatever_the_order_of_answers(service: FakeService, tmp_path: Path) -> None:
    paths = photos(tmp_path, *(f"photo{index}" for index in range(20)))
    captions = caption_photos(service.url, paths, num_beams=3, concurrency=4)
    assert captions == {path: (f"a photo of {path.stem}", 0.25) for path in paths}
    assert {(path, tuple(fields["num_beams"])) for path, fields in service.requests} == {("/caption", ("3",))}


def test_questions_on_one_photo_travel_together_up_to_the_limit(service: FakeService, tmp_path: Path) -> None:
    first, second = photos(tmp_path, "first", "second")
    texts = [f"what is {index}?" for index in range(QUESTIONS_PER_REQUEST + 1)]
    asked = [*((first, text) for text in texts), (second, "why?")]
    answers = answer_questions(service.url, asked, model="photos", concurrency=1)
    assert answers == [(f"{path.stem}: {text}", 0.5) for path, text in asked]
    assert [len(fields["questions"]) for _, fields in service.requests] == [QUESTIONS_PER_REQUEST, 1, 1]
    assert all(fields["model"] == ["photos"] for _, fields in service.requests)


def test_a_full_server_is_asked_again(service: FakeService, tmp_path: Path) -> None:
    service.failures = [(503, b""), (429, b"{}")]
    captions = caption_photos(service.url, photos(tmp_path, "cat"), concurrency=1)
    assert captions[tmp_path / "cat.jpg"].text == "a photo of cat"
    assert len(service.requests) == 3


def test_a_server_that_stays_full_is_an_error(service: FakeService, tmp_path: Path) -> None:
    service.failures = [(503, b'{"title": "Overloaded", "detail": "queue is full"}')] * 10
    with pytest.raises(ServerError, match=r"cat\.jpg: 503 Overloaded: queue is full"):
        caption_photos(service.url, photos(tmp_path, "cat"), concurrency=1)


def test_a_refused_photo_is_an_error_at_once(service: FakeService, tmp_path: Path) -> None:
    service.failures = [(415, b"<html>")]
    with pytest.raises(ServerError, match=r"cat\.jpg: 415 without a problem document"):
        caption_photos(service.url, photos(tmp_path, "cat"), concurrency=1)
    assert len(service.requests) == 1


def test_a_failed_item_among_results_is_an_error(service: FakeService, tmp_path: Path) -> None:
    [path] = photos(tmp_path, "broken")
    with pytest.raises(ServerError, match="Undecodable image: not a photo"):
        answer_questions(service.url, [(path, "what?")])


def test_an_unreachable_server_is_an_error(service: FakeService, tmp_path: Path) -> None:
    [path] = photos(tmp_path, "cat")
    with pytest.raises(ServerError, match="cannot be reached"):
        caption_photos("http://127.0.0.1:1/", [path])


def test_nothing_to_ask_asks_nothing(service: FakeService) -> None:
    assert caption_photos(service.url, []) == {}
    assert answer_questions(service.url, []) == []
    assert service.requests == []


def test_measure_captions_scored_photos_and_asks_human_questions(service: FakeService, tmp_path: Path) -> None:
    first, second = photos(tmp_path, "first", "second")
    records = [
        Record("coco/1", first, 8, 8, "val", "coco", captions=("a",) * 5, questions=(Question(7, "what?", ("x",)),)),
        Record("daquar/1", second, 8, 8, "val", "daquar", captions=("a",), questions=(Question(7, "who?", ("x",)),)),
    ]
    captions, answers = measure(service.url, records).texts()
    assert captions == {"coco/1": "a photo of first"}
    assert answers == {"coco": {7: "first: what?"}, "daquar": {7: "second: who?"}}
