"""Two processes learn what one learns from the same batches, detectors too, and their queues are one queue."""

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from distillvlm.data.oscar_batches import OscarBatches
from distillvlm.data.pretraining_batches import PretrainingBatch
from distillvlm.data.text_batches import TextBatch
from distillvlm.engine.processes import batch_rows, share_of
from distillvlm.engine.progress import read_progress
from distillvlm.engine.trainer import Schedule, train
from distillvlm.modeling.detector import DetectionTargets, Detector
from distillvlm.recipes.pipeline import Stage, run_stages
from distillvlm.tasks.detection import DetectionBatch, DetectionTask
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.oscar import OscarObjective
from distillvlm.tasks.pretraining import PretrainingObjective
from tests.detector.tiny import CONFIG, photos, random_boxes
from tests.modeling.tiny import ANSWERS, VOCABULARY, tiny_model, tiny_regions

SCHEDULE = Schedule(steps=20, learning_rate=1e-2, ema_decay=0.9, precision="no", share_steps=2)
DETECTION = Schedule(steps=8, learning_rate=1e-3, precision="no")
PHOTOS, TEXTS, LENGTH = 4, 2, 5


class UnevenBatches:
    """Captions and questions in turn; photos differ in their numbers of words and of texts."""

    def batch(self, step: int) -> TextBatch:
        draw = torch.Generator().manual_seed(step)
        tokens = torch.randint(5, VOCABULARY, (PHOTOS, TEXTS, LENGTH), generator=draw)
        tokens[..., 0] = 2
        lengths = torch.randint(2, LENGTH + 1, (PHOTOS, TEXTS, 1), generator=draw)
        tokens = tokens.masked_fill(torch.arange(LENGTH) >= lengths, 0)
        tokens[step % PHOTOS, 1] = 0
        valid = tokens.any(-1)
        regions = (tiny_regions(PHOTOS, seed=step), tiny_regions(PHOTOS, seed=step + 100))
        photos = torch.arange(PHOTOS) + PHOTOS * (step % 3)
        if step % 2:
            answers = torch.rand(PHOTOS, TEXTS, ANSWERS, generator=draw)
            return TextBatch("questions", *regions, tokens, answers, valid, photos)
        words = torch.cat([tokens[..., 1:], torch.zeros_like(tokens[..., :1])], -1)
        ends = torch.where(valid[..., None] & (torch.arange(LENGTH) == lengths - 1), 3, 0)
        return TextBatch("captions", *regions, tokens, words + ends, valid, photos)


class UnevenPretraining:
    """Captions, matched or not, with tags and words masked in some photos and in others none."""

    def batch(self, step: int) -> PretrainingBatch:
        texts = UnevenBatches().batch(2 * step)
        assert texts.regions is not None
        draw = torch.Generator().manual_seed(step)
        masked, mask = [], tiny_model().lexicon.mask
        for tokens in (tiny_model().tokens_of_tags(texts.regions.tags), texts.tokens[:, :1]):
            hidden = (tokens > 4) & (torch.rand(tokens.shape, generator=draw) < 0.4)
            masked.append((tokens.masked_fill(hidden, mask), tokens.masked_fill(~hidden, 0)))
        (tags, tag_targets), (words, word_targets) = masked
        matched = torch.tensor([True, False, True, True])
        return PretrainingBatch(texts, tags, tag_targets, words, word_targets * matched[:, None, None], matched)


class DetectorPhotos:
    """Photos with one object, two or none."""

    def batch(self, step: int) -> DetectionBatch:
        boxes = random_boxes(PHOTOS, 2, seed=step)
        draw = torch.Generator().manual_seed(step)
        weights = torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.0, 0.0], [1.0, 1.0]])
        labels = torch.randint(0, 3, (PHOTOS, 2), generator=draw)
        attributes = torch.rand(PHOTOS, 2, 2, generator=draw) < 0.4
        return DetectionBatch(photos(PHOTOS, seed=step), DetectionTargets(boxes, labels, attributes, weights))


def stages(log: Path) -> list[Stage]:
    def prepare(folder: Path) -> dict[str, object]:
        with log.open("a") as file:
            file.write("prepared\n")
        return {}

    def learn(folder: Path) -> dict[str, object]:
        teacher = tiny_model(seed=1, hidden_size=32, num_layers=3)
        settings = DistillationSettings(queue_size=64)
        torch.manual_seed(0)
        task = DistillationTask(tiny_model(dropout=0.0), FrozenTeacher(teacher, LanguageObjective()), settings)
        train(task, UnevenBatches(), SCHEDULE, folder, 0, checkpoint_seconds=0)
        torch.save(task.state_dict(), folder / f"state{os.environ.get('RANK', '')}.pt")
        return {}

    def learn_in_oscars_layout(folder: Path) -> dict[str, object]:
        torch.manual_seed(0)
        student, teacher = tiny_model(dropout=0.0), tiny_model(seed=1, hidden_size=32)
        task = DistillationTask(student, FrozenTeacher(teacher, OscarObjective()), DistillationSettings(queue_size=64))
        batches = OscarBatches(UnevenBatches(), student.lexicon, tags_length=6, seed=0)
        train(task, batches, replace(SCHEDULE, steps=8), folder, 0)
        return {}

    def pretrain(folder: Path) -> dict[str, object]:
        torch.manual_seed(0)
        student, teacher = tiny_model(dropout=0.0), tiny_model(seed=1, hidden_size=32)
        settings = DistillationSettings(queue_size=64, classification=0.0)
        task = DistillationTask(student, FrozenTeacher(teacher, PretrainingObjective()), settings)
        train(task, UnevenPretraining(), replace(SCHEDULE, steps=8), folder, 0)
        return {}

    def detect(folder: Path) -> dict[str, object]:
        torch.manual_seed(0)
        task = DetectionTask(Detector(replace(CONFIG, freeze_backbone=False)))
        train(task, DetectorPhotos(), DETECTION, folder, 0)
        return {}

    return [
        Stage("data", "", prepare),
        Stage("training", "", learn, parallel=True),
        Stage("oscar", "", learn_in_oscars_layout, parallel=True),
        Stage("pretraining", "", pretrain, parallel=True),
        Stage("detector", "", detect, parallel=True),
    ]


def run_in_process(rank: int, folder: str, port: int) -> None:
    """As `torchrun` sets it up."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    os.environ.update(here, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    run_stages(stages(Path(folder) / "log"), Path(folder))
    distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same recipe run by one process and by two."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    run_stages(stages(alone / "log"), alone)
    multiprocessing.spawn(run_in_process, args=(str(together), free_port()), nprocs=2)
    return alone / "training", together / "training"


def states(folder: Path, names: Sequence[str]) -> list[dict[str, Tensor]]:
    return [torch.load(folder / f"state{name}.pt") for name in names]


@pytest.mark.parametrize(
    ("stage", "steps", "losses"),
    [
        ("training", SCHEDULE.steps, {"caption", "answer"}),
        ("oscar", 8, {"caption", "answer"}),
        ("pretraining", 8, {"caption", "masked_tags", "masked_words", "match"}),
    ],
)
def test_two_processes_have_the_losses_of_one(
    stage: str, steps: int, losses: set[str], runs: tuple[Path, Path]
) -> None:
    expected, found = (read_progress(folder.parent / stage) for folder in runs)
    assert [progress.step for progress in found] == list(range(steps))
    assert {name for progress in found for name in progress.losses} >= {"attention", "hidden", *losses}
    for ours, theirs in zip(found, expected, strict=True):
        measured = {"hidden_floor", "hidden_duplicates"}  # taken at some of a process's own tokens
        assert {k: v for k, v in ours.losses.items() if k not in measured} == pytest.approx(
            {k: v for k, v in theirs.losses.items() if k not in measured}, rel=1e-4, abs=1e-6
        )


@pytest.mark.parametrize("stage", ["training", "oscar"])
def test_two_processes_have_the_shares_of_the_gradient_of_one(stage: str, runs: tuple[Path, Path]) -> None:
    expected, found = (
        [progress.gradient_shares for progress in read_progress(folder.parent / stage) if progress.gradient_shares]
        for folder in runs
    )
    assert len(found) == (6 if stage == "training" else 0)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_two_processes_have_one_queue_which_is_that_of_one_process(runs: tuple[Path, Path]) -> None:
    (alone,), (first, second) = states(runs[0], [""]), states(runs[1], ["0", "1"])
    assert torch.equal(first["hidden_loss.queue.tokens"], second["hidden_loss.queue.tokens"])
    for state in (first, second):
        assert torch.equal(state["hidden_loss.queue.photos"], alone["hidden_loss.queue.photos"])
        assert torch.equal(state["hidden_loss.queue.pointer"], alone["hidden_loss.queue.pointer"])
        torch.testing.assert_close(state["hidden_loss.queue.tokens"], alone["hidden_loss.queue.tokens"])


def test_two_processes_end_with_the_weights_of_one_and_write_once(runs: tuple[Path, Path]) -> None:
    expected, found = (torch.load(folder / "model.pt") for folder in runs)
    for name, value in expected.items():
        if "key.bias" not in name:  # its gradient is rounding noise, which Adam scales up
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)
    first, second = states(runs[1], ["0", "1"])
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (runs[1].parent / "log").read_text() == "prepared\n"
    assert not (runs[1] / "checkpoint.pt").exists()
    assert len(list((runs[1] / "tensorboard").iterdir())) == 1


def test_two_processes_train_the_detector_of_one(runs: tuple[Path, Path]) -> None:
    alone, together = (folder.parent / "detector" for folder in runs)
    for ours, theirs in zip(read_progress(together), read_progress(alone), strict=True):
        assert set(ours.losses) == {"proposal_objectness", "proposal_box", "class", "box", "attribute"}
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-5, abs=1e-6)
    expected, found = (torch.load(folder / "model.pt") for folder in (alone, together))
    for name, value in expected.items():
        # A bias in front of a norm has rounding noise for a gradient, which Adam scales up; it moves that norm's mean.
        if not name.endswith(("bias", "running_mean")):
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_shares_of_a_batch_are_contiguous_rows_at_any_depth() -> None:
    batch = UnevenBatches().batch(0)
    second = share_of(batch, 1, 2)
    assert batch_rows(second) == 2
    assert torch.equal(second.tokens, batch.tokens[2:])
    assert torch.equal(second.regions.features, batch.regions.features[2:])
    assert second.kind == "captions"
    assert share_of(batch, 0, 1) is batch
    with pytest.raises(ValueError, match="expected a multiple of 3 rows, one share a process, but received 4"):
        share_of(batch, 0, 3)
