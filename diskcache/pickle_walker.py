"""Following a pickle without loading it.

To load one is to call what it names, whatever that is. And a hundred bytes can keep an unpickler
busy for years (a key of tuples that hold the same tuple twice, fifty deep, which is to be hashed),
or have it take all memory (a large number by which an object is to be remembered). So nothing is
made of a pickle here. Its opcodes are followed, with a stack on which there are only texts,
constants and objects of which nothing else is known. That takes about a microsecond for each
opcode, and as much memory as the pickle.
"""

from __future__ import annotations

import _compat_pickle
import copyreg
import functools as ft
import importlib.machinery
import importlib.util
import inspect
import pickle
import pickletools
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

#: How many bytes of a pickle are followed; of a longer one the beginning, where its classes are.
_WALKED_BYTES = 2**20
#: How many different names of one pickle are looked up, each of which may ask the file system.
_WALKED_NAMES = 2**8
#: Digits of a number that is written as text; longer ones take too long to be read.
_NUMBER_DIGITS = 4300

_MEMOIZE = pickle.MEMOIZE[0]

#: What may stand on the stack beside texts.
_MARK, _CONSTANT, _OBJECT = object(), object(), object()
#: What pickletools calls the constants: they take no items.
_CONSTANT_NAMES = {'None', 'bool', 'int', 'int_or_bool', 'float', 'bytes', 'tuple', 'frozenset'}


class _Opcode(NamedTuple):
    """What an opcode does, as far as it is followed."""

    name: str
    width: int  # bytes of its argument; or how long that is, as pickletools has it
    lines: int  # or so many lines
    pops: int  # from the stack
    to_mark: bool  # all above the last mark first
    pushes: tuple[Any, ...]
    method: Callable[[Walker, bytes], None] | None  # or what it does instead


def _read_opcodes() -> list[_Opcode | None]:
    """Return all opcodes by their bytes."""

    def pushed(what: pickletools.StackObject) -> object:
        return _CONSTANT if what.name in _CONSTANT_NAMES else _OBJECT

    opcodes: list[_Opcode | None] = [None] * 256
    for info in pickletools.opcodes:
        before = info.stack_before
        to_mark = pickletools.markobject in before
        width = info.arg.n if info.arg is not None else 0
        lines = 0
        if width == pickletools.UP_TO_NEWLINE:
            width, lines = 0, 2 if info.name in ('GLOBAL', 'INST') else 1
        opcodes[ord(info.code)] = _Opcode(
            info.name,
            width,
            lines,
            before.index(pickletools.markobject) if to_mark else len(before),
            to_mark,
            tuple(map(pushed, info.stack_after)),
            getattr(Walker, f'_do_{info.name.lower()}', None),
        )
    return opcodes


_opcodes: Callable[[], list[_Opcode | None]] = ft.cache(_read_opcodes)

#: The bytes of a length that stands before as many bytes, by what pickletools calls it.
_LENGTHS = {-2: 1, -3: 4, -4: 4, -5: 8}


class _Beyond(Exception):
    """The pickle goes on behind what there is of it."""


class Walker:
    """Follows a pickle, up to a limit for large ones.

    Of each name it is seen whether it is there, without importing anything: in a module that has
    not been imported yet any name may be.
    """

    def __init__(self, file: Any, size: int, gone: set[str]) -> None:
        """Prepare to follow it.

        :param file: the pickle, a binary file
        :param size: bytes in it
        :param gone: receives the names that are not there
        """
        self._size = size
        self._whole = size <= _WALKED_BYTES
        self._data: bytes = file.read(min(size, _WALKED_BYTES))
        self._names_gone = gone
        #: What the pickle names, as (module, name).
        self.names: set[tuple[str, str]] = set()
        self._stack: list[Any] = []
        self._at = 0  # the end of the opcode at hand
        self._memo: dict[int, Any] = {}

    def walk(self) -> str | None:
        """Return what is wrong with the pickle, if that is certain."""
        try:
            self._follow()
        except _Beyond:
            return 'EOFError: it ends too early' if self._whole else None
        except (pickle.UnpicklingError, ValueError) as error:
            return f'{type(error).__name__}: {error}'
        return None

    def _follow(self) -> None:
        opcodes = _opcodes()
        data = self._data
        size = len(data)
        stack = self._stack
        at = 0
        while at < size:
            if data[at] == _MEMOIZE and stack and stack[-1] is not _MARK:  # the most frequent
                self._memo[len(self._memo)] = stack[-1]
                at += 1
                continue
            opcode = opcodes[data[at]]
            if opcode is None:
                raise pickle.UnpicklingError(f'invalid opcode {data[at : at + 1]!r} at {at}')
            _, width, lines, pops, to_mark, pushes, method = opcode
            at += 1
            start = at
            if width > 0:
                at += width
                if at > size:
                    break
            elif width < 0 or lines:
                start, at = self._argument(opcode, at)
            if method is not None:
                self._at = at
                method(self, data[start:at])
            elif pops or to_mark:
                self._change_stack(opcode)
                if opcode.name == 'STOP':
                    return
            else:
                stack.extend(pushes)
        raise _Beyond

    def _argument(self, opcode: _Opcode, at: int) -> tuple[int, int]:
        """Return where the argument of an opcode begins and where it ends."""
        end = at
        for _ in range(opcode.lines):
            end = self._data.find(b'\n', end) + 1
            if end == 0:
                raise _Beyond
        width = opcode.width
        if width < 0:
            counted = _LENGTHS[width]
            if len(self._data) - at < counted:
                raise _Beyond
            end = at + counted
            width, at = int.from_bytes(self._data[at:end], 'little'), end
        if width > len(self._data) - end:
            raise _Beyond
        return at, end + width

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise pickle.UnpicklingError('unexpected end of the stack')
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        items: list[Any] = []
        while stack and stack[-1] is not _MARK:
            items.append(stack.pop())
        if not stack:
            raise pickle.UnpicklingError('no mark on the stack')
        stack.pop()
        return items

    def _change_stack(self, opcode: _Opcode) -> None:
        name = opcode.name
        if opcode.to_mark:
            items = self._pop_to_mark()
            if name in ('DICT', 'SETITEMS') and len(items) % 2:
                raise pickle.UnpicklingError(f'odd number of items for {name}')
            if name == 'OBJ' and not items:
                raise pickle.UnpicklingError('no class for OBJ')
        for _ in range(opcode.pops):
            popped = self._pop()
        if name in _INTO and popped is not _OBJECT:
            raise pickle.UnpicklingError(f'{name} into what takes no items')
        self._stack.extend(opcode.pushes)

    # --- texts and numbers ---

    def _push_text(self, argument: bytes, encoding: str = 'utf-8') -> None:
        self._stack.append(argument.decode(encoding, 'surrogatepass'))

    _do_short_binunicode = _do_binunicode = _do_binunicode8 = _push_text

    def _do_unicode(self, argument: bytes) -> None:
        self._push_text(argument[:-1], 'raw-unicode-escape')

    def _do_binstring(self, argument: bytes) -> None:
        self._stack.append(argument.decode('ascii'))

    _do_short_binstring = _do_binstring

    def _do_string(self, argument: bytes) -> None:
        quoted = argument[:-1].strip()
        if len(quoted) < 2 or quoted[0] != quoted[-1] or quoted[:1] not in (b'"', b"'"):
            raise pickle.UnpicklingError('a string without quotes')
        self._stack.append(quoted[1:-1].decode('ascii'))

    def _push_number(self, argument: bytes, kind: type = int) -> None:
        number = argument[:-1].strip().removesuffix(b'L')
        if len(number) <= _NUMBER_DIGITS:
            kind(number)
        self._stack.append(_CONSTANT)

    _do_int = _do_long = _push_number

    def _do_float(self, argument: bytes) -> None:
        self._push_number(argument, float)

    # --- the stack ---

    def _do_proto(self, argument: bytes) -> None:
        if argument[0] > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f'unsupported pickle protocol: {argument[0]}')

    def _do_mark(self, argument: bytes) -> None:
        self._stack.append(_MARK)

    def _do_pop(self, argument: bytes) -> None:
        if not self._stack:
            self._pop()
        self._stack.pop()

    def _do_dup(self, argument: bytes) -> None:
        top = self._pop()
        self._stack += [top, top]

    def _do_frame(self, argument: bytes) -> None:
        if int.from_bytes(argument, 'little') > self._size - self._at:
            raise pickle.UnpicklingError('a frame that is longer than the pickle')

    # --- the memo: a number may be any ---

    def _remember(self, number: int) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            self._pop()
        self._memo[number] = self._stack[-1]

    def _do_memoize(self, argument: bytes) -> None:
        self._remember(len(self._memo))

    def _do_binput(self, argument: bytes) -> None:
        self._remember(int.from_bytes(argument, 'little'))

    _do_long_binput = _do_binput

    def _do_put(self, argument: bytes) -> None:
        self._remember(self._text_number(argument))

    def _fetch(self, number: int) -> None:
        if number not in self._memo:
            raise pickle.UnpicklingError(f'nothing is remembered as {number}')
        self._stack.append(self._memo[number])

    def _do_binget(self, argument: bytes) -> None:
        self._fetch(int.from_bytes(argument, 'little'))

    _do_long_binget = _do_binget

    def _do_get(self, argument: bytes) -> None:
        self._fetch(self._text_number(argument))

    def _text_number(self, argument: bytes) -> int:
        return int(argument[:20])

    # --- names ---

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise pickle.UnpicklingError('a name that is no text')
        if (module, name) not in self.names and len(self.names) < _WALKED_NAMES:
            self.names.add((module, name))
            missing = _missing(module, name)
            if missing is not None:
                self._names_gone.add(missing)
        self._stack.append(_OBJECT)

    def _do_global(self, argument: bytes) -> None:
        module, name, _ = argument.decode().split('\n')
        self._name(module, name)

    def _do_inst(self, argument: bytes) -> None:
        self._pop_to_mark()
        self._do_global(argument)

    def _do_stack_global(self, argument: bytes) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _do_ext1(self, argument: bytes) -> None:
        code = int.from_bytes(argument, 'little')
        registered: Any = copyreg._inverted_registry.get(code)  # type: ignore[attr-defined]
        if registered is None:
            raise ValueError(f'unregistered extension code {code}')
        self._name(*registered)

    _do_ext2 = _do_ext4 = _do_ext1

    # --- what this library's unpickler does not take ---

    def _refuse(self, argument: bytes) -> None:
        raise pickle.UnpicklingError('it refers to what is outside of it')

    _do_persid = _do_binpersid = _do_next_buffer = _do_readonly_buffer = _refuse


#: Opcodes that put something into the object below.
_INTO = {'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD'}


def _find_old_name(module: str, name: str) -> tuple[str, str]:
    """Return what a name of Python 2 is now, as old protocols have it."""
    found: tuple[str, str] = _compat_pickle.NAME_MAPPING.get(
        (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
    )
    return found


_old_name: Callable[[str, str], tuple[str, str]] = ft.lru_cache(maxsize=2**10)(_find_old_name)


def _missing(module: str, name: str) -> str | None:
    """Return the full name of what a pickle names if it is not there, nor what Python 2 meant."""
    if _is_there(module, name) or _is_there(*_old_name(module, name)):
        return None
    return f'{module}.{name}'


def _is_there(module: str, name: str) -> bool:
    """Tell whether a module has, or may have, an attribute."""
    found: Any = sys.modules.get(module)
    if found is None:
        return _has_module(module)
    for part in name.split('.'):
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError:
            return isinstance(found, types.ModuleType) and _has_own_lookup(found)
    return True


def _has_own_lookup(module: types.ModuleType) -> bool:
    """Tell whether a module makes attributes when they are asked for."""
    return type(module) is not types.ModuleType or '__getattr__' in vars(module)


def _has_module(name: str) -> bool:
    """Tell whether a module can be found; nothing is imported for that."""
    top, *parts = name.split('.')
    try:
        spec = importlib.util.find_spec(top)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return False
            top = f'{top}.{part}'
            spec = importlib.machinery.PathFinder.find_spec(top, spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None
