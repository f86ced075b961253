"""Losses on output distributions: against people's words and answers, and against the teacher's.

Means are over the rows of all processes.
"""

# Shapes: M supervised words, V vocabulary, Q questions, A answers, B photos, K likeliest.
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from distillvlm.losses.processes import global_mean

LEAST = 1e-6  # probability of whatever is not among the likeliest


def caption_loss(logits_MV: Tensor, words_M: Tensor, allowed_V: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy whose smoothing mass is spread over the pieces that captions use; mean over words, 0 for none.

    logits_MV: pieces that captions never use at a finite score that no softmax sees.
    allowed_V: bool, the pieces that captions use; every word is one of them.

    Raises:
        ValueError: `label_smoothing` is outside 0-1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"Expected label_smoothing in 0-1 but received {label_smoothing}")
    logits_MV = logits_MV.float()
    target_M = logits_MV.gather(1, words_M[:, None]).squeeze(1)
    if label_smoothing:
        allowed_mean_M = logits_MV.masked_fill(~allowed_V, 0.0).sum(-1) / allowed_V.sum()
        target_M = (1 - label_smoothing) * target_M + label_smoothing * allowed_mean_M
    return global_mean((logits_MV.logsumexp(-1) - target_M).sum(), len(words_M))


def masked_token_loss(logits_MV: Tensor, tokens_M: Tensor) -> Tensor:
    """Cross-entropy over the whole vocabulary at masked places, mean over them; 0 where nothing is masked."""
    return global_mean(functional.cross_entropy(logits_MV.float(), tokens_M, reduction="sum"), len(tokens_M))


def match_loss(logits_B2: Tensor, matched_B: Tensor) -> Tensor:
    """OSCAR's contrastive loss: cross-entropy of (polluted, matched) against bool `matched_B`; mean over photos.

    Source: Li et al. 2020, arXiv:2004.06165, equation 3.
    """
    return global_mean(functional.cross_entropy(logits_B2.float(), matched_B.long(), reduction="sum"), len(matched_B))


def answer_loss(logits_QA: Tensor, targets_QA: Tensor) -> Tensor:
    """Binary cross-entropy with soft scores in 0-1, summed over answers, mean over questions; 0 for no questions.

    A mean over thousands of answers would be inert beside the other losses (OSCAR multiplies its mean by A).
    """
    loss = functional.binary_cross_entropy_with_logits(logits_QA.float(), targets_QA.float(), reduction="sum")
    return global_mean(loss, len(targets_QA))


def answer_distillation(student_QA: Tensor, teacher_QA: Tensor) -> Tensor:
    """`answer_loss` with the teacher's sigmoids as targets."""
    return answer_loss(student_QA, teacher_QA.detach().float().sigmoid())


def word_distillation(student_MV: Tensor, teacher_MV: Tensor, temperature: float = 1.0) -> Tensor:
    """KL divergence from the teacher's softened word distribution, times temperature^2; mean over words, 0 for none.

    Pieces that captions never use have the same low finite score in both logits.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2 (the square keeps the gradient's size).

    Raises:
        ValueError: `temperature` is not positive, or the shapes differ.
    """
    if temperature <= 0:
        raise ValueError(f"Expected a positive temperature but received {temperature}")
    if student_MV.shape != teacher_MV.shape:
        raise ValueError(
            f"Expected logits of one shape but the student's are {tuple(student_MV.shape)} "
            f"and the teacher's {tuple(teacher_MV.shape)}"
        )
    student_log_MV = (student_MV.float() / temperature).log_softmax(-1)
    teacher_log_MV = (teacher_MV.detach().float() / temperature).log_softmax(-1)
    divergence = functional.kl_div(student_log_MV, teacher_log_MV, reduction="sum", log_target=True)
    return temperature**2 * global_mean(divergence, len(student_MV))


def likeliest_words_distillation(student_MV: Tensor, ids_MK: Tensor, probabilities_MK: Tensor) -> Tensor:
    """`word_distillation` from the teacher's K likeliest pieces, all others taken as one."""
    student_log_MK = student_MV.float().log_softmax(-1).gather(1, ids_MK)
    ours = torch.cat([student_log_MK, _rest(student_log_MK.exp()).log()], dim=1)
    theirs = torch.cat([probabilities_MK, _rest(probabilities_MK)], dim=1)
    return global_mean(functional.kl_div(ours, theirs, reduction="sum"), len(student_MV))


def likeliest_answers_distillation(student_QA: Tensor, ids_QK: Tensor, probabilities_QK: Tensor) -> Tensor:
    """`answer_distillation` from the teacher's K likeliest answers; it gives the others no chance."""
    targets_QA = torch.zeros_like(student_QA, dtype=torch.float32).scatter(1, ids_QK, probabilities_QK)
    return answer_loss(student_QA, targets_QA)


def _rest(probabilities_MK: Tensor) -> Tensor:
    return (1 - probabilities_MK.sum(1, keepdim=True)).clamp(min=LEAST)
