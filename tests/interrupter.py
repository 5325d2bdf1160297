"""Ctrl-C at every place where Python would answer it, one after the other: shared by the tests of interruptions."""

import contextlib
import dis
import itertools
import os
import sys
import threading

import fastmlp as fm


class Interrupter:
    """A trace function that raises KeyboardInterrupt where Python itself would, at the n-th such place.

    Signals are answered where a function begins, where a loop goes back, and after a call of something compiled.
    """

    FOLDERS = (os.path.dirname(fm.__file__), contextlib.__file__)

    def __init__(self, at, folders=()):
        self.left = at
        self.folders = (*self.FOLDERS, *folders)
        self.calling = set()  # frames whose last operation was a call that has not entered Python

    def __call__(self, frame, event, argument):
        if event == "call":
            self.calling.discard(frame.f_back)
            code = frame.f_code
            if not code.co_filename.startswith(self.folders) or code.co_name in ("<genexpr>", "__del__"):
                return None  # an interrupt in the closing of a generator, or there, is only printed
            frame.f_trace_opcodes = True
            self.place()
        elif event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if frame in self.calling or name.startswith("JUMP_BACKWARD"):
                self.place()
            self.calling.discard(frame)
            if name.startswith("CALL") and "INTRINSIC" not in name:
                self.calling.add(frame)
        return self

    def place(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def places(stride):
    """The numbers of places to be tried, without end: not all of them, or that would take minutes.

    All, if FASTMLP_EVERY_PLACE is set.
    """
    return itertools.count(1, 1 if os.environ.get("FASTMLP_EVERY_PLACE") else stride)


def interrupted(at, call, folders=()):
    """Whether a call has so many places where it could be interrupted; it was, if so.

    They lie in fastmlp, and in the files of these folders.
    """
    before = sys.gettrace()
    sys.settrace(Interrupter(at, folders))
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def in_thread(call):
    """Errors of a call in another thread of Python."""
    errors = []

    def run():
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return errors if not thread.is_alive() else [TimeoutError("no answer")]
