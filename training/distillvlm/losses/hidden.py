"""Distillation of hidden states: each token must find its teacher's token among those of earlier batches."""

# Shapes: B photos, T tokens of a photo, D student's size, E teacher's size, M anchors (valid tokens), K queue, C new.
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillvlm.losses.processes import gather_processes, global_mean, process_index

EMPTY = -1
"""Photo id of a place in the queue that was never filled."""

MIN_TEMPERATURE = 0.03
"""Below it exp(2 / tau) times a queue's length nears the end of float32's range."""

_MEASURED_ANCHORS = 64  # enough for the logged means; all anchors would cost as much as the loss itself
_DUPLICATE_COSINE = 0.95


class TokenQueue(nn.Module):
    """The last K teacher tokens, first in first out, each with the id of its photo.

    tokens: float32 [K, E], of length 1. photos: int64 [K], `EMPTY` where nothing was put yet.
    All of it is in the state dict. With torch.distributed the tokens of all processes are put into every queue.
    """

    tokens: Tensor
    photos: Tensor
    pointer: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"Expected a queue of at least 1 token but received {size}")
        self.register_buffer("tokens", torch.zeros(size, width))
        self.register_buffer("photos", torch.full((size,), EMPTY))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, tokens_CE: Tensor, photos_C: Tensor) -> None:
        """Puts tokens in; rows whose photo is `EMPTY` are skipped, so that all processes can bring equally many."""
        tokens_CE, photos_C = gather_processes(tokens_CE.float()), gather_processes(photos_C)
        present_C = photos_C != EMPTY
        size = len(self.photos)
        new_tokens, new_photos = tokens_CE[present_C][-size:], photos_C[present_C][-size:]
        places = (self.pointer + torch.arange(len(new_photos), device=self.photos.device)) % size
        self.tokens[places] = functional.normalize(new_tokens, dim=-1)
        self.photos[places] = new_photos
        self.pointer.add_(len(new_photos)).remainder_(size)


class HiddenStateLoss(nn.Module):
    """Token-wise noise-contrastive loss on the last layer's hidden states.

    For token i: -log(exp(phi(h_i) . t_i / tau) / (exp(phi(h_i) . t_i / tau) + sum_k exp(phi(h_i) . q_k / tau))) with
    phi a linear map to the teacher's width, all vectors of length 1, t_i the teacher's token and q_k the queue's
    tokens of other photos: a photo's own tokens recur in its other captions and would be false negatives.

    `measurements` holds, after each call, what tells a careless queue: "floor", the loss of a student whose states
    equal the teacher's, and "duplicates", negatives per token that are almost (cosine above 0.95) its positive.

    Source: Fang et al. 2021, arXiv:2104.02096, hidden-state distillation with a sample queue.
    """

    def __init__(
        self,
        student_size: int,
        teacher_size: int,
        queue_size: int = 4096,
        temperature: float = 0.07,
        tokens_per_photo: int = 8,
    ) -> None:
        super().__init__()
        if temperature < MIN_TEMPERATURE:
            raise ValueError(f"Expected a temperature of at least {MIN_TEMPERATURE} but received {temperature}")
        self.projection = nn.Linear(student_size, teacher_size)
        self.queue = TokenQueue(queue_size, teacher_size)
        self.temperature = temperature
        self.tokens_per_photo = tokens_per_photo
        self.measurements: dict[str, float] = {}

    def forward(
        self, student_BTD: Tensor, teacher_BTE: Tensor, valid_BT: Tensor, negatives_BT: Tensor, photos_B: Tensor
    ) -> Tensor:
        """Mean over valid tokens of all processes; 0 where there is none or the queue is still empty.

        negatives_BT: bool, tokens that may serve later batches as negatives (no special tokens, no padding).
        photos_B: int64, one id for a photo in all batches, never negative.

        In training mode, up to `tokens_per_photo` of these are drawn for the queue, after the loss.
        """
        anchors_ME = functional.normalize(self.projection(student_BTD[valid_BT]).float(), dim=-1)
        positives_ME = functional.normalize(teacher_BTE[valid_BT].detach().float(), dim=-1)
        photos_M = photos_B[:, None].expand_as(valid_BT)[valid_BT]
        # Copied, since the queue is overwritten below and the backward pass needs what it was.
        queue_KE, queue_photos_K = self.queue.tokens.clone(), self.queue.photos.clone()
        masked_MK = (queue_photos_K == EMPTY) | (photos_M[:, None] == queue_photos_K)
        loss_M = self._nce(anchors_ME, positives_ME, queue_KE, masked_MK)
        self._measure(positives_ME, queue_KE, masked_MK)
        if self.training:
            self._enqueue(teacher_BTE, negatives_BT, photos_B)
        return global_mean(loss_M.sum(), len(loss_M))

    def _nce(self, anchors_ME: Tensor, positives_ME: Tensor, queue_KE: Tensor, masked_MK: Tensor) -> Tensor:
        # Cosines are bounded, so exp needs no shift by the maximum: half the passes over [M, K] of logsumexp.
        scaled_ME = anchors_ME / self.temperature
        positive_M = (scaled_ME * positives_ME).sum(-1)
        negative_MK = (scaled_ME @ queue_KE.T).float().masked_fill_(masked_MK, -torch.inf).exp()
        return torch.log1p(negative_MK.sum(-1) * (-positive_M).exp())

    @torch.no_grad()
    def _measure(self, positives_ME: Tensor, queue_KE: Tensor, masked_MK: Tensor) -> None:
        some = slice(None, None, max(1, len(positives_ME) // _MEASURED_ANCHORS))
        positives, masked = positives_ME[some], masked_MK[some]
        count = max(1, len(positives))
        floor = self._nce(positives, positives, queue_KE, masked).sum() / count
        duplicates = ((positives @ queue_KE.T > _DUPLICATE_COSINE) & ~masked).sum() / count
        self.measurements = {"floor": float(floor), "duplicates": float(duplicates)}

    @torch.no_grad()
    def _enqueue(self, teacher_BTE: Tensor, allowed_BT: Tensor, photos_B: Tensor) -> None:
        """Draws the same number of rows for each photo; those of photos with too few allowed tokens are `EMPTY`."""
        # by a token's place among those that are allowed, so that padding changes no draw
        place_BT = (allowed_BT.cumsum(dim=1) - 1).clamp(min=0)
        priority_BT = self._priorities(allowed_BT, photos_B).gather(1, place_BT).masked_fill(~allowed_BT, -1.0)
        drawn = priority_BT.topk(min(self.tokens_per_photo, allowed_BT.shape[1]), dim=1)
        tokens_BCE = teacher_BTE.gather(1, drawn.indices[..., None].expand(-1, -1, teacher_BTE.shape[-1]))
        photos_BC = torch.where(drawn.values >= 0, photos_B[:, None], EMPTY)
        self.queue.enqueue(tokens_BCE.flatten(0, 1), photos_BC.flatten())

    def _priorities(self, allowed_BT: Tensor, photos_B: Tensor) -> Tensor:
        """Random numbers in 0-1 [B, T], those that one process with the whole batch would draw for these rows; a longer
        row begins with those of a shorter one.

        Drawn from a generator of their own, seeded by the batch's photos and the queue's place: torch's generator is
        in another state on each process, since dropout is drawn from it.
        """
        photos_of_all = gather_processes(photos_B)
        seed = int(photos_of_all.sum()) * len(self.queue.photos) + int(self.queue.pointer)
        generator = torch.Generator().manual_seed(seed)
        rows = torch.rand(allowed_BT.shape[1], len(photos_of_all), generator=generator).T
        first = process_index() * len(photos_B)
        return rows[first : first + len(photos_B)].to(allowed_BT.device)


class HiddenStateError(nn.Module):
    """Mean squared error between phi(h_i), a linear map to the teacher's width, and the teacher's token: what the paper
    compares its NCE with. Called as `HiddenStateLoss`; negatives and photos are not looked at.

    Source: Jiao et al. 2020 (TinyBERT), arXiv:1909.10351, equation 8.
    """

    def __init__(self, student_size: int, teacher_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(student_size, teacher_size)
        self.measurements: dict[str, float] = {}

    def forward(
        self, student_BTD: Tensor, teacher_BTE: Tensor, valid_BT: Tensor, negatives_BT: Tensor, photos_B: Tensor
    ) -> Tensor:
        """Mean over valid tokens of all processes; 0 where there is none."""
        error_ME = self.projection(student_BTD[valid_BT]).float() - teacher_BTE[valid_BT].detach().float()
        error_M = error_ME.square().mean(-1)
        return global_mean(error_M.sum(), len(error_M))
