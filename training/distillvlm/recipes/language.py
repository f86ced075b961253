"""Vision-language models of a recipe: built, fed and trained, alone or from a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch

from distillvlm.data.confusion import Confusion
from distillvlm.data.described_batches import DescribedBatches
from distillvlm.data.pretraining_batches import MaskTokens, PretrainingBatches
from distillvlm.data.records import Described, Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.soft_targets import SoftTargets
from distillvlm.data.sources import SourceTags
from distillvlm.data.text_batches import (
    MixedBatches,
    ReferenceBatches,
    TextBatches,
    TextBatchSource,
    TextPool,
    caption_pool,
    question_pool,
)
from distillvlm.data.text_sources import TextSource, mix_sources
from distillvlm.data.words import Words
from distillvlm.engine.checkpoint import load_trained
from distillvlm.engine.gradient_shares import mean_shares, share_windows
from distillvlm.engine.processes import fastest_device
from distillvlm.engine.progress import recent_means
from distillvlm.engine.trainer import Batches, Schedule, Task, train
from distillvlm.evaluation.vqa import soft_targets
from distillvlm.modeling.layouts import Layout
from distillvlm.modeling.vision_language import VisionLanguageConfig, VisionLanguageModel
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.objective import Objective, ObjectiveTask
from distillvlm.tasks.scst import CaptionReward, ScstSettings, ScstTask

ALL_CAPTIONS = 1000  # more than any photo has
LONGEST_REFERENCE = 64  # pieces; COCO's longest captions have about 60
NO_TARGETS: Mapping[str, SoftTargets] = MappingProxyType({})


@dataclass(frozen=True)
class ModelSize:
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int


@dataclass(frozen=True)
class TextMix:
    """What a fine-tuning is fed.

    captions, questions: photos of a batch and texts of each photo; unseen: questions without photos of a batch;
    described: photos that are not at hand of a batch and captions of each; spoken: photos of a batch with a caption of
    a teacher's each; asked: photos of a batch and questions of each, people's alone; references: photos of a batch with
    all their captions, against which a model's own are judged.
    *_steps: steps of each kind in the whole training. Lengths count a caption's words and its [SEP], a question's
    words with [CLS] and [SEP].
    """

    captions: tuple[int, int]
    questions: tuple[int, int]
    caption_steps: int
    question_steps: int
    unseen: int = 0
    unseen_steps: int = 0
    described: tuple[int, int] = (0, 0)
    described_steps: int = 0
    spoken: int = 0
    spoken_steps: int = 0
    asked: tuple[int, int] = (0, 0)
    asked_steps: int = 0
    references: int = 0
    reference_steps: int = 0
    max_caption_tokens: int = 20  # the longest caption that the server gives
    max_question_tokens: int = 66  # 64 pieces are promised to users

    @property
    def steps(self) -> int:
        seen = self.caption_steps + self.question_steps + self.spoken_steps + self.asked_steps + self.reference_steps
        return seen + self.unseen_steps + self.described_steps


def model_config(
    size: ModelSize, vocab_size: int, num_answers: int, feature_size: int, dropout: float = 0.1
) -> VisionLanguageConfig:
    return VisionLanguageConfig(
        vocab_size=vocab_size,
        num_answers=num_answers,
        region_feature_size=feature_size,
        hidden_size=size.hidden_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        intermediate_size=size.intermediate_size,
        dropout=dropout,
    )


def new_model(size: ModelSize, words: Words, feature_size: int, seed: int, dropout: float = 0.1) -> VisionLanguageModel:
    """Random weights, but for the words' bias: captions begin with the frequencies of their pieces, which a bias that
    moves by a rate of 1e-3 a step takes hundreds of steps to learn."""
    torch.manual_seed(seed)
    config = model_config(size, len(words.vocabulary), len(words.answers), feature_size, dropout)
    model = VisionLanguageModel(config, words.lexicon)
    with torch.no_grad():
        model.word_bias.copy_(words.caption_prior)
    return model


def finetuning_batches(
    records: Sequence[Record],
    words: Words,
    mix: TextMix,
    seed: int,
    store: RegionStore,
    teacher_store: RegionStore | None = None,
    unseen: Sequence[Question] = (),
    described: Sequence[Described] = (),
    spoken: Sequence[Described] = (),
    soft: Mapping[str, SoftTargets] = NO_TARGETS,
    confusion: Confusion | None = None,
    sources: SourceTags | None = None,
) -> MixedBatches[TextBatchSource]:
    """Captions and questions on photos and without, mixed; kinds with no steps are left out.

    unseen: questions on photos that are not at hand. described: such photos with their captions. spoken: photos with a
    teacher's captions. soft: what a teacher said beforehand of each text of the records ("captions", "questions", and
    of people's questions "asked") and of `spoken` ("spoken"), in the order of `caption_texts`, `question_texts` and
    `asked_texts`. confusion: of the concept head that gives the tags, which described photos need. sources: their last
    tags (`DescribedBatches`).
    """
    tokenizer, answers = words.tokenizer, len(words.answers)
    stores = (store, teacher_store)
    parts: list[tuple[TextBatchSource, int]] = []
    if mix.reference_steps:
        pool = caption_pool(records, tokenizer, LONGEST_REFERENCE, words.caption_rows)
        references = ReferenceBatches(pool, tokenizer, answers, mix.references, ALL_CAPTIONS, seed, *stores)
        parts.append((references, mix.reference_steps))
    if mix.caption_steps:
        pool = caption_texts(records, words, mix)
        batches = TextBatches(pool, tokenizer, answers, *mix.captions, seed, *stores, soft.get("captions"))
        parts.append((batches, mix.caption_steps))
    if mix.question_steps:
        pool = question_texts(records, words, mix)
        batches = TextBatches(pool, tokenizer, answers, *mix.questions, seed, *stores, soft.get("questions"))
        parts.append((batches, mix.question_steps))
    if mix.spoken_steps:
        pool = caption_texts(spoken, words, mix)
        batches = TextBatches(pool, tokenizer, answers, mix.spoken, 1, seed, *stores, soft.get("spoken"))
        parts.append((batches, mix.spoken_steps))
    if mix.asked_steps:
        pool = asked_texts(records, words, mix)
        batches = TextBatches(pool, tokenizer, answers, *mix.asked, seed, *stores, soft.get("asked"))
        parts.append((batches, mix.asked_steps))
    if mix.unseen_steps:
        alone = [(None, [question]) for question in unseen]
        pool = question_pool(alone, tokenizer, soft_targets, words.answers, mix.max_question_tokens)
        parts.append((TextBatches(pool, tokenizer, answers, mix.unseen, 1, seed), mix.unseen_steps))
    if mix.described_steps:
        assert confusion is not None
        sizes = (mix.max_caption_tokens, store.num_tags, store.feature_size)
        texts = DescribedBatches(described, words, mix.described, *sizes, seed, confusion, sources)
        parts.append((texts, mix.described_steps))
    return MixedBatches(parts, seed)


def caption_texts(records: Iterable[Described], words: Words, mix: TextMix) -> TextPool:
    return caption_pool(records, words.tokenizer, mix.max_caption_tokens, words.caption_rows)


def question_texts(records: Iterable[Record], words: Words, mix: TextMix) -> TextPool:
    asked = [(record.photo_id, record.questions) for record in records if record.questions]
    return question_pool(asked, words.tokenizer, soft_targets, words.answers, mix.max_question_tokens)


def asked_texts(records: Iterable[Record], words: Words, mix: TextMix) -> TextPool:
    """People's questions alone."""
    by_people = (
        replace(record, questions=tuple(question for question in record.questions if question.is_human))
        for record in records
    )
    return question_texts(by_people, words, mix)


def pretraining_batches(
    sources: Sequence[TextSource],
    words: Words,
    batch: tuple[int, int],
    steps: int,
    polluted_share: float,
    seed: int,
    store: RegionStore,
    teacher_store: RegionStore | None = None,
) -> PretrainingBatches:
    """Texts of photos, mixed from their sources, with masked tags and matched or polluted texts.

    batch: photos of a batch, texts of each; steps: of the whole training.
    """
    tokenizer = words.tokenizer
    texts = mix_sources(sources, tokenizer, batch, steps, seed, store, teacher_store)
    masking = MaskTokens(tokenizer.mask_id, tokenizer.mask_id + 1, len(words.vocabulary))
    return PretrainingBatches(texts, words.lexicon.tag_tokens, masking, polluted_share, seed)


def train_alone(
    model: VisionLanguageModel,
    objective: Objective,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
    blind: bool = False,
) -> dict[str, object]:
    """Trains against people's words; see `run_training` for what is returned."""
    return run_training(ObjectiveTask(model, objective, blind=blind), batches, schedule, folder, seed)


def distil(
    student: VisionLanguageModel,
    teacher: VisionLanguageModel,
    objective: Objective,
    settings: DistillationSettings,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> dict[str, object]:
    """Trains a student from a frozen teacher; see `run_training` for what is returned."""
    torch.manual_seed(seed)
    task = DistillationTask(student, FrozenTeacher(teacher, objective), settings)
    return run_training(task, batches, schedule, folder, seed)


def train_scst(
    model: VisionLanguageModel,
    records: Sequence[Record],
    words: Words,
    settings: ScstSettings,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
    layout: Layout | None = None,
    objective: Objective | None = None,
) -> dict[str, object]:
    """Trains a captioner on CIDEr-D with the document frequencies of the records; batches of a `scst_mix`.

    layout, objective: see `ScstTask`.
    """
    reward = CaptionReward(words.tokenizer, [record.captions for record in records if record.captions])
    return run_training(ScstTask(model, reward, settings, layout, objective), batches, schedule, folder, seed)


def scst_mix(mix: TextMix) -> TextMix:
    """The same mix for self-critical training, with references in place of captions."""
    return replace(with_references(mix, mix.caption_steps), caption_steps=0)


def with_references(mix: TextMix, steps: int) -> TextMix:
    """With so many steps of as many photos as a batch of captions has, each with all of its captions, uncut: what a
    reward compares with."""
    return replace(mix, references=mix.captions[0], reference_steps=steps)


def run_training(task: Task, batches: Batches, schedule: Schedule, folder: Path, seed: int) -> dict[str, object]:
    """Trains; returns parameters, last losses and, by window, the losses' mean shares of the gradient."""
    history = train(task, batches, schedule, folder, seed)
    windows = share_windows(schedule.steps, schedule.share_steps)
    shares = {name: mean_shares(history, window) for name, window in windows.items()}
    return {"parameters": parameters_of(task.trained), **recent_means(history), "gradient shares": shares}


def begin(
    model: VisionLanguageModel, before: Path | None, store: RegionStore, photos: Iterable[Record]
) -> VisionLanguageModel:
    """The model as a training finds it: with the weights that the one before left in its folder, or new, with the
    store's regions standardised as those of the training photos are."""
    if before is not None:
        return load_model(model, before)
    model.standardise_regions(*store.feature_statistics([record.photo_id for record in photos]))
    return model


def load_model(model: VisionLanguageModel, folder: Path) -> VisionLanguageModel:
    """The weights that a training left in its folder."""
    load_trained(model, folder)
    return model


def load_for_inference(model: VisionLanguageModel, folder: Path) -> VisionLanguageModel:
    """As `load_model`, on the GPU where there is one."""
    return load_model(model, folder).to(fastest_device())


def parameters_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
