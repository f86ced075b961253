"""Captions and answers of a running server, over the HTTP interface that its users have."""

from __future__ import annotations

import http.client
import json
import mimetypes
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from distillvlm.data.records import Record
from distillvlm.evaluation.report import asked, captioned

QUESTIONS_PER_REQUEST = 16  # the server's own limit
_TIMEOUT_S = 120.0  # a cold process on a busy machine, with its queue
_ATTEMPTS = 5
_LONGEST_PAUSE_S = 30.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class ServerError(RuntimeError):
    """The server refused a request or could not be reached; the message has the problem's title and detail."""


class Scored(NamedTuple):
    """A caption or an answer with the server's `score`."""

    text: str
    score: float


@dataclass(frozen=True)
class Served:
    """captions: photo_id -> caption. answers: data set -> question_id -> the best answer."""

    captions: dict[str, Scored]
    answers: dict[str, dict[int, Scored]]

    def texts(self) -> tuple[dict[str, str], dict[str, dict[int, str]]]:
        """What a report takes."""
        answers = {
            source: {number: answer.text for number, answer in of_source.items()}
            for source, of_source in self.answers.items()
        }
        return {photo_id: caption.text for photo_id, caption in self.captions.items()}, answers


def measure(
    url: str, records: Sequence[Record], *, num_beams: int = 5, model: str | None = None, concurrency: int = 4
) -> Served:
    """Captions of the records whose captions are scored, answers to their human questions.

    Raises:
        ServerError: see `caption_photos` and `answer_questions`.
    """
    scored = captioned(records)
    caption_of_path = caption_photos(
        url, [record.path for record in scored], num_beams=num_beams, model=model, concurrency=concurrency
    )
    pairs = asked(records)
    found = answer_questions(
        url, [(record.path, question.text) for record, question in pairs], model=model, concurrency=concurrency
    )
    answers: dict[str, dict[int, Scored]] = {}
    for (record, question), answer in zip(pairs, found, strict=True):
        answers.setdefault(record.source, {})[question.question_id] = answer
    return Served({record.photo_id: caption_of_path[record.path] for record in scored}, answers)


def caption_photos(
    url: str, paths: Sequence[Path], *, num_beams: int = 5, model: str | None = None, concurrency: int = 4
) -> dict[Path, Scored]:
    """Path -> caption from `POST {url}/caption`, one photo a request.

    Raises:
        ServerError: a photo is refused, or the server stays unreachable or busy.
    """
    fields = [("num_beams", str(num_beams)), *_model_field(model)]

    def caption(path: Path) -> Scored:
        found = _post_photo(f"{url.rstrip('/')}/caption", path, fields)
        return Scored(found["caption"], found["score"])

    return dict(zip(paths, _concurrently(caption, paths, concurrency, "captions"), strict=True))


def answer_questions(
    url: str, questions: Sequence[tuple[Path, str]], *, model: str | None = None, concurrency: int = 4
) -> list[Scored]:
    """The best answer to each (photo, question) from `POST {url}/vqa`, in the order given.

    Questions on one photo that stand together are sent together.

    Raises:
        ServerError: a photo or question is refused, or the server stays unreachable or busy.
    """
    groups = list(_grouped_by_photo(questions))

    def answer(group: tuple[Path, list[str]]) -> list[Scored]:
        path, texts = group
        fields = [*(("questions", text) for text in texts), *_model_field(model)]
        results = _post_photo(f"{url.rstrip('/')}/vqa", path, fields)["results"]
        for result in results:
            if "problem" in result:
                raise ServerError(f"{path.name}: {_describe(result['problem'])}")
        if len(results) != len(texts):
            raise ServerError(f"{path.name}: expected {len(texts)} results but received {len(results)}")
        best = [result["answers"][0] for result in results]
        return [Scored(one["answer"], one["score"]) for one in best]

    return [one for answers in _concurrently(answer, groups, concurrency, "answers") for one in answers]


def _grouped_by_photo(questions: Iterable[tuple[Path, str]]) -> Iterable[tuple[Path, list[str]]]:
    group: tuple[Path, list[str]] | None = None
    for path, text in questions:
        if group is not None and group[0] == path and len(group[1]) < QUESTIONS_PER_REQUEST:
            group[1].append(text)
            continue
        if group is not None:
            yield group
        group = (path, [text])
    if group is not None:
        yield group


def _concurrently(work: Callable[[Item], Result], items: Sequence[Item], concurrency: int, unit: str) -> list[Result]:
    if concurrency < 1:
        raise ValueError(f"Expected concurrency of at least 1 but received {concurrency}")
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            return list(tqdm(pool.map(work, items), total=len(items), desc=unit))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _model_field(model: str | None) -> list[tuple[str, str]]:
    return [] if model is None else [("model", model)]


def _post_photo(url: str, path: Path, fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Posts a form with the file as `image`, again while the server is full or restarting."""
    body, content_type = _form(path, fields)
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type}, method="POST")
    attempt = 0
    while True:
        attempt += 1
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            problem = error.read()
            if error.code not in (429, 503) or attempt == _ATTEMPTS:
                raise ServerError(f"{path.name}: {error.code} {_describe_bytes(problem)}") from error
            time.sleep(_pause_s(error.headers.get("Retry-After"), attempt))
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if attempt == _ATTEMPTS:
                raise ServerError(f"{path.name}: {url} cannot be reached: {error}") from error
            time.sleep(_pause_s(None, attempt))


def _form(path: Path, fields: Iterable[tuple[str, str]]) -> tuple[bytes, str]:
    """multipart/form-data (RFC 7578) and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photo{path.suffix}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n".encode()
    )
    parts += [path.read_bytes(), f"\r\n--{boundary}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _pause_s(retry_after: str | None, attempt: int) -> float:
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else 0.5 * 2**attempt
    return min(seconds, _LONGEST_PAUSE_S)


def _describe_bytes(problem: bytes) -> str:
    try:
        return _describe(json.loads(problem))
    except ValueError:
        return "without a problem document"


def _describe(problem: dict[str, Any]) -> str:
    return f"{problem.get('title', 'problem')}: {problem.get('detail', '')}"
