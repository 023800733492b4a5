"""Data sets as files: found on this machine or downloaded into the cache, and checked by their digest."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from thalweg.data.digest import sha256
from thalweg.data.download import ResumingDownloader, TransferFailed, host
from thalweg.errors import UserError
from thalweg.own import cache_folder

MOST_BYTES = 8 << 30
"""The most bytes of a file whose size is not declared."""
LARGER = 100
"""A file on this machine may be larger than the mirrors' by this factor, since it may not be packed."""
SYSTEM_FOLDERS = (Path("/usr/share/datasets"),)
"""Where packages of the operating system put data sets (Debian: dataset-fashion-mnist)."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    ``urls`` are mirrors, which are tried in order. ``sha256`` is the digest of the mirrors' file. ``also`` has digests
    of the content packed otherwise, which are accepted for a file on this machine. ``size`` is the number of bytes that
    the mirrors serve, or an upper bound; a longer download is cut off.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    also: tuple[str, ...] = ()
    size: int = MOST_BYTES

    def is_at(self, path: Path) -> bool:
        """Whether there is a file at ``path`` with an accepted digest."""
        # false, not an error, where the folder may not be looked into
        return os.path.isfile(path) and not self.is_too_large(path) and sha256(path) in (self.sha256, *self.also)  # noqa: PTH113

    def is_too_large(self, path: Path) -> bool:
        """Whether a file is too large to be the data set in any packing. Its digest could take hours."""
        return path.stat().st_size > LARGER * self.size


def locate(folder_name: str, file: DataFile) -> Path | None:
    """The path of the file on this machine; None where the file is not here.

    The search goes through ``$THALWEG_DATA/<folder_name>/``, the system's folders, and the cache, in this order. In the
    last two a file with another digest is passed over.

    Raises:
        UserError: the file in ``$THALWEG_DATA`` has no accepted digest.
    """
    given = os.environ.get("THALWEG_DATA")
    if given:
        own = Path(given).expanduser()
        if not (os.path.isdir(own) and os.access(own, os.R_OK | os.X_OK)):  # noqa: PTH112 - false where it is not allowed
            raise UserError(f"THALWEG_DATA = {given!r} is no folder that can be read")
        path = own / folder_name / file.name
        if os.path.lexists(path) and not os.path.isfile(path):  # noqa: PTH113
            raise UserError(f"{path}: this is not a file: put the file of {folder_name} in its place, or remove it")
        if os.path.isfile(path):  # noqa: PTH113
            if file.is_too_large(path):
                told = f"this is not the file of {folder_name}: it has {path.stat().st_size:,} bytes"
                raise UserError(f"{path}: {told}; put the right one in its place, or remove it")
            if not file.is_at(path):
                raise UserError(
                    f"{path}: this is not the file of {folder_name}, whose SHA-256 starts with {file.sha256[:12]}: that"
                    f" of this one starts with {sha256(path)[:12]}; put the right one in its place, or remove it"
                )
            return path
    for folder in (*(system / folder_name for system in SYSTEM_FOLDERS), cache_folder() / folder_name):
        if file.is_at(folder / file.name):
            return folder / file.name
    return None


def present(folder_name: str, files: Iterable[DataFile]) -> dict[str, Path]:
    """The path of each file, by its name, without use of the network.

    Raises:
        UserError: a file is not on this machine.
    """
    paths = {}
    for file in files:
        path = locate(folder_name, file)
        if path is None:
            raise UserError(
                f"{folder_name}: {file.name} is not on this machine; with a network a run downloads it as it starts,"
                f" without one {_put_it_there(folder_name)}"
            )
        paths[file.name] = path
    return paths


def fetch(folder_name: str, files: Iterable[DataFile]) -> dict[str, Path]:
    """The path of each file, by its name. Files that are not on this machine are downloaded into the cache.

    Raises:
        UserError: a file cannot be had; the message says why, and what to do.
    """
    return {file.name: locate(folder_name, file) or _download(folder_name, file) for file in files}


def _download(folder_name: str, file: DataFile) -> Path:
    folder = cache_folder() / folder_name
    part = folder / f"{file.name}.part"
    reasons = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            path = locate(folder_name, file)  # another process may have fetched it since
            if path is not None:
                return path
            for url in file.urls:
                downloader = ResumingDownloader(part, f"{folder_name}/{file.name}", file.size)
                try:
                    return _retrieve(url, folder, file, downloader)
                except TransferFailed as failed:
                    reasons.append(f"{host(url)}: {failed}")
            part.unlink(missing_ok=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        reasons.append(f"{folder}: {error.strerror or error}")
    raise UserError(
        f"{folder_name}: {file.name} could not be downloaded ({'; '.join(reasons)}); try again, or"
        f" {_put_it_there(folder_name)}"
    )


def _put_it_there(folder_name: str) -> str:
    return f"download it elsewhere, put it into $THALWEG_DATA/{folder_name}/ and set THALWEG_DATA to the folder above"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from downloading into a folder; remove what a killed download left there."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.stderr.write(f"{folder.name}: waiting for another process that is downloading it\n")
        lock.acquire()
    try:
        for stray in folder.glob("tmp*"):
            stray.unlink()
        yield
    finally:
        lock.release()


def _retrieve(url: str, folder: Path, file: DataFile, downloader: ResumingDownloader) -> Path:
    """Download from one url. If bytes of an earlier process turn out to be wrong, download once more from the start.

    Raises:
        TransferFailed: the reason.
        OSError: the file cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    while True:
        try:
            return Path(pooch.retrieve(url, f"sha256:{file.sha256}", file.name, folder, downloader=downloader))
        except ValueError as error:  # pooch's word for another digest
            if not downloader.continued:
                raise TransferFailed(f"it sent another file, not that of SHA-256 {file.sha256[:12]}...") from error
