"""What protects this machine from files of strangers: every read and write of results passes here.

Results may come from anywhere. Their names, links, sizes and contents are believed only as far as they are checked:

- a name is a name of one of the patterns below, so no name leads out of its folder;
- a file is read where it is a regular file, reached without a symbolic link, no larger than its kind may be;
- a folder is entered where it is a folder and no link to one;
- a file is written under a name that nothing has, so nothing that lies there is followed.

A refusal is an ``OSError`` whose ``strerror`` is the reason, as any other file that cannot be read.
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
"""Of a trial."""

MB = 1 << 20
DOCUMENT = 16 * MB
"""Bytes of a ``trial.json``, at most: one of ours has some thousand."""
TEXT = 4 * MB
"""Bytes of a benchmark's file."""
TABLE = 256 * MB
"""Bytes of the file of a curve, or of a probe's table."""

LONGEST_NAME = 200
"""Bytes of the name of what is set aside: a file system takes 255, and a number comes behind it."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Refused(OSError):  # noqa: N818 - the reason, as the end of a sentence
    """A file that is not read, and why."""

    def __init__(self, reason: str, path: Path | str) -> None:
        super().__init__(errno.EPERM, reason, str(path))
        self.reason = reason


def kind_of(mode: int) -> str:
    """What a file is, for a sentence."""
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
        Refused: it is something else, or larger.
        OSError: it cannot be opened.
    """
    return os.fdopen(_opened(path, limit)[0], "rb")


def _opened(path: Path | str, limit: int) -> tuple[int, int]:
    """The file's descriptor and size."""
    try:
        number = os.open(path, _FLAGS | _NOFOLLOW)
    except OSError as error:
        # what the system says of a link, of a socket and of a folder on Windows
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
    """The content of a regular file of at most ``limit`` bytes, also where it grows while it is read.

    Raises:
        OSError: it cannot be read, or is not read for a reason of ``open_regular``.
    """
    number, size = _opened(path, limit)
    try:
        # room for what there is, and not for what there may be
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
    """The same as UTF-8; UnicodeDecodeError where it is none."""
    return read_bytes(path, limit).decode("utf-8")


def is_regular(path: Path | str) -> bool:
    """Whether there is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: Path | str) -> bool:
    """Whether there is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def kind_at(path: Path | str) -> str:
    """What is there instead of a folder or a regular file, as the end of a sentence."""
    try:
        return f"is {kind_of(os.lstat(path).st_mode)}"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"


def check_inside(folder: Path, name: str) -> os.stat_result:
    """A file of a trial is a regular one, in folders that are no links, no larger than such a file may be.

    Raises:
        Refused: it is not.
        FileNotFoundError: it is not there.
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
    """A file of a packed trial, unpacked; no more than such a file may have, whatever the archive says of it.

    Raises:
        Refused: it has more.
        ValueError: it is not in the archive, or broken.
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
    """A folder to write into, made where it is not there.

    Raises:
        Refused: something else has its name.
        OSError: it cannot be made.
    """
    # where something else has the name, what it is says more than that it exists
    with suppress(FileExistsError):
        path.mkdir(parents=True, exist_ok=True)
    if not is_folder(path):
        raise Refused(f"{kind_at(path)}, and nothing is written through one", path)
    return path


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, however deep; links in it go, and what they lead to stays.

    Raises:
        OSError: something cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError) as error:
        # Python's way takes a call, or an open file, for each level of folders
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
    """Remove a folder that nobody needs; what cannot be removed is left."""
    try:
        remove_tree(path)
    except OSError:
        # the rest of it
        with suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)


def unused(folder: Path, name: str) -> Path:
    """A path in a folder that nothing has: of that name, which is numbered, and cut to what file systems take."""
    name = os.fsdecode(os.fsencode(name)[:LONGEST_NAME])
    numbered = itertools.chain([name], (f"{name} ({count})" for count in itertools.count(2)))
    return next(folder / one for one in numbered if not os.path.lexists(folder / one))


def free(path: Path) -> Path:
    """A name to write a file under: what had it is removed, and a link is not followed."""
    if is_folder(path):
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def write_text(text: str, path: Path, partial: Path) -> None:
    """Put a text in place of what ``path`` has, whole or not at all, by way of ``partial`` on the same disk."""
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
    """What is in a folder and in its folders but folders, by path, sorted, and whether it is a regular file.

    Links are not followed.

    Raises:
        Refused: there are more than ``limit``.
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
