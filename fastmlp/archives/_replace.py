"""Replacing a file: the old one stays whole until the new one is, and nothing else is left, whatever happens."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can't be deleted
    fcntl = None  # type: ignore[assignment]

__all__ = ["given_path", "replacing"]

LEFT_OVER = re.compile(r"\.fastmlp-(?P<host>[0-9a-f]{8})-[0-9a-f]{16}\.part")
OLD = 24 * 3600.0  # seconds before a file from another machine may be deleted, whose locks may not be visible here
UNLOCKED = 60.0  # seconds for which a file without a byte may be one that is locked in a moment


def given_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return a path as a string; TypeError for anything else, descriptors included."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path: expected a str, bytes or os.PathLike, got {path!r:.100}") from None


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another when the context is left without an error.

    It lies in the same folder under a name of its own, is locked as long as it is written, and is deleted if anything
    fails; what a process that died has left there is deleted, too. It may be read by whoever may read the file that it
    replaces, or a new one.

    Raises
    ------
    OSError
        If it can't be written; the error names `path`.
    """
    if not path:
        raise FileNotFoundError(errno.ENOENT, "the path is empty", path)
    target = os.path.realpath(path)
    _check_target(target, path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastmlp-{_host()}-{os.urandom(8).hex()}.part")
    try:
        _delete_left_over(folder)
        # A call of C from end to end: wherever Ctrl-C comes, either there is no descriptor, or `file` has it.
        with open(temporary, "xb", opener=partial(os.open, mode=_mode(target, 0o600))) as file:
            _lock(file)
            yield file
            file.flush()
            _set_mode(temporary, target)
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except OSError as error:
        raise _named(error, path, folder) from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _check_target(target: str, path: str) -> None:
    """Refuse what is there and is no file: a folder, a pipe, a device, a link to itself."""
    try:
        mode = os.lstat(target).st_mode  # past all links, unless they go round in circles
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(f"{path}: not a regular file, so no file can be written in its place")


def _named(error: OSError, path: str, folder: str) -> OSError:
    """Return an error of the same kind that names what the user gave."""
    if error.errno is None:
        return error
    reason = error.strerror or os.strerror(error.errno)
    if error.errno == errno.ENOENT and not os.path.isdir(folder):
        home = "; '~' is not expanded here: use os.path.expanduser" if path.startswith("~") else ""
        reason = f"There is no folder {folder!r}{home}"
    return OSError(error.errno, reason, path)


def _mode(target: str, most: int) -> int:
    """Return the permissions that a file begins with: few if it replaces one, else those of any new file."""
    return most if os.path.exists(target) else 0o666


def _set_mode(temporary: str, target: str) -> None:
    """Give a file the permissions of the one that it is going to replace."""
    with suppress(FileNotFoundError):
        os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode) & 0o777)


def _sync_folder(folder: str) -> None:
    """Make the new name permanent on the disk, where the folder can be opened."""
    opened: list[int] = []
    with suppress(OSError):
        try:
            opened.extend(map(os.open, [folder], [os.O_RDONLY]))  # one call of C, as above
            os.fsync(opened[0])
        finally:
            for descriptor in opened:
                os.close(descriptor)


# -- what dead processes have left -----------------------------------------------------------------------------------


def _host() -> str:
    """Return what tells one running kernel, whose locks all of its processes and containers see, from others."""
    import hashlib

    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            name = file.read()
    except OSError:
        import platform

        name = platform.node().encode()
    return hashlib.sha256(name).hexdigest()[:8]


def _lock(file: BinaryIO) -> None:
    """Show that somebody is writing; the lock ends with the process. Not every file system has locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _delete_left_over(folder: str) -> None:
    """Delete what processes that died while they wrote have left."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = LEFT_OVER.fullmatch(entry.name)
            if found is not None and _is_left_over(entry, found["host"]):
                with suppress(OSError):
                    os.unlink(entry.path)


def _is_left_over(entry: os.DirEntry[str], host: str) -> bool:
    """Return whether nobody writes a file any more.

    Whoever writes has locked it, which other machines may not see: theirs must be old, too. Without locks age alone
    decides.
    """
    if not entry.is_file(follow_symlinks=False):
        return False
    found = entry.stat(follow_symlinks=False)
    age = time.time() - found.st_mtime
    if age <= OLD and (fcntl is None or host != _host() or (age <= UNLOCKED and found.st_size == 0)):
        return False
    if fcntl is None:
        return True
    with suppress(OSError), open(entry.path, "rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
