"""From published features and a corpus, without a photo or a detector, to a step of pre-training."""

import json
from pathlib import Path

import torch

from distillvlm.data.oscar_corpus import corpus_features, load_corpus, read_corpus
from distillvlm.data.oscar_store import count_labels, store_of_tsv
from distillvlm.data.text_sources import caption_source, question_source
from distillvlm.data.words import collect_words
from distillvlm.recipes.language import ModelSize, new_model, pretraining_batches
from distillvlm.tasks.objective import ObjectiveTask
from distillvlm.tasks.pretraining import PretrainingObjective
from tests.data import oscar_files as files

STEPS = 4
YAML = """
corpus: coco
corpus_file: rows.tsv
image_label_path: {coco: labels}
image_feature_path: {coco: features}
"""


def test_published_files_are_enough_for_pre_training(tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_text(YAML)
    photos = range(3)
    names = [f"coco_cap_{key}" for key in files.KEYS]
    captions = [[name, name, f"a dog with {photo} red balls"] for photo, name in enumerate(names)]
    questions = [[name, f"coco_qa_{files.KEYS[photo]}_{photo}", "how many?"] for photo, name in enumerate(names)]
    files.write_rows(tmp_path / "rows.tsv", [*captions, *questions])
    answers = [[photo, json.dumps({"labels": [str(photo)]})] for photo in photos]
    files.write_rows(tmp_path / "labels/QA_fileB.tsv", answers)
    files.write_rows(tmp_path / "labels/predictions_gt.tsv", map(files.sized_label_row, photos))
    files.write_rows(tmp_path / "features/features.tsv", map(files.vinvl_row, photos))

    corpus = load_corpus(tmp_path / "corpus.yaml", tmp_path)
    tags = [name for name, _ in count_labels(corpus_features(corpus)).most_common()]
    store = store_of_tsv(corpus_features(corpus), tmp_path / "store", tags, 2, 3, feature_size=files.FEATURE_SIZE)
    texts = read_corpus(corpus)
    said = [caption for text in texts for caption in text.captions]
    words = collect_words(said, ["how many? 0 1 2"], tags, ["0"], min_count=1)
    sources = [caption_source(texts, words.tokenizer, 20), question_source(texts, words.tokenizer, 20)]
    batches = pretraining_batches(sources, words, (3, 1), STEPS, 0.5, 7, store)
    task = ObjectiveTask(new_model(ModelSize(16, 1, 2, 32), words, store.feature_size, 7), PretrainingObjective())

    seen = [task(batches.batch(step)) for step in range(STEPS)]
    assert sum("caption" in losses for losses in seen) == STEPS // 2
    assert all(bool(torch.isfinite(loss)) for losses in seen for loss in losses.values())
