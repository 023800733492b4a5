"""What protects this machine from files of strangers: every read and write of results passes here.

Results may come from anywhere, so their names, links, sizes and contents are checked:

- a name fits one of the patterns below, so no name leads out of its folder;
- a file is read only if it is regular, reached without a symbolic link, and no larger than its kind may be;
- a folder is entered only if it is a folder, and not a link to one;
- a file is written under a name that nothing has, so that no link is followed.

A refusal is an ``OSError`` whose ``strerror`` is the reason, like the error of any file that cannot be read.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from thalweg.limits import WEIGHT_BYTES

PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Names of files and folders in results."""
HASH = re.compile(r"[0-9a-f]{12}")
"""The hash of a trial."""

MB = 1 << 20
DOCUMENT = 16 * MB
"""Bytes of a ``trial.json``, at most; ours have some thousand."""
TEXT = 4 * MB
"""Bytes of a benchmark's file."""
TABLE = 256 * MB
"""Bytes of the file of a curve, or of a probe's table."""

LONGEST_NAME = 200
"""Bytes of a name in ``set-aside``: file systems take 255, and a number may come behind the name."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Refused(OSError):  # noqa: N818 - the reason, as the end of a sentence
    """A file that is not read, with the reason."""

    def __init__(self, reason: str, path: Path | str) -> None:
        super().__init__(errno.EPERM, reason, str(path))
        self.reason = reason


def kind_of(mode: int) -> str:
    """The kind of a file, for a sentence."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFREG: "a regular file",
    }
    kinds |= {stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def open_regular(path: Path | str, limit: int) -> BufferedReader:
    """A regular file of at most ``limit`` bytes, open for reading. The last part of ``path`` may be no link.

    Raises:
        Refused: the file is not regular, or larger.
        OSError: the file cannot be opened.
    """
    return os.fdopen(_opened(path, limit)[0], "rb")


def _opened(path: Path | str, limit: int) -> tuple[int, int]:
    """The file's descriptor and size."""
    try:
        number = os.open(path, _FLAGS | _NOFOLLOW)
    except OSError as error:
        # the system refuses a link, a socket, and a folder on Windows in other words
        if os.path.lexists(path) and not is_regular(path):
            raise Refused(kind_at(path), path) from error
        raise
    except ValueError as error:  # a NUL in the name
        raise Refused("is no name of a file", repr(path)) from error
    try:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"is {kind_of(about.st_mode)}", path)
        if about.st_size > limit:
            raise Refused(f"has {about.st_size:,} bytes, more than the {limit:,} that are read", path)
    except BaseException:
        os.close(number)
        raise
    return number, about.st_size


def read_bytes(path: Path | str, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; the file may grow meanwhile.

    Raises:
        OSError: it cannot be read, or is not read for a reason of ``open_regular``.
    """
    number, size = _opened(path, limit)
    try:
        # memory for the file as it is, and not for the limit
        content = os.read(number, size + 1)
        if len(content) != size or not size:
            while len(content) <= limit and (more := os.read(number, MB)):
                content += more
    finally:
        os.close(number)
    if len(content) > limit:
        raise Refused(f"has more than the {limit:,} bytes that are read", path)
    return content


def read_text(path: Path | str, limit: int) -> str:
    """The content as UTF-8 text; UnicodeDecodeError where it is not text."""
    return read_bytes(path, limit).decode("utf-8")


def is_regular(path: Path | str) -> bool:
    """Whether a path leads to a regular file, and is no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: Path | str) -> bool:
    """Whether a path leads to a folder, and is no link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def leads_to_file(path: Path) -> bool:
    """Whether a path leads to a regular file, perhaps through links; not where that may not be looked at."""
    try:
        return path.is_file()
    except OSError:
        return False


def closed(path: Path | str) -> str:
    """Why a folder cannot be listed or entered, as the end of a sentence; empty where it can."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                os.lstat(entry.path)
                break
    except (FileNotFoundError, NotADirectoryError):
        return ""  # nothing is there, or an entry has gone meanwhile
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def kind_at(path: Path | str) -> str:
    """What a path leads to instead of a folder or a regular file, as the end of a sentence."""
    try:
        return f"is {kind_of(os.lstat(path).st_mode)}"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"


def check_inside(folder: Path, name: str) -> os.stat_result:
    """Refuse a trial's file that is not regular, lies behind a link, or is larger than its kind may be.

    Raises:
        Refused: the file is refused, with the reason.
        FileNotFoundError: the file is missing.
    """
    parent = name.rpartition("/")[0]
    while parent:
        mode = os.lstat(f"{folder}{os.sep}{parent}").st_mode
        if not stat.S_ISDIR(mode):
            raise Refused(f"is in {parent!r}, which is {kind_of(mode)}", folder / name)
        parent = parent.rpartition("/")[0]
    about = os.lstat(f"{folder}{os.sep}{name}")
    if not stat.S_ISREG(about.st_mode):
        raise Refused(f"is {kind_of(about.st_mode)}", folder / name)
    check_size(about.st_size, name, folder / name)
    return about


def check_size(size: int, name: str, path: Path) -> None:
    """Refused where a trial's file of that name, at ``path``, is larger than its kind may be."""
    if size > limit_of(name):
        way = f": {WEIGHT_BYTES.variable} raises the limit" if name.startswith("weights/") else ""
        raise Refused(f"has {size:,} bytes, more than the {limit_of(name):,} that are read{way}", path)


def limit_of(name: str) -> int:
    """Bytes of a file of a trial, at most."""
    return WEIGHT_BYTES.value if name.startswith("weights/") else DOCUMENT if name == "trial.json" else TABLE


def unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of a trial from an archive, unpacked; no more bytes than its kind may have, whatever the archive says.

    Raises:
        Refused: the file has more bytes.
        ValueError: the archive has no such file, or the file is broken.
    """
    try:
        with archive.open(name) as file:
            content = file.read(limit_of(name) + 1)
    except (KeyError, RuntimeError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} cannot be unpacked: {error}") from error
    if len(content) > limit_of(name):
        raise Refused(f"unpacks to more than the {limit_of(name):,} bytes that are read", name)
    return content


def room(path: Path) -> Path:
    """A folder to write into, made where it is missing.

    Raises:
        Refused: something else has the name.
        OSError: the folder cannot be made.
    """
    # the refusal below tells what has the name, which says more than that something exists
    with suppress(FileExistsError):
        path.mkdir(parents=True, exist_ok=True)
    if not is_folder(path):
        raise Refused(f"{kind_at(path)}, and nothing is written through one", path)
    return path


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it, however deep; links are removed, and their targets stay.

    Raises:
        OSError: something cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError) as error:
        # shutil needs a call, or an open file, for each level of folders
        if os.rename not in os.supports_dir_fd or getattr(error, "errno", errno.EMFILE) != errno.EMFILE:
            raise
        _flatten(path)
        shutil.rmtree(path)


def _flatten(path: Path) -> None:
    """Move every folder inside of a folder into it, so that none is deeper than one level."""
    top = os.open(path, os.O_RDONLY | _FOLDER | _NOFOLLOW)
    try:
        with os.scandir(top) as entries:
            left = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        while left:
            place = os.open(left.pop(), os.O_RDONLY | _FOLDER | _NOFOLLOW, dir_fd=top)
            try:
                with os.scandir(place) as entries:
                    inside = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
                for name in inside:
                    # a name that nothing has
                    left.append(secrets.token_hex(16))
                    os.rename(name, left[-1], src_dir_fd=place, dst_dir_fd=top)
            finally:
                os.close(place)
    finally:
        os.close(top)


def remove_left(path: Path) -> None:
    """Remove a folder that nothing needs, as far as it can be removed."""
    try:
        remove_tree(path)
    except OSError:
        # the rest of it
        with suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)


def unused(folder: Path, name: str) -> Path:
    """A free path in a folder: the name, cut to the length that file systems take, with a number where it is taken."""
    name = os.fsdecode(os.fsencode(name)[:LONGEST_NAME])
    numbered = itertools.chain([name], (f"{name} ({count})" for count in itertools.count(2)))
    return next(folder / one for one in numbered if not os.path.lexists(folder / one))


def free(path: Path) -> Path:
    """Free a path to write a file under: whatever has the path is removed, and a link is not followed."""
    if is_folder(path):
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def write_text(text: str, path: Path, partial: Path) -> None:
    """Replace a file by a text, whole or not at all; ``partial`` is a path on the same disk."""
    free(partial)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666), "wb") as file:
            file.write(text.encode("utf-8"))
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def files_in(folder: Path, limit: int = 10_000) -> Iterator[tuple[str, bool]]:
    """Every file below a folder by its name, sorted, and whether the file is regular.

    Links are not followed.

    Raises:
        Refused: the folder holds more than ``limit`` files.
        OSError: a folder cannot be read.
    """
    found: list[tuple[str, bool]] = []
    left = [""]
    while left:
        place = left.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{place}{entry.name}/")
                else:
                    found.append((f"{place}{entry.name}", entry.is_file(follow_symlinks=False)))
                if len(found) + len(left) > limit:
                    raise Refused(f"holds more than {limit:,} files", folder)
    yield from sorted(found)
