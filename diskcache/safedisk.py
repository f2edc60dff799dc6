"""SafeDisk: a Disk that loads nothing but objects of types that are known to be harmless.

A pickle is a program: it names classes and functions, calls them, and sets attributes. Whoever can
write to a directory can so run code in whoever reads from it (CVE-2025-69872). The rules that keep
this from happening:

* A name in a pickle is looked up in a table of (module, name), and nowhere else. Nothing is
  imported (but the data of time zones, by ZoneInfo), and no attribute of anything is followed, so
  that a dotted name leads nowhere.
* All that is in the table are types. The names that old protocols need beside them stand for
  functions of this module, which do no more than the pickle of some bytes needs.
* What is called is what was named. An object that the pickle has made is not called, and the types
  themselves are not changed: ``BUILD`` sets attributes, also those of a class.
* Extension codes, persistent ids, out-of-band buffers and the opcodes of old classes are refused.
  An extension code that has been used once is known without a look at the table.

The unpickler in C keeps these rules by itself as long as a pickle names only types that nothing can
change and whose objects nothing can call, as those built into Python are. For all others it is
followed in Python, opcode by opcode.
"""

from __future__ import annotations

import _compat_pickle
import copyreg
import functools as ft
import io
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterable

from .disk import Disk
from .hints import Any, Self
from .refusal import RefusedError, UnsafeTypeError

#: Where else Pythons have these types.
_OTHER_MODULES = {'pathlib': 'pathlib._local', 'pathlib._local': 'pathlib'}

#: What can do anything, or trusts its pickles with its memory, whatever a program says of it.
_NEVER: frozenset[str] = frozenset(
    (
        *('_ctypes', '_frozen_importlib', '_frozen_importlib_external', '_functools', '_io'),
        *('_operator', '_pickle', '_socket', '_thread', '_weakref', 'code', 'codecs', 'ctypes'),
        *('functools', 'marshal', 'zipimport'),
        *('importlib', 'inspect', 'io', 'itertools', 'multiprocessing', 'numpy', 'operator', 'os'),
        *('pickle', 'posix', 'runpy', 'socket', 'subprocess', 'sys', 'threading', 'types'),
        'weakref',
    )
)


def _name_of(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _encode(text: Any, encoding: Any) -> bytes:
    """Return the bytes that protocols before 3 have as a text."""
    if type(text) is not str or encoding != 'latin1':
        raise RefusedError('_codecs.encode is not allowed for anything but latin1')
    return text.encode('latin1')


#: The types that take the name of a codec, which would be imported; and those that are known.
_CODED = (bytearray, bytes, str)
_CODECS = ('latin-1', 'latin1')

#: The key of a time zone, for which a file is opened, or the package tzdata imported.
_ZONE = r'[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*'


class _Table:
    """What every SafeDisk allows, by module and name."""

    def __init__(
        self, names: dict[tuple[str, str], Any], quick: dict[tuple[str, str], type]
    ) -> None:
        """Take both.

        :param names: all of it
        :param quick: the types that nothing can change, and whose objects cannot be called: C may
            handle them
        """
        self.names = names
        self.quick = quick


_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # of tp_flags


def _make_table() -> _Table:
    import collections
    import datetime  # from here on those that take longer to import than this package
    import decimal
    import fractions
    import pathlib
    import uuid
    import zoneinfo

    names: dict[tuple[str, str], Any] = {}
    for cls in (
        *(bool, bytearray, bytes, complex, dict, float, frozenset, int, list, range, set, slice),
        *(str, tuple, collections.Counter, collections.OrderedDict, collections.defaultdict),
        *(collections.deque, datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
        *(datetime.timezone, decimal.Decimal, fractions.Fraction, uuid.UUID, zoneinfo.ZoneInfo),
        *(pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath),
        *(pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    ):
        module, name = _name_of(cls)
        names[module, name] = names[_OTHER_MODULES.get(module, module), name] = cls
    quick = {
        name: cls
        for name, cls in names.items()
        if not issubclass(cls, (*_CODED, zoneinfo.ZoneInfo))
        and (not cls.__flags__ & _HEAP_TYPE or cls.__flags__ & _IMMUTABLE_TYPE)
    }
    names['_codecs', 'encode'] = _encode
    return _Table(names, quick)


_table: Callable[[], _Table] = ft.cache(_make_table)


class _NeedsCare(Exception):
    """A pickle names a type that a pickle could change, or whose objects could be called."""


def _refuse(module: object, name: object) -> RefusedError:
    return RefusedError(
        f'{module}.{name} is not allowed by SafeDisk; if it is a type of yours,'
        ' SafeDisk.with_types allows it'
    )


class _QuickUnpickler(pickle.Unpickler):
    """Loads what has only types that nothing can change."""

    def __init__(self, pickled: bytes, find: Callable[[str, str], Any]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        """Return a type of the table."""
        found = _table().quick.get((module, name))
        if found is not None:
            return found
        if self._find(module, name) is None:
            raise _refuse(module, name)
        raise _NeedsCare

    def persistent_load(self, pid: Any) -> Any:
        """Refuse it."""
        raise RefusedError('a persistent id is not allowed by SafeDisk')


_PurePython: Any = pickle._Unpickler


class _CarefulUnpickler(_PurePython):  # type: ignore[misc]
    """Loads the same and the other types, in Python, with a look at every step that could harm."""

    dispatch: dict[int, Callable[[Any], None]]

    def __init__(self, pickled: bytes, find: Callable[[str, str], Any]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._find = find
        self._named: dict[int, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a type of the table, or of those that the program has added."""
        found = self._find(module, name)
        if found is None:
            raise _refuse(module, name)
        self._named[id(found)] = found
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Refuse it."""
        raise RefusedError('a persistent id is not allowed by SafeDisk')

    def load(self) -> Any:
        """Load the pickle."""
        try:
            return super().load()
        except KeyError as error:  # an opcode that is not in the table below
            if error.args and error.args[0] in _REFUSED_OPCODES:
                raise RefusedError('an opcode is not allowed by SafeDisk') from None
            raise

    def _check_called(self) -> None:
        called, arguments = self.stack[-2:]
        self._check_call(called, arguments, ())

    def _check_called_with_keywords(self) -> None:
        called, arguments, keywords = self.stack[-3:]
        self._check_call(called, arguments, keywords)

    def _check_call(self, called: Any, arguments: Any, keywords: Any) -> None:
        if id(called) not in self._named:
            kind = type(called).__name__
            raise RefusedError(f'calling a {kind!r} object is not allowed by SafeDisk')
        if isinstance(called, type) and issubclass(called, _CODED):
            is_known = all(type(each) is not str or each in _CODECS for each in arguments[1:])
            if keywords or not is_known:
                raise RefusedError('another codec than latin-1 is not allowed by SafeDisk')
        if called is _table().names['zoneinfo', 'ZoneInfo']:
            is_zone = len(arguments) == 1 and type(arguments[0]) is str and not keywords
            if not (is_zone and re.fullmatch(_ZONE, arguments[0])):
                raise RefusedError('what is no time zone is not allowed by SafeDisk')

    def _check_target(self) -> None:
        """See what the step changes: what is below the value, or below the last mark."""
        self._check_object(self.stack[-2])

    def _check_pair_target(self) -> None:
        self._check_object(self.stack[-3])

    def _check_marked_target(self) -> None:
        self._check_object(self.metastack[-1][-1])

    @staticmethod
    def _check_object(target: Any) -> None:
        if isinstance(target, type) or not _ADDING.isdisjoint(getattr(target, '__dict__', ())):
            kind = type(target).__name__
            raise RefusedError(f'adding to a {kind!r} object is not allowed by SafeDisk')

    def _check_build(self) -> None:
        state, target = self.stack[-1], self.stack[-2]
        if isinstance(target, type):
            raise RefusedError('changing a type is not allowed by SafeDisk')
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict) and any(_is_special(name) for name in part):
                raise RefusedError('a special attribute is set, which is not allowed by SafeDisk')


#: The methods by which opcodes add to an object: its type's, not attributes that a pickle has set.
_ADDING = frozenset(('add', 'append', 'extend'))


def _is_special(name: Any) -> bool:
    return isinstance(name, str) and name[:2] == '__' and name[-2:] == '__'


_REFUSED_OPCODES = frozenset(
    opcode[0]
    for opcode in (
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ, pickle.PERSID),
        *(pickle.BINPERSID, pickle.DUP, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    )
)

_CHECKS: dict[bytes, Callable[[Any], None]] = {
    pickle.REDUCE: _CarefulUnpickler._check_called,
    pickle.NEWOBJ: _CarefulUnpickler._check_called,
    pickle.NEWOBJ_EX: _CarefulUnpickler._check_called_with_keywords,
    pickle.BUILD: _CarefulUnpickler._check_build,
    pickle.APPEND: _CarefulUnpickler._check_target,
    pickle.SETITEM: _CarefulUnpickler._check_pair_target,
    pickle.APPENDS: _CarefulUnpickler._check_marked_target,
    pickle.SETITEMS: _CarefulUnpickler._check_marked_target,
    pickle.ADDITEMS: _CarefulUnpickler._check_marked_target,
}


def _checked(check: Callable[[Any], None], step: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked_step(self: Any) -> None:
        check(self)
        step(self)

    return checked_step


_CarefulUnpickler.dispatch = {
    opcode: step for opcode, step in _PurePython.dispatch.items() if opcode not in _REFUSED_OPCODES
}
for _opcode, _check in _CHECKS.items():
    _step = _CarefulUnpickler.dispatch[_opcode[0]]
    _CarefulUnpickler.dispatch[_opcode[0]] = _checked(_check, _step)


class _CheckingPickler(pickle.Pickler):
    """Pickles what a SafeDisk with the same types loads again, and refuses everything else."""

    def __init__(self, stream: io.BytesIO, protocol: int | None, disk: SafeDisk) -> None:
        super().__init__(stream, protocol)
        self._disk = disk

    def reducer_override(self, value: Any) -> Any:
        """Look at what is not built into Python; also at the classes and functions of others."""
        if _name_of(type(value)) == ('zoneinfo', 'ZoneInfo') and value.key is not None:
            return type(value), (value.key,)  # its own way goes through getattr
        is_name = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
        named = value if is_name else type(value)
        name = getattr(named, '__module__', None) or '', getattr(named, '__qualname__', '')
        found = self._disk._find(*name)
        is_encode = name == ('_codecs', 'encode')
        if (found is not named and not is_encode) or name in copyreg._extension_registry:  # type: ignore[attr-defined]
            shown = '.'.join(filter(None, name))
            raise UnsafeTypeError(
                f'{shown} is not allowed by {type(self._disk).__name__}, which would not load it'
                f' again; if it is a type of yours, SafeDisk.with_types({name[1]}) allows it'
            )
        return NotImplemented


def _check_type(cls: Any) -> type:
    """Return a type that a program may allow.

    :raises TypeError: if it is no type
    :raises ValueError: if it is one that can do anything
    """
    if not isinstance(cls, type):
        raise TypeError(f'only types can be allowed, not {cls!r}')
    if issubclass(cls, type):
        raise ValueError(f'{cls.__qualname__} cannot be allowed: it makes types')
    top = cls.__module__.partition('.')[0]
    if top in _NEVER or (top == 'builtins' and not issubclass(cls, BaseException)):
        if cls in _table().names.values():
            return cls
        raise ValueError(f'{cls.__module__}.{cls.__qualname__} cannot be allowed: it is not safe')
    return cls


def _check_module(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f'modules must be names, not {type(name).__name__!r}')
    if name.partition('.')[0] in _NEVER or name.partition('.')[0] == 'builtins':
        raise ValueError(f'the module {name} cannot be allowed: it is not safe')
    from importlib import import_module

    import_module(name)
    return name


#: What a SafeDisk allows beside the table.
_NO_NAMES: dict[tuple[str, str], type] = {}


class SafeDisk(Disk):
    """A Disk that loads nothing but objects of known types, keys as well as values.

    It loads what is built of None, bool, int, float, complex, str, bytes, bytearray, list, tuple,
    dict, set, frozenset, range, slice, of :mod:`collections` OrderedDict, defaultdict, deque and
    Counter, of :mod:`datetime` all but tzinfo, Decimal, Fraction, UUID, ZoneInfo and paths. Other
    types can be added with :meth:`with_types`.

    The form on disk is that of :class:`Disk`. What another has stored there and is not allowed is a
    miss, which is logged, and is left out when keys are iterated over. To store it is an error.
    """

    _names: dict[tuple[str, str], type] = _NO_NAMES
    _modules: frozenset[str] = frozenset()

    @classmethod
    def with_types(cls, *types: type, modules: Iterable[str] = ()) -> type[Self]:
        """Return a subclass that also loads objects of other types.

        Allow only types that do no harm with whatever attributes: a pickle gives an object any, and
        calls the type with any arguments. `__init__`, `__new__`, `__setstate__`, `__del__` and what
        the program does with the object count.

        :param types: the types; a subclass of one is another type
        :param modules: names of modules, which are imported now. The types that are defined in one
            are allowed: not those that it imports, and not what is in its submodules
        :return: a subclass, to be used as `disk` of a cache
        :raises TypeError: if one is no type, or no name
        :raises ValueError: if one can do anything, such as functools.partial, or numpy's
        :raises ImportError: if a module cannot be imported
        """
        given = tuple(dict.fromkeys(_check_type(each) for each in types))
        if isinstance(modules, str):
            raise TypeError('modules must be an iterable of names, not a str')
        names = frozenset(_check_module(name) for name in modules)
        body = {
            '_names': {**cls._names, **{_name_of(each): each for each in given}},
            '_modules': cls._modules | names,
            '_made_by': (cls, given, tuple(sorted(names))),
            '__module__': cls.__module__,
            '__qualname__': cls.__qualname__,
            '__doc__': cls.__doc__,
        }
        return _Made(cls.__name__, (cls,), body)  # type: ignore[return-value]

    def _find(self, module: str, name: str) -> Any:
        """Return what a pickle means by a name, or None if that is not allowed."""
        found = self._find_exactly(module, name)
        if found is None:  # what Python 2 called it, as protocols before 3 do
            old = _compat_pickle.IMPORT_MAPPING.get(module, module), name
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), old)
            found = self._find_exactly(module, name)
        if found is None and module in self._modules:
            defined: Any = vars(sys.modules[module]).get(name) if module in sys.modules else None
            is_own = isinstance(defined, type) and _name_of(defined) == (module, name)
            if is_own and not issubclass(defined, type):
                found = defined
        return found

    def _find_exactly(self, module: str, name: str) -> Any:
        return _table().names.get((module, name)) or self._names.get((module, name))

    def _to_pickle(self, value: Any) -> bytes:
        """Pickle a key or a value.

        :raises UnsafeTypeError: if there is something in it that is not allowed
        """
        stream = io.BytesIO()
        _CheckingPickler(stream, self.pickle_protocol, self).dump(value)
        return stream.getvalue()

    def _from_pickle(self, pickled: Any) -> Any:
        """Load a pickle.

        :raises RefusedError: if it has something that is not allowed
        """
        pickled = bytes(pickled)
        if not copyreg._inverted_registry:  # type: ignore[attr-defined]
            try:
                return _QuickUnpickler(pickled, self._find).load()
            except _NeedsCare:
                pass
        return _CarefulUnpickler(pickled, self._find).load()


class _Made(type):
    """The type of the classes that with_types returns, which are pickled by its arguments."""


def _reduce_made(cls: Any) -> tuple[Any, ...]:
    return (_make, cls._made_by) if '_made_by' in vars(cls) else cls.__qualname__


def _make(base: type[SafeDisk], given: tuple[type, ...], modules: tuple[str, ...]) -> type:
    return base.with_types(*given, modules=modules)


copyreg.pickle(_Made, _reduce_made)
