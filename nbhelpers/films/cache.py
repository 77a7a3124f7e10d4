"""Films decoded once: a set as one uint8 array on disk, which every arm, seed and notebook then maps into memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import cpu_count
from numpy.typing import NDArray

from nbhelpers.cropping.methods import crop_box
from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.files import Gray, check_film, resize_gray
from nbhelpers.images.masks import Box
from nbhelpers.runs.files import atomic_path, inside
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import outputs_root
from nbhelpers.runs.tables import read_table, write_table

VERSION = 4  # raised when decoding, cropping or resizing changes, so that older arrays are not taken
BOX = ("crop_left", "crop_top", "crop_right", "crop_bottom")


def default_cache() -> Path:
    """Folder of the decoded films, shared by all runs: `.cache/films/` beside them. It may be deleted at any time."""
    return outputs_root() / ".cache" / "films"


def film_array(
    film_set: FilmSet, size: int, cache: Path | None = None, workers: int = 0, crop: str = "none"
) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """The films of a set as one array, decoded the first time and mapped from disk from then on.

    Films that cannot be read join the set's `excluded`, with the reason.

    Parameters
    ----------
    size : int
        Pixels along a side; the aspect ratio is not kept.
    cache : pathlib.Path, optional
        Folder for the arrays; `default_cache()` when None.
    workers : int
        Threads that decode; 0 is one per CPU core.
    crop : str
        A method of `cropping`, applied before resizing.

    Returns
    -------
    array : uint8 memory map, shape (n, size, size), read-only
    kept : DataFrame
        The films in the array's order, with `crop_left, crop_top, crop_right, crop_bottom`: the part of the film, in
        its own pixels, that the array shows.

    Raises
    ------
    UserError
        When no film of the set can be read, or an unknown crop is named.
    """
    arrays, kept = film_arrays(film_set, (size,), cache, workers, crop)
    return arrays[size], kept


def film_arrays(
    film_set: FilmSet, sizes: Sequence[int], cache: Path | None = None, workers: int = 0, crop: str = "none"
) -> tuple[dict[int, NDArray[np.uint8]], pd.DataFrame]:
    """As `film_array` at several sizes, with each film decoded once for all of them that the cache lacks."""
    cache = default_cache() if cache is None else cache
    sizes = tuple(dict.fromkeys(sizes))
    key = cache_key(film_set, crop)
    arrays = {size: cache / f"{film_set.name}-{key}-{size}.npy" for size in sizes}
    index = cache / f"{film_set.name}-{key}.csv"
    while (lacking := [size for size in sizes if not arrays[size].is_file()]) or not index.is_file():
        _decode_all(film_set, {size: arrays[size] for size in lacking}, index, workers, crop)
    listed = read_table(index).set_index("image_id")
    status = listed["status"]
    film_set.exclude({str(name): str(why) for name, why in status[status != "ok"].items()})
    films = film_set.films
    kept = films[films["image_id"].isin(status.index[status == "ok"])].reset_index(drop=True)
    kept = kept.join(listed[list(BOX)], on="image_id")
    if kept.empty:
        reason = status.iloc[0] if len(status) else "all were excluded before"
        raise UserError(f"no film of {film_set.name!r} can be read: {reason}", str(film_set.root), "check the files")
    # A film that could not be read has no row: the first rows are those of the films that could, in order.
    mapped = {size: np.load(path, mmap_mode="r", allow_pickle=False) for size, path in arrays.items()}
    return {size: array[: len(kept)] for size, array in mapped.items()}, kept


def cache_key(film_set: FilmSet, crop: str) -> str:
    """Digest of what decides the pixels: the list of films, each file's size and time of change, reader and crop."""
    reader = getattr(film_set.read, "func", film_set.read)
    digest = hashlib.sha256(
        json.dumps([VERSION, crop, f"{reader.__module__}.{reader.__qualname__}", str(film_set.root.resolve())]).encode()
    )
    kept = film_set.films[~film_set.films["image_id"].isin(_left_out_before(film_set))]
    for name, path in zip(kept["image_id"], kept["path"], strict=True):
        try:
            facts = inside(film_set.root, path).stat()
            digest.update(f"{name}\0{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
        except (OSError, UserError):
            digest.update(f"{name}\0{path}\0missing\n".encode())
    return digest.hexdigest()[:16]


def _left_out_before(film_set: FilmSet) -> set[str]:
    """Films that the set itself leaves out; what a reader found broken stays on the list, so that the key is stable."""
    out = film_set.excluded
    return set(out.loc[~out["reason"].astype(str).str.startswith("unreadable"), "image_id"])


def _decode_all(film_set: FilmSet, arrays: dict[int, Path], index: Path, workers: int, crop: str) -> None:
    """Decode every film once, write the arrays in order, then the index with each film's fate and crop box."""
    skipped = _left_out_before(film_set)
    films = film_set.films[~film_set.films["image_id"].isin(skipped)]

    def decode(path: str) -> tuple[Box, dict[int, Gray]] | str:
        try:
            image = check_film(film_set.read(inside(film_set.root, path)))
            box = crop_box(image, crop)
            image = image[box.top : box.bottom, box.left : box.right]
            return box, {size: resize_gray(image, size) for size in arrays}
        except UserError as error:
            return f"unreadable: {error.what}"
        except MemoryError:
            return "unreadable: too large for this machine's memory"

    fates: list[tuple[str, Box | None]] = []
    with ExitStack() as stack:
        files = {
            size: stack.enter_context(open(stack.enter_context(atomic_path(path)), "wb"))
            for size, path in arrays.items()
        }
        for size, file in files.items():
            # Room for all films: what is left at the end takes no space on the disk. Writing, unlike a writable memory
            # map, makes an error of a full disk; a map would end the process.
            shape = (len(films), size, size)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            stack.callback(file.truncate, file.tell() + len(films) * size * size)
        results = _in_order(decode, list(films["path"]), workers)
        for found in progress(results, f"decoding {film_set.name}", len(films), "film"):
            fates.append((found, None) if isinstance(found, str) else ("ok", found[0]))
            if not isinstance(found, str):
                for size, file in files.items():
                    file.write(np.ascontiguousarray(found[1][size]).data)
        status = [fate for fate, _ in fates]
        if index.is_file() and read_table(index)["status"].tolist() != status:
            # Arrays of other sizes, made when other films could be read, no longer fit the index.
            index.unlink()
            for stale in set(index.parent.glob(f"{index.stem}-*.npy")) - set(arrays.values()):
                stale.unlink()
    boxes = pd.DataFrame([box or (None,) * 4 for _, box in fates], columns=list(BOX), index=films.index)
    write_table(films[["image_id", "path"]].assign(status=status).join(boxes), index)


def _in_order(
    work: Callable[[str], tuple[Box, dict[int, Gray]] | str], items: list[str], workers: int
) -> Iterator[tuple[Box, dict[int, Gray]] | str]:
    """Results in the order of `items`, at most a few hundred ahead: all films of a set need not fit into memory."""
    with ThreadPoolExecutor(workers or cpu_count()) as pool:
        for start in range(0, len(items), 256):
            yield from pool.map(work, items[start : start + 256])
