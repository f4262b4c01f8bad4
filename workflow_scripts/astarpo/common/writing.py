"""Writing without leaving half a file or folder: failures become messages that say what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astarpo.common.errors import InputError

AGAIN = "then run the same command again; finished results are kept"
WAYS_OUT = {
    errno.ENOSPC: f"free some space on this disk, {AGAIN}",
    errno.EDQUOT: f"free some of your quota, or ask for a larger one, {AGAIN}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {AGAIN}",
    errno.EROFS: f"make the disk writable, or work in another folder (snakemake --directory), {AGAIN}",
    errno.EACCES: f"change its owner or its permissions, {AGAIN}",
    errno.EPERM: f"change its owner or its permissions, {AGAIN}",
    errno.EEXIST: f"a file is where a folder should be, or the reverse; move it away, {AGAIN}",
    errno.ENOTDIR: f"a file is where a folder should be; move it away, {AGAIN}",
    errno.EISDIR: f"a folder is where a file should be; move it away, {AGAIN}",
    **dict.fromkeys(
        (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN),
        f"check the disk or its network connection, {AGAIN}",
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), f"raise the limit on open files (ulimit -n), {AGAIN}"),
}
# Packages in Rust raise their own exceptions; torch's writer for paths tells only that not all bytes were written.
RUST_ERROR = re.compile(r"\(os error (\d+)\)")
TORCH_ERROR = re.compile(r"\binline_container\.cc:\d+\] \. (open file failed with strerror: (?P<reason>.+)|.*)")
UNITS = ("bytes", "kB", "MB", "GB", "TB")


@contextmanager
def writing(path: str | Path, partial: str | Path | None = None) -> Iterator[None]:
    """Name the file in errors of the system, and delete what was half written.

    Args:
        path: what is written, for the message.
        partial: the file or folder under whose name it is written, deleted if anything fails.

    Raises:
        InputError: the disk is full or the place is not writable; other exceptions pass.
    """
    try:
        yield
    except Exception as error:
        reason = None if isinstance(error, InputError) else failure(error)
        if partial is not None:
            with suppress(OSError):
                _remove(Path(partial))
        if reason is None:
            raise
        raise InputError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name; when it is complete, it replaces the old one.

    Args:
        path: the file; missing folders are created.

    Yields:
        The temporary name.

    Raises:
        InputError: see `writing`.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    with writing(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder under a temporary name; when it is complete, it replaces the old one.

    Its files get the permissions that the umask gives to new files, whatever the packages that write them choose.

    Args:
        path: the folder.

    Yields:
        The temporary folder to write to.

    Raises:
        InputError: see `writing`.
    """
    partial = Path(f"{path}.partial")
    with writing(path, partial):
        _remove(partial)
        partial.mkdir(parents=True)
        yield partial
        _apply_umask(partial)
        _remove(Path(path))
        os.replace(partial, path)


def failure(error: BaseException) -> str | None:
    """Describe an error of the operating system.

    Args:
        error: an exception; those that it was raised from count as well.

    Returns:
        What is wrong and what to do about it; None if the exception has another cause.
    """
    number = _number(error)
    return None if number is None else f"{os.strerror(number)}; {WAYS_OUT[number]}"


def check_space(path: str | Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        path: where it will be written; need not exist yet.
        needed: bytes.
        what: for the message.

    Raises:
        InputError: less is free. Quotas are not considered.
    """
    free = free_space(path)
    if free < needed:
        raise InputError(
            f"{path}: {what} takes {size_text(needed)}, but only {size_text(free)} are free on this disk; "
            f"{WAYS_OUT[errno.ENOSPC]}"
        )


def free_space(path: str | Path) -> int:
    """Free bytes on the disk of a file or folder that need not exist yet."""
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def size_text(size: int) -> str:
    """Show a number of bytes in decimal units, for example ``18.5 GB``."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {UNITS[unit]}"


def _number(error: BaseException | None) -> int | None:
    """The first error number with a way out among an exception and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = _own_number(error)
        if number in WAYS_OUT:
            return number
        error = error.__cause__ or error.__context__
    return None


def _own_number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    of_rust, of_torch = RUST_ERROR.search(str(error)), TORCH_ERROR.search(str(error))
    if of_rust:
        return int(of_rust[1])
    if of_torch and not error.__cause__ and not isinstance(error.__context__, OSError):
        reason = (of_torch["reason"] or os.strerror(errno.ENOSPC)).strip()
        return next((number for number in WAYS_OUT if os.strerror(number) == reason), None)
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _apply_umask(folder: Path) -> None:
    """Give all files the permissions of new files: safetensors' writer makes them readable for their owner alone."""
    umask = os.umask(0o077)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)
