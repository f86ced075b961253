"""The concept head: noisy-or, its inputs, its tags."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from distillvlm.modeling.detector.concepts import ConceptHead, ConceptTagger, ConceptTags, log1mexp, noisy_or
from distillvlm.structures.regions import Regions
from tests.detector.tiny import CONCEPTS, detector_with_concepts, photos, tiny_detector

FEATURES, CLASSES, LABELS, WORDS = 6, 4, 3, 5


def head() -> ConceptHead:
    torch.manual_seed(0)
    return ConceptHead(FEATURES, CLASSES, LABELS, WORDS, hidden_size=8)


def inputs(regions: int, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(batch, regions, FEATURES, generator=generator)
    classes = torch.rand(batch, CLASSES, generator=generator).softmax(-1)
    return features, torch.ones(batch, regions, dtype=torch.bool), classes, torch.rand(batch, LABELS)


def test_a_word_fits_the_photo_unless_it_fits_none_of_its_valid_regions() -> None:
    # sigmoids 1/2 and 3/4 of the first word, 1/5 and 1/10 of the second
    logits = torch.tensor([[1.0, 1 / 4], [3.0, 1 / 9]]).log().expand(2, -1, -1)
    present, absent = noisy_or(logits, torch.tensor([[True, True], [True, False]]))
    expected = torch.tensor([[1 - 1 / 2 * 1 / 4, 1 - 4 / 5 * 9 / 10], [1 / 2, 1 / 5]])
    torch.testing.assert_close(present.exp(), expected)
    torch.testing.assert_close(absent.exp(), 1 - expected)


def test_its_logarithm_is_exact_from_the_unlikeliest_to_the_surest_and_its_gradient_finite() -> None:
    x = torch.tensor([1e-20, 1e-6, 0.3, math.log(2), 1.0, 20.0, 90.0], requires_grad=True)
    log = log1mexp(x)
    exact = x.detach().double()
    expected = [math.log(-math.expm1(-each)) if each < 0.7 else math.log1p(-math.exp(-each)) for each in exact.tolist()]
    torch.testing.assert_close(log.double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-38)
    log.sum().backward()
    torch.testing.assert_close(x.grad.double(), 1 / torch.expm1(exact), rtol=1e-5, atol=0)


def test_likelihoods_of_extreme_logits_are_finite_and_so_are_their_gradients() -> None:
    logits = torch.tensor([[[-60.0, 60.0, 0.0]]], requires_grad=True)
    present, absent = noisy_or(logits, torch.tensor([[True]]))
    (present + absent).sum().backward()
    assert present.isfinite().all()
    assert absent.isfinite().all()
    assert logits.grad.isfinite().all()


def test_padding_changes_nothing() -> None:
    features, valid, classes, labels = inputs(regions=4)
    expected = head()(features[:, :3], valid[:, :3], classes, labels)
    valid[:, 3] = False
    for found, wanted in zip(head()(features, valid, classes, labels), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_every_part_of_the_head_learns() -> None:
    learner = head()
    present, absent = learner(*inputs(regions=3))
    (present.sum() + 0.5 * absent.sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in learner.parameters())


def test_words_begin_at_their_prior_however_many_regions_they_are_summed_over() -> None:
    learner, prior = head(), torch.tensor([0.3, 0.1, 0.01, 0.001, 0.0])
    torch.nn.init.zeros_(learner.words.weight)
    learner.start_at(prior, regions=50)
    present, _ = learner(*inputs(regions=50))
    torch.testing.assert_close(present[0].exp(), prior.clamp(min=1e-6), rtol=1e-4, atol=0)


def test_features_are_standardised() -> None:
    features, *rest = inputs(regions=3)
    plain, standardising = head(), head()
    mean, deviation = torch.arange(FEATURES).float(), torch.linspace(0.1, 3, FEATURES)
    standardising.standardise(mean, deviation)
    torch.testing.assert_close(standardising(features * deviation + mean, *rest), plain(features, *rest))


def test_tags_are_the_words_that_weigh_most_by_probability_over_the_root_of_the_prior() -> None:
    learner = ConceptHead(FEATURES, CLASSES, LABELS, num_words=4, hidden_size=8)
    torch.nn.init.zeros_(learner.words.weight)
    with torch.no_grad():  # probabilities 0.5, 0.2, 0.1, 0.01 from one region
        learner.words.bias.copy_(torch.tensor([0.5, 0.2, 0.1, 0.01]).logit())
    # weights 0.5 / 0.5 = 1, 0.2 / 0.1 = 2, 0.1 / 0.2 = 0.5, 0.01 / 0.1 = 0.1
    tags = ConceptTags(("man", "zebra", "street", "giraffe"), torch.tensor([0.25, 0.01, 0.04, 0.01]), threshold=0.4)
    features, valid, classes, _ = inputs(regions=1, batch=1)
    none = torch.full((1, 1), -1)
    regions = Regions(torch.zeros(1, 1, 4), features, none, none, torch.zeros(1, 1), valid, none)
    assert ConceptTagger(learner, tags, num_tags=4)(regions, classes).tolist() == [[1, 0, 2, -1]]
    assert ConceptTagger(learner, tags, num_tags=2)(regions, classes).tolist() == [[1, 0]]


def test_a_prior_of_other_words_and_more_tags_than_words_are_refused() -> None:
    with pytest.raises(ValueError, match="prior"):
        ConceptTags(("cat",), torch.zeros(2))
    with pytest.raises(ValueError, match="num_tags"):
        ConceptTagger(head(), ConceptTags(("cat",), torch.zeros(1)), num_tags=2)


@torch.no_grad()
def test_classes_come_from_the_whole_photos_region_as_from_its_pixels() -> None:
    detector = tiny_detector(pool_backbone=True, semantic_head=True)
    regions = detector(photos(3))
    _, head = detector.backbone(photos(3))
    torch.testing.assert_close(detector.classes_of(regions), detector.backbone.class_probabilities(head))


@torch.no_grad()
def test_a_detector_with_a_head_gives_its_tags_and_else_what_it_gave_before() -> None:
    detector = detector_with_concepts()
    assert detector.tag_words == CONCEPTS
    regions, plain = detector(photos(3)), tiny_detector(pool_backbone=True)(photos(3))
    torch.testing.assert_close(replace(regions, tags=plain.tags), plain)
    assert torch.equal(regions.tags, detector.tagger(regions, detector.classes_of(regions)))


def test_a_detector_that_does_not_keep_the_whole_photo_has_no_head() -> None:
    for changes in ({"pool_backbone": False}, {"pool_backbone": True, "grid": 0}):
        with pytest.raises(ValueError, match="grid and pool_backbone"):
            tiny_detector(**changes).new_concept_head(5, hidden_size=8)
