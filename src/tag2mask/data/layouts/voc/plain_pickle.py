"""Pickles of arrays and plain values, read without running anything in them.

A pickle is a program. ``pickle.Unpickler`` runs it, and even with a short list of allowed names a
crafted file can corrupt memory: numpy's ``dtype.__setstate__`` trusts the flags that it is given.
Here the opcodes are interpreted, and the only results are numbers, text, bytes, tuples, lists and
the classes of this module. Arrays stay a checked triple of type, shape and bytes until `numbers`.

Bounds: at most `MAX_STEPS` opcodes, and what calls produce is no longer than the file. Nothing is
hashed or compared, so nested values cost no time.

Format: Lib/pickletools.py of Python; what numpy writes: ``ndarray.__reduce__``.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 20_000_000
"""A photo takes about 15 opcodes."""
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")
_OBJECTS = re.compile(r"O[48]?")
_TEXT = re.compile(r"U\d{1,4}")
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
"""Opcodes that push their argument."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class DamagedPickleError(ValueError):
    """The pickle is cut off or damaged."""


class RefusedPickleError(ValueError):
    """The pickle has something other than arrays and plain values."""


@dataclass(eq=False)
class PickledDict:
    """A dictionary as its (key, value) pairs in their order; a key may occur twice."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False)
class PickledDtype:
    """The type of an array's elements: ``f4``, and ``<``, ``>`` or ``|`` for the byte order."""

    code: str
    order: str = "|"

    def plain(self) -> np.dtype[np.generic]:
        """Return the type of numbers.

        Raises:
            RefusedPickleError: it is of another kind.
        """
        if not _NUMBERS.fullmatch(self.code):
            raise RefusedPickleError(f"an array of {self.code!r}, which are not numbers")
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class PickledArray:
    """An array; ``data`` is None until the pickle sets it, and a list where it holds objects."""

    dtype: PickledDtype = field(default_factory=lambda: PickledDtype("u1"))
    shape: tuple[int, ...] = ()
    data: bytes | list[object] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def numbers(self) -> NDArray[Any]:
        """Return the array.

        Raises:
            RefusedPickleError: its elements are not numbers.
            DamagedPickleError: its bytes don't fit type and shape.
        """
        dtype = self.dtype.plain()
        if not isinstance(self.data, bytes) or len(self.data) != self.size * dtype.itemsize:
            raise DamagedPickleError("an array's bytes don't fit its type and shape")
        return np.frombuffer(self.data, dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class _Name:
    """A name that the pickle asks for; nothing is imported."""

    module: str
    name: str


def read_plain_pickle(content: bytes) -> object:
    """Return the value of a pickle.

    Returns:
        None, a bool, an int, a float, a str, bytes, a tuple, a list, `PickledDict`, `PickledDtype`
        or `PickledArray`.

    Raises:
        RefusedPickleError: it has anything else, or more opcodes than `MAX_STEPS`.
        DamagedPickleError: it is cut off or damaged.
    """
    machine = _PickleMachine(len(content))
    position = 0
    try:
        for step, (opcode, argument, at) in enumerate(pickletools.genops(io.BytesIO(content))):
            position = at or 0
            if step >= MAX_STEPS:
                raise RefusedPickleError(f"more than {MAX_STEPS} opcodes")
            machine.step(opcode.name, argument)
    except (DamagedPickleError, RefusedPickleError):
        raise
    except (ValueError, IndexError, DeprecationWarning):  # the last with -W error, bad escapes
        raise DamagedPickleError(f"cut off or damaged after byte {position}") from None
    return machine.result()


class _PickleMachine:
    """The stack and the memo of a pickle."""

    def __init__(self, budget: int) -> None:
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._budget = budget
        self._operations: dict[str, Callable[[], None]] = {
            "MARK": self._mark,
            "TUPLE": self._tuple,
            "TUPLE1": lambda: self._tuple(1),
            "TUPLE2": lambda: self._tuple(2),
            "TUPLE3": lambda: self._tuple(3),
            "EMPTY_LIST": lambda: self._stack.append([]),
            "LIST": lambda: self._stack.append(self._pop_to_mark()),
            "APPEND": lambda: self._append([self._stack.pop()]),
            "APPENDS": lambda: self._append(self._pop_to_mark()),
            "EMPTY_DICT": lambda: self._stack.append(PickledDict()),
            "DICT": self._dict,
            "SETITEM": lambda: self._set_items(self._pop(2)),
            "SETITEMS": lambda: self._set_items(self._pop_to_mark()),
            "STACK_GLOBAL": lambda: self._name(*self._pop(2)),
            "REDUCE": lambda: self._call(*self._pop(2)),
            "BUILD": lambda: self._build(self._stack.pop()),
            "MEMOIZE": lambda: self._put(len(self._memo)),
            "POP": lambda: self._drop(1),
        }

    def step(self, name: str, argument: object) -> None:
        """Perform one opcode; IndexError where the stack lacks its operands."""
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in self._operations:
            self._operations[name]()
        elif name.endswith("PUT") and isinstance(argument, int):
            self._put(argument)
        elif name.endswith("GET") and isinstance(argument, int):
            self._get(argument)
        elif name == "GLOBAL":
            self._name(*str(argument).split(" ", 1))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise RefusedPickleError(f"the opcode {name}, which arrays don't need")

    def result(self) -> object:
        """Return the value on the stack after the last opcode."""
        if len(self._stack) != 1:
            raise DamagedPickleError(f"{len(self._stack)} values instead of one")
        return self._stack[0]

    def _pop(self, count: int) -> list[object]:
        values = self._stack[-count:]
        if len(values) < count:
            raise IndexError
        del self._stack[-count:]
        return values

    def _drop(self, count: int) -> None:
        self._pop(count)

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _pop_to_mark(self) -> list[object]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise DamagedPickleError("a reference to a value that doesn't exist")
        self._stack.append(self._memo[index])

    def _tuple(self, count: int | None = None) -> None:
        values = self._pop_to_mark() if count is None else self._pop(count)
        self._stack.append(tuple(values))

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise DamagedPickleError("elements of something that is not a list")
        target.extend(values)

    def _dict(self) -> None:
        values = self._pop_to_mark()
        self._stack.append(PickledDict())
        self._set_items(values)

    def _set_items(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, PickledDict) or len(values) % 2:
            raise DamagedPickleError("items of something that is not a dictionary")
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))

    def _name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedPickleError("a name that is not text")
        known = (
            (module in _MODULES and name in ("_reconstruct", "scalar"))
            or (module == "numpy" and name in ("ndarray", "dtype"))
            or (module, name) == ("_codecs", "encode")  # how protocol 2 writes bytes
        )
        if not known:
            asked = f"{module[:60]}.{name[:60]}"
            raise RefusedPickleError(f"the file asks for {asked!r}, which labels don't need")
        self._stack.append(_Name(module, name))

    def _call(self, called: object, arguments: object) -> None:
        """Replace a name and its arguments by what they stand for."""
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise DamagedPickleError("a call of something that is not a name")
        if called.name == "_reconstruct":
            self._stack.append(PickledArray())
        elif called.name == "dtype":
            self._stack.append(_dtype(arguments))
        elif called.name == "encode":
            self._stack.append(self._within_budget(_latin1(*arguments[:1])))
        elif called.name == "scalar" and len(arguments) == 2:
            self._stack.append(_scalar(arguments[0], self._within_budget(_latin1(arguments[1]))))
        else:
            raise DamagedPickleError(f"a call of {called.name} with other arguments")

    def _within_budget(self, content: bytes) -> bytes:
        """Count bytes that a call makes: one text may be referred to any number of times."""
        self._budget -= len(content)
        if self._budget < 0:
            raise RefusedPickleError("values that are longer than the file")
        return content

    def _build(self, state: object) -> None:
        """Set the state of the value on the stack, as numpy's ``__setstate__`` would, but checked.

        The state of an array is (version, shape, dtype, Fortran order, bytes or list), that of a
        dtype (version, byte order, subdtype, names, fields, size, alignment, flags).
        """
        target = self._stack[-1]
        if not isinstance(state, tuple):
            raise DamagedPickleError("a state that is not a tuple")
        if isinstance(target, PickledDtype):
            _set_dtype(target, state)
        elif isinstance(target, PickledArray) and len(state) == 5:
            data = state[4]
            if isinstance(data, str):  # text of Python 2
                data = self._within_budget(_latin1(data))
            _set_array(target, (*state[:4], data))
        else:
            raise DamagedPickleError("the state of something that has none")


def _latin1(text: object = None) -> bytes:
    """Return the bytes that protocol 2 and Python 2 write as text."""
    if isinstance(text, str):
        return text.encode("latin1")
    if isinstance(text, bytes):
        return text
    raise DamagedPickleError("text that is none")


def _dtype(arguments: tuple[object, ...]) -> PickledDtype:
    code = arguments[0] if arguments else None
    if not isinstance(code, str):
        raise RefusedPickleError("the file asks for a composed data type")
    order, code = (code[:1], code[1:]) if code[:1] in ("<", ">", "|", "=") else ("|", code)
    if not any(pattern.fullmatch(code) for pattern in (_NUMBERS, _OBJECTS, _TEXT)):
        raise RefusedPickleError(f"the file asks for the data type {code[:20]!r}")
    return PickledDtype(code, order)


def _set_dtype(dtype: PickledDtype, state: tuple[object, ...]) -> None:
    if len(state) < 5 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
        raise RefusedPickleError("the file asks for a composed data type")
    dtype.order = str(state[1])


def _set_array(array: PickledArray, state: tuple[object, ...]) -> None:
    _, shape, dtype, _, data = state
    if array.data is not None:
        raise DamagedPickleError("an array with two states")
    if not isinstance(dtype, PickledDtype) or not isinstance(shape, tuple):
        raise DamagedPickleError("an array without type or shape")
    if len(shape) > 4 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise RefusedPickleError("an array of an impossible shape")
    if not isinstance(data, bytes | list):
        raise DamagedPickleError("an array without elements")
    array.shape, array.dtype, array.data = shape, dtype, data


def _scalar(dtype: object, content: bytes) -> object:
    """Return numpy's scalar as a plain number or text."""
    if not isinstance(dtype, PickledDtype) or _OBJECTS.fullmatch(dtype.code):
        raise RefusedPickleError("the file asks for an object scalar")
    if _TEXT.fullmatch(dtype.code):
        return content.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")
    plain = dtype.plain()
    if len(content) != plain.itemsize:
        raise DamagedPickleError("a scalar whose size doesn't fit its type")
    return np.frombuffer(content, plain)[0].item()
