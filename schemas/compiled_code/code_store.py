"""Caches machine code on disk: one file per function and signature, named by a hash of its inputs.

numba's own cache has an index per function, which concurrent writers can corrupt, so that it points to code
of another signature. Here nothing is shared: a file's name determines its content, and files appear
atomically.
"""

import contextlib
import hashlib
import os
import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from bitmill.schemas.compiled_code.code_identity import digest

_Code: Any = CompileResult
_CHECK_BYTES = 32
_OTHERS_MAY_WRITE = 0o022


class CodeStore:
    """The cache of one function, used instead of numba's.

    Files are in bitmill/ of NUMBA_CACHE_DIR if it is set, else in ``__pycache__`` next to the source, or, if
    that is not writable, in the user's cache. If none is writable, every process compiles again.

    Loading machine code means running it. So a file is loaded only if the user, root or the owner of the
    source wrote it and nobody else can write it; damaged or renamed files are compiled again.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function = function
        self._options = options
        self._source = Path(function.__code__.co_filename)

    @property
    def cache_path(self) -> str:
        """The folder that is searched first."""
        return str(self._folders()[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for arguments of these types, or None."""
        # All that machine code may call; ``refresh``, as before compiling, would import SciPy and more.
        rtsys.initialize(target_context)
        key = digest(self._function, self._options, sig, target_context.codegen())
        for folder in self._folders():
            with contextlib.suppress(OSError):
                content = self._read(folder / self._name(key), key)
                if content is not None:
                    return _Code._rebuild(target_context, *pickle.loads(content))  # noqa: S301
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store compiled code, if a folder is writable."""
        if data.library.has_dynamic_globals:  # contains addresses of this process
            return
        key = digest(self._function, self._options, sig, data.codegen)
        content = dumps(data._reduce())
        for folder in self._folders():
            with contextlib.suppress(OSError):
                _publish(folder / self._name(key), _check(key, content) + content)
                return

    def _name(self, key: bytes) -> str:
        return f"{self._source.stem}.{self._function.__name__}-{key.hex()[:32]}.code"

    def _folders(self) -> list[Path]:
        given: str = getattr(config, "CACHE_DIR", "")
        if given:
            return [Path(given) / "bitmill"]
        own = Path(AppDirs("bitmill", appauthor=False).user_cache_dir) / "compiled"
        # Without a home directory it would be a folder named "~" in the current one.
        return [self._source.parent / "__pycache__", *([own] if own.is_absolute() else [])]

    def _read(self, path: Path, key: bytes) -> bytes | None:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            owners = {0, os.geteuid(), *self._owner_of_source()}
            if status.st_uid not in owners or status.st_mode & _OTHERS_MAY_WRITE:
                return None
            whole = file.read()
        check, content = whole[:_CHECK_BYTES], whole[_CHECK_BYTES:]
        return content if check == _check(key, content) else None

    def _owner_of_source(self) -> Iterator[int]:
        with contextlib.suppress(OSError):
            yield self._source.stat().st_uid


def _check(key: bytes, content: bytes) -> bytes:
    """Return a checksum of key and content, so that content under another name counts as damaged."""
    return hashlib.sha256(key + content).digest()


def _publish(path: Path, whole: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with open(staged, "xb", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(whole)
        staged.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
