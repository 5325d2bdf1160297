"""Checks of callbacks before a training begins: every hook is one that will be called, as it will be called."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from ..checks import check_count, check_number
from ._base import HOOKS, Callback

__all__ = ["check_callbacks", "interval_of", "overrides"]

_TRAINED_WITH = ("net", "network", "model")  # the first argument of hooks in fastmlp 0.1.0


def check_callbacks(callbacks: object) -> list[Callback]:
    """Return the callbacks in a list; TypeError for what is none, and for hooks that can't be called."""
    if isinstance(callbacks, (str, Callback)) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks: expected a list of callbacks, got {callbacks!r}")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: expected instances of fm.callbacks.Callback, got {callback!r}")
        for name in sorted({*dir(type(callback)), *vars(callback)}):
            if name.startswith("on_"):
                _check_hook(callback, name)
        interval_of(callback)
    return checked


def overrides(callback: Callback, hook: str) -> bool:
    """Return whether a callback has a hook of its own."""
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)


def interval_of(callback: Callback) -> tuple[int | None, float | None]:
    """Return what a callback waits for between two calls around batches: steps, and seconds."""
    name = type(callback).__name__
    n, seconds = callback.every_n_steps, callback.every_seconds
    if n is not None:
        n = check_count(f"every_n_steps of {name}", n)
    if seconds is not None:
        seconds = check_number(f"every_seconds of {name}", seconds, 0.0)
    return n, seconds


def _check_hook(callback: Callback, name: str) -> None:
    method = getattr(callback, name)
    owner = type(callback).__name__
    if name not in HOOKS:
        if callable(method):
            raise TypeError(f"{owner}.{name} is no hook, and would never be called{_remedy(name)}")
        return
    if not callable(method):
        raise TypeError(f"{owner}.{name}: expected a method, got {method!r}")
    if not overrides(callback, name):
        return
    arguments = HOOKS[name]
    expected = ", ".join([*arguments[:-1], "logs=None"])
    try:
        signature = inspect.signature(method)
    except ValueError:  # a function that was compiled without its signature
        return
    try:
        signature.bind(*arguments)
        first = next(iter(signature.parameters), "")
        accepted = first not in _TRAINED_WITH
    except TypeError:
        accepted = False
    if not accepted:
        raise TypeError(
            f"{owner}.{name}{signature} takes other arguments than the hook is called with: write "
            f"{name}(self, {expected}); the network is self.model"
        )


def _remedy(name: str) -> str:
    from difflib import get_close_matches

    if name in ("on_batch_begin", "on_batch_end"):
        close = [name.replace("batch", "train_batch")]
    else:
        close = get_close_matches(name, HOOKS, n=1)
    meant = f": did you mean {close[0]}({', '.join([*HOOKS[close[0]][:-1], 'logs=None'])})?" if close else ";"
    return f"{meant} hooks are {', '.join(HOOKS)}; a method of your own needs a name that does not begin with 'on_'"
