"""Regions of every photo on disk, made once, read by memory map."""

# Shapes: n photos, V views, R regions, F feature size, G tags.
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from distillvlm.data.atomic_files import save_arrays_atomically, write_text_atomically
from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import Record
from distillvlm.data.views import FLIP, IDENTITY, crop_of
from distillvlm.structures.regions import Regions

PHOTOS_OF_STATISTICS = 2000
LEAST_DEVIATION = 1e-3  # of a number that hardly ever differs, which is not to be blown up
FIELDS = tuple(field.name for field in fields(Regions))


class RegionStore:
    """A folder with one array file [n, V, ...] for each field of `Regions`; features lie there as fp16.

    Opened for reading once every photo is in it: `fill_store` makes it, from a detector by `extract_regions`.
    """

    def __init__(self, folder: Path, tags: Path | None = None) -> None:
        """tags: a file of `save_tags`, read in place of the store's own.

        Raises:
            ValueError: there is no store in the folder, or photos are missing from it or from the tags; names the
                folder or the file.
        """
        if not (folder / "meta.json").is_file():
            raise ValueError(f"{folder}: expected a region store (meta.json and arrays), found none")
        meta = json.loads((folder / "meta.json").read_text())
        self.key: str = meta["key"]
        self.photo_ids: list[str] = meta["photo_ids"]
        self.views: int = meta["views"]
        self.row_of = {photo_id: row for row, photo_id in enumerate(self.photo_ids)}
        if not np.load(folder / "done.npy").all():
            raise ValueError(f"region store {folder}: not every photo is in it; run its stage again")
        self.arrays: dict[str, np.ndarray] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in FIELDS}
        if tags is not None:
            self.arrays["tags"] = self._read_tags(tags)
            self.key = store_key(self.key, hashlib.sha256(tags.read_bytes()).hexdigest())

    def _read_tags(self, path: Path) -> np.ndarray:
        with np.load(path) as file:
            photo_ids, tags_nVG = file["photo_ids"].tolist(), file["tags"]
        row_of = {photo_id: row for row, photo_id in enumerate(photo_ids)}
        missing = [photo_id for photo_id in self.photo_ids if photo_id not in row_of]
        if missing or tags_nVG.shape[1] < self.views:
            raise ValueError(
                f"{path}: expected tags of {len(self.photo_ids)} photos in {self.views} views or more but received "
                f"{tags_nVG.shape[1]} views, and {len(missing)} photos are missing"
            )
        return tags_nVG[[row_of[photo_id] for photo_id in self.photo_ids], : self.views]

    @property
    def feature_size(self) -> int:
        return self.arrays["features"].shape[-1]

    @property
    def num_tags(self) -> int:
        return self.arrays["tags"].shape[-1]

    def regions(self, photo_ids: Sequence[str], views: Sequence[int] | None = None) -> Regions:
        """Regions of the photos in the order given, features as float32.

        Raises:
            ValueError: a photo is not in the store.
        """
        missing = [photo_id for photo_id in photo_ids if photo_id not in self.row_of]
        if missing:
            raise ValueError(f"region store: no regions of photo {missing[0]!r}")
        rows = [self.row_of[photo_id] for photo_id in photo_ids]
        view_of = [IDENTITY] * len(rows) if views is None else list(views)
        picked = {name: torch.from_numpy(np.asarray(array[rows, view_of])) for name, array in self.arrays.items()}
        return Regions(**{**picked, "features": picked["features"].float()})

    def feature_statistics(self, photo_ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (float32 [F], at least `LEAST_DEVIATION`) of each number of a region's feature,
        over the regions of some of the photos, evenly spread.

        photo_ids: those that are trained on; what validation and test photos look like is not for a model to know.

        Raises:
            ValueError: a photo is not in the store.
        """
        some = self.regions(photo_ids[:: max(1, len(photo_ids) // PHOTOS_OF_STATISTICS)])
        features = some.features[some.valid]
        return features.mean(0), features.std(0).clamp(min=LEAST_DEVIATION)


def save_tags(path: Path, photo_ids: Sequence[str], tags_nVG: np.ndarray) -> None:
    """Writes tags (int64, rows of a list of tag words, -1 for none) of photos in their views, for a `RegionStore`."""
    save_arrays_atomically(path, {"photo_ids": np.array(photo_ids), "tags": tags_nVG.astype(np.int64)})


def store_key(*parts: str) -> str:
    """Checksum of everything a store depends on (weights, sizes, views): another key, another store."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def weights_checksum(module: torch.nn.Module) -> str:
    """SHA-256 over names and values of a network's state."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def extract_regions(
    describe: Callable[[Tensor, Sequence[Record], int], Regions],
    records: Sequence[Record],
    image_size: tuple[int, int],
    folder: Path,
    key: str,
    views: int = 1,
    batch_size: int = 32,
    label: str = "regions",
) -> RegionStore:
    """Runs a detector over views of photos (see `views`) and keeps what it says; continues a cut-off run.

    describe: pixels uint8 [B, H, W, 3], their records and the number of the view -> `Regions` of those pixels.

    Raises:
        ValueError: the folder holds the regions of another detector, other photos or other settings.
    """

    def decode(record: Record, view: int) -> np.ndarray:
        return load_pixels(record.path, image_size, crop_of(record.photo_id, view))

    with ThreadPoolExecutor(os.cpu_count()) as loaders:

        def decode_all(chosen: Sequence[Record], view: int) -> Tensor:
            return torch.from_numpy(np.stack(list(loaders.map(decode, chosen, repeat(view)))))

        def describe_views(rows: Sequence[int]) -> Iterator[Regions]:
            chosen = [records[row] for row in rows]
            whole = decode_all(chosen, IDENTITY)
            known = {IDENTITY: whole, FLIP: whole.flip(2)}
            for view in range(views):
                yield describe(known[view] if view in known else decode_all(chosen, view), chosen, view)

        photo_ids = [record.photo_id for record in records]
        return fill_store(describe_views, photo_ids, folder, key, views, batch_size, label)


def fill_store(
    describe_views: Callable[[Sequence[int]], Iterable[Regions]],
    photo_ids: Sequence[str],
    folder: Path,
    key: str,
    views: int = 1,
    batch_size: int = 32,
    label: str = "regions",
) -> RegionStore:
    """Makes a store of the photos' regions, or continues one.

    describe_views: places in `photo_ids` -> the `Regions` of those photos, once for each view in its order.

    Raises:
        ValueError: the folder holds the regions of another detector, other photos or other settings, or there are no
            photos.
    """
    if not photo_ids:
        raise ValueError(f"region store {folder}: expected at least one photo")
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"key": key, "views": views, "photo_ids": list(photo_ids)}
    meta_path = folder / "meta.json"
    resumed = meta_path.exists()
    if resumed and json.loads(meta_path.read_text()) != meta:
        raise ValueError(
            f"region store {folder}: made by another detector, or from other photos or files; delete it to remake it"
        )
    done = _open_array(folder, "done", np.dtype(bool), (len(photo_ids),), resumed)
    write_text_atomically(meta_path, json.dumps(meta))
    todo = np.flatnonzero(~done)
    arrays: dict[str, np.memmap] = {}
    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
    for rows in tqdm(batches, desc=label, unit="batch", mininterval=1.0):
        for view, regions in enumerate(describe_views(rows.tolist())):
            arrays = arrays or _open_arrays(folder, regions, len(photo_ids), views, resumed)
            for name, array in arrays.items():
                array[rows, view] = getattr(regions, name).to(_stored_type(name, regions)).cpu().numpy()
        for array in arrays.values():
            array.flush()
        done[rows] = True
        done.flush()
    return RegionStore(folder)


def _stored_type(name: str, regions: Regions) -> torch.dtype:
    return torch.float16 if name == "features" else getattr(regions, name).dtype


def _open_arrays(folder: Path, regions: Regions, photos: int, views: int, resumed: bool) -> dict[str, np.memmap]:
    arrays = {}
    for name in FIELDS:
        dtype = np.dtype(str(_stored_type(name, regions)).removeprefix("torch."))
        shape = (photos, views, *getattr(regions, name).shape[1:])
        arrays[name] = _open_array(folder, name, dtype, shape, resumed)
    return arrays


def _open_array(folder: Path, name: str, dtype: np.dtype, shape: tuple[int, ...], resumed: bool) -> np.memmap:
    path = folder / f"{name}.npy"
    mode: Literal["r+", "w+"] = "r+" if resumed and path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)
