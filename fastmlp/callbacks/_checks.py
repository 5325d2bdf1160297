"""Checks of callbacks before a training begins: every hook is one that will be called, as it will be called."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from ..checks import check_count, check_number
from ._base import HOOKS, Callback

__all__ = ["check_callbacks", "interval_of", "own_hooks"]

_BASE = {hook: getattr(Callback, hook) for hook in HOOKS}
_TRAINED_WITH = ("net", "network", "model")  # the first argument of hooks in fastmlp 0.1.0


def check_callbacks(callbacks: object) -> list[Callback]:
    """Return the callbacks in a list; TypeError for what is none, and for hooks that can't be called."""
    if isinstance(callbacks, (str, Callback)) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks: expected a list of callbacks, got {callbacks!r}")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: expected instances of fm.callbacks.Callback, got {callback!r}")
        for owner in (callback, *type(callback).__mro__):
            for name in () if owner in (Callback, object) else vars(owner):
                if name.startswith("on_") and name not in HOOKS:
                    _check_name(callback, name)
        for hook in own_hooks(callback):
            _check_arguments(callback, hook)
        interval_of(callback)
    return checked


def own_hooks(callback: Callback) -> list[str]:
    """Return the hooks that a callback has itself."""
    of_class, of_instance = type(callback), vars(callback)
    return [hook for hook, base in _BASE.items() if hook in of_instance or getattr(of_class, hook) is not base]


def interval_of(callback: Callback) -> tuple[int | None, float | None]:
    """Return what a callback waits for between two calls around batches: steps, and seconds."""
    name = type(callback).__name__
    n, seconds = callback.every_n_steps, callback.every_seconds
    if n is not None:
        n = check_count(f"every_n_steps of {name}", n)
    if seconds is not None:
        seconds = check_number(f"every_seconds of {name}", seconds, 0.0)
    return n, seconds


def _check_name(callback: Callback, name: str) -> None:
    """Refuse a method that looks like a hook and is none."""
    if callable(getattr(callback, name)):
        raise TypeError(f"{type(callback).__name__}.{name} is no hook, and would never be called{_remedy(name)}")


def _remedy(name: str) -> str:
    from difflib import get_close_matches

    if name in ("on_batch_begin", "on_batch_end"):
        close = [name.replace("batch", "train_batch")]
    else:
        close = get_close_matches(name, HOOKS, n=1)
    meant = f": did you mean {_signature(close[0])}?" if close else ";"
    return f"{meant} hooks are {', '.join(HOOKS)}; a method of your own needs a name that does not begin with 'on_'"


def _signature(hook: str) -> str:
    return f"{hook}({', '.join(['self', *HOOKS[hook][:-1], 'logs=None'])})"


def _check_arguments(callback: Callback, hook: str) -> None:
    """Refuse a hook that takes other arguments than it is called with."""
    method = getattr(callback, hook)
    where = f"{type(callback).__name__}.{hook}"
    if not callable(method):
        raise TypeError(f"{where}: expected a method, got {method!r}")
    try:
        signature = inspect.signature(method)
    except ValueError:  # a function that was compiled without its signature
        return
    try:
        signature.bind(*HOOKS[hook])
        fits = next(iter(signature.parameters)) not in _TRAINED_WITH
    except TypeError:
        fits = False
    if not fits and hook in vars(callback):  # a function, that isn't bound to the callback
        raise TypeError(
            f"{where}{signature} takes other arguments than it is called with: write {hook}({', '.join(HOOKS[hook])})"
        )
    if not fits:
        raise TypeError(
            f"{where}{signature} takes other arguments than it is called with: write {_signature(hook)}; the network "
            "is self.model"
        )
