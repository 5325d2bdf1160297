"""The lines of ``fit``: whatever stands in ``sys.stdout``, training goes on; what can be printed, is."""

import io
import sys
import warnings

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense

X, Y = np.ones((8, 2), "f4"), np.ones(8, "f4")


class Writer:
    """Has write alone."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Terminal(Writer):
    encoding = "utf-8"

    def isatty(self):
        return True


class Raising(Writer):
    """Raises wherever it is asked something, an exception of its own kind."""

    def __init__(self, error, *, also_write=False):
        super().__init__()
        self.error, self.also_write = error, also_write

    def isatty(self):
        raise self.error

    def flush(self):
        raise self.error

    def write(self, text):
        if self.also_write:
            raise self.error
        super().write(text)


class Strange(Writer):
    """Its attributes aren't what they are called."""

    isatty = "yes"
    flush = None


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "None": lambda: None,
    "closed": closed,
    "write alone": Writer,
    "terminal without flush": Terminal,
    "isatty raises OSError": lambda: Raising(OSError("no device")),
    "isatty raises anything": lambda: Raising(RuntimeError("not mine")),
    "broken pipe": lambda: Raising(BrokenPipeError(32, "Broken pipe"), also_write=True),
    "write raises anything": lambda: Raising(LookupError("gone"), also_write=True),
    "strange": Strange,
    "no file at all": lambda: object(),
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
}


class Größe(fm.metrics.Metric):
    """A metric whose name not every encoding has."""

    def rows(self, y_true, y_pred):
        return np.abs(y_pred[:, 0])


def trained(**options):
    net = fm.Sequential([Dense(1)], input_dim=2, seed=0)
    net.compile("sgd", "mse", metrics=[Größe()])
    return net.fit(X, Y, epochs=2, **options)


@pytest.mark.parametrize("options", [{}, {"verbose": "auto"}, {"verbose": 1}, {"verbose": 0}], ids=str)
@pytest.mark.parametrize("what", STREAMS)
def test_any_stream(what, options, monkeypatch):
    stream = STREAMS[what]()
    monkeypatch.setattr(sys, "stdout", stream)
    history = trained(**options)
    monkeypatch.undo()
    assert len(history.history["loss"]) == 2
    if isinstance(stream, Writer):
        verbose = options.get("verbose", "auto")
        prints = verbose == 1 or (verbose == "auto" and isinstance(stream, Terminal))
        assert stream.text.count("epoch") == (2 if prints and not getattr(stream, "also_write", False) else 0)


def test_names_that_an_encoding_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    trained(verbose=1)
    sys.stdout.flush()
    text = raw.getvalue().decode()
    monkeypatch.undo()
    assert text.count("Gr\\xf6\\xdfe") == 2
    assert text.count("\n") == 2


def test_ctrl_c_while_printing_ends_the_training(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Raising(KeyboardInterrupt(), also_write=True))
    with pytest.raises(KeyboardInterrupt):
        trained(verbose=1)
    monkeypatch.undo()


# -- epochs that are shorter than was asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, steps, epochs, told",
    [
        (lambda: (batch for batch in [(X, Y)] * 5), 2, 3, ["epoch 3 has 1 steps, 2 were asked for"]),
        (lambda: [(X, Y)] * 3, 4, 2, ["epoch 1 has 3 steps, 4 were", "epoch 2 has 3 steps, 4 were"]),
        (lambda: iter([(X, Y)]), 2, 1, ["epoch 1 has 1 steps, 2 were asked for"]),
        (lambda: [(X, Y)] * 4, 4, 2, []),
    ],
)
def test_short_epochs_are_told(make, steps, epochs, told):
    net = fm.Sequential([Dense(1)], input_dim=2, seed=0)
    net.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(make(), epochs=epochs, steps_per_epoch=steps)
    assert len(caught) == len(told)
    for warning, words in zip(caught, told, strict=True):
        assert words in str(warning.message)
        assert warning.filename == __file__


@pytest.mark.parametrize("make", [list, lambda: iter(()), lambda: (batch for batch in ())])
def test_no_batch_at_all(make):
    net = fm.Sequential([Dense(1)], input_dim=2, seed=0)
    net.compile("sgd", "mse")
    for steps in (None, 3):
        with pytest.raises(ValueError, match="no batch"):
            net.fit(make(), steps_per_epoch=steps)


def test_a_generator_that_is_used_up_keeps_its_first_epoch():
    net = fm.Sequential([Dense(1)], input_dim=2, seed=0)
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no batch"):
        net.fit((batch for batch in [(X, Y)] * 2), epochs=2)
    assert net.engine.steps == 2
    assert len(net.history.history["loss"]) == 1
