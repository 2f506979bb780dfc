"""Names the C function that a frame is calling: such a call leaves no frame of its own.

The instruction at ``f_lasti`` is a call; walking back by stack effects finds where its callable was
loaded, and the attributes read from there on spell its name. The object is then looked up in the frame's
module or locals, statically: this happens on another thread, where no descriptor or ``__getattr__`` of
the application may run.
"""

from __future__ import annotations

import builtins
import dis
import opcode as opcodes
import sys
from collections.abc import Callable
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

from otel_loopblock.naming.public import is_hidden, public, public_name
from otel_loopblock.naming.text import printable

MAX_SCANNED = 20_000
"""Bytes of code walked to reach a call; a longer function is not looked into."""

_EXTENDED_ARG = dis.opmap["EXTENDED_ARG"]
_CACHE = dis.opmap.get("CACHE", -1)
_RESUME = dis.opmap.get("RESUME", -1)
_GLOBAL_ROOTS = {"LOAD_GLOBAL", "LOAD_NAME"}
_FAST_ROOTS = {"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR"}
_PAIRS = {
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": ("LOAD_FAST_BORROW", "LOAD_FAST_BORROW"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
"""Two instructions in one, from 3.13 on; each has half of the argument's eight bits."""
_CELL_ROOTS = {"LOAD_DEREF", "LOAD_CLASSDEREF"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_METHOD", "CALL_FUNCTION_EX"}
_NEUTRAL = {"PRECALL", "KW_NAMES", "PUSH_NULL", "NOP", "NOT_TAKEN", "RESUME", "COPY_FREE_VARS"}
_WITH = {"BEFORE_WITH", "SETUP_WITH", "BEFORE_ASYNC_WITH", "SETUP_ASYNC_WITH", "LOAD_SPECIAL"}
"""Where a ``with`` begins. What it leaves on the stack is called at its end, far from where it was loaded."""
_JUMPS = {*dis.hasjrel, *getattr(dis, "hasjabs", ())}
_IMPORTERS = {"import_module", "__import__"}
_BINARY = {
    "BINARY_MATRIX_MULTIPLY": "__matmul__",
    "BINARY_POWER": "__pow__",
    "BINARY_MULTIPLY": "__mul__",
    "BINARY_ADD": "__add__",
    "BINARY_MODULO": "__mod__",
    "CONTAINS_OP": "__contains__",
}
# Not public anywhere; there from 3.11 on, with BINARY_OP.
_NB_OPS: list[tuple[str, str]] = getattr(opcodes, "_nb_ops", [])
_INSTANT = {"len", "isinstance", "callable", "id"}
"""They never take long. To free what they were given may: the call ends with that."""
_BINARY_OP = {"+": "__add__", "*": "__mul__", "@": "__matmul__", "**": "__pow__", "%": "__mod__"}


class _Instruction(NamedTuple):
    opcode: int
    name: str
    argument: int


class _Chain(NamedTuple):
    """How a callable is spelled in the code."""

    root: str
    kind: str
    """``global``, ``local``, or ``operator`` for an operator's method on whatever was loaded before it."""
    attributes: tuple[str, ...]


Variable: TypeAlias = "Callable[[str], tuple[Any] | None]"
"""Reads a local variable: its value, or ``None`` where there is none to be read."""


def called_name(code: CodeType, instruction: int, module: str, variable: Variable) -> str | None:
    """The name of what a frame is calling in C right now.

    Args:
        code: what the frame runs; the innermost one of a thread, usually another one.
        instruction: where it is in there, as ``f_lasti``.
        module: the module's name.
        variable: reads its local variables.

    Returns:
        ``time.sleep``, ``sqlite3.Connection.execute``, ``sum``; as written in the code (``conn.execute``)
        where the object cannot be found without running code; ``None`` where the frame is not at a call,
        or at one that never takes long.
    """
    name = _called_name(code, instruction, module, variable)
    return printable(name) if name is not None and name not in _INSTANT else None


def _called_name(code: CodeType, instruction: int, module: str, variable: Variable) -> str | None:
    chain = _chain(code, instruction)
    if chain is None:
        return None
    written = ".".join((chain.root, *chain.attributes)) if chain.root else ".".join(chain.attributes)
    if not chain.root:
        return written or None
    found, value = _root(chain, module, variable)
    if not found:
        return None if chain.kind == "operator" else written
    owner: Any = None
    for name in chain.attributes:
        owner = value
        found, value = _static_attribute(owner, name)
        if not found:
            return (
                f"{_type_name(owner)}.{name}"
                if name == chain.attributes[-1] and chain.kind != "operator"
                else written
            )
    if chain.kind == "operator" and type(owner).__module__ == "builtins" and owner.__class__ in (int, float):
        return f"{type(owner).__name__}.{chain.attributes[-1]}"
    return _name(value, owner, chain.attributes[-1] if chain.attributes else chain.root) or written


@lru_cache(maxsize=1024)
def spelled_name(code: CodeType, instruction: int) -> str | None:
    """The last name of what is called there, as written: ``create`` for ``client.messages.create(...)``."""
    chain = _chain(code, instruction)
    if chain is None or chain.kind == "operator":
        return None
    return chain.attributes[-1] if chain.attributes else chain.root or None


@lru_cache(maxsize=1024)
def imported_module(code: CodeType, instruction: int) -> str | None:
    """The module that is imported there, as written: by ``import``, or by ``import_module`` of a constant.

    ``None`` for anything else, and where the import is a relative one.
    """
    if not 0 <= instruction <= MAX_SCANNED:
        return None
    before = _instructions(code, instruction)
    if len(before) < 3:
        return None
    if before[-1].name == "IMPORT_NAME":
        level = before[-3]
        absolute = code.co_consts[level.argument] == 0 if level.name == "LOAD_CONST" else level.argument == 0
        flags = 2 if sys.version_info >= (3, 15) else 0  # bits, for imports that are lazy
        index = before[-1].argument >> flags
        return code.co_names[index] if absolute else None
    if before[-1].name in _CALLS and spelled_name(code, instruction) in _IMPORTERS:
        loads = [each for each in before[-4:-1] if each.name == "LOAD_CONST"]
        name = code.co_consts[loads[-1].argument] if loads else None
        return name if isinstance(name, str) and not name.startswith(".") else None
    return None


@lru_cache(maxsize=1024)
def has_just_begun(code: CodeType, instruction: int) -> bool:
    """Whether a function that is there has not run any of its own code since it was called, or resumed."""
    if instruction < 0:
        return True
    raw = code.co_code
    return instruction < len(raw) and raw[instruction] == _RESUME


@lru_cache(maxsize=4096)
def _chain(code: CodeType, lasti: int) -> _Chain | None:
    if lasti < 0 or lasti > MAX_SCANNED:
        return None
    before = _instructions(code, lasti)
    if not before:
        return None
    call = before[-1]
    if call.name in ("BEFORE_WITH", "SETUP_WITH"):
        spelled = _spelled(code, before[:-1])
        return spelled and spelled._replace(attributes=(*spelled.attributes, "__enter__"))
    if call.name in _BINARY or call.name == "BINARY_OP":
        return _operator(code, before)
    if call.name not in _CALLS and call.name != "PRECALL":
        return None
    if len(before) >= 2 and before[-2].name == "LOAD_SPECIAL":
        return _entered(code, before[:-1])
    pushed = _pushed_by_call(call, before)
    if pushed is None:
        return None
    needed = pushed
    # Backwards until all that the call consumes is accounted for: there its callable begins.
    for index in range(len(before) - 2, -1, -1):
        instruction = before[index]
        if instruction.name == "PRECALL" and index == len(before) - 2:
            continue  # the call's own; that of another takes values off the stack
        if instruction.opcode in _JUMPS:
            return None  # a conditional expression among the arguments
        if instruction.name in _WITH:
            return None
        needed -= _effect(instruction)
        if needed <= 0:
            return _forward(code, before[index:-1])
    return None


def _entered(code: CodeType, before: list[_Instruction]) -> _Chain | None:
    """What a ``with`` enters, from 3.14 on: it is copied, to find both of its methods on it."""
    for index in range(len(before) - 1, max(0, len(before) - 8), -1):
        if before[index].name == "COPY":
            spelled = _spelled(code, before[:index])
            return spelled and spelled._replace(attributes=(*spelled.attributes, "__enter__"))
    return None


def _pushed_by_call(call: _Instruction, before: list[_Instruction]) -> int | None:
    """How many values the call takes from the stack, its callable included."""
    count = call.argument
    if call.name == "CALL_FUNCTION":
        return count + 1
    if call.name == "CALL_FUNCTION_KW":
        return count + 2
    if call.name == "CALL_METHOD":
        return count + 2
    if call.name == "CALL_FUNCTION_EX":
        if sys.version_info >= (3, 14):  # the keywords, or nothing in their place, are always there
            return 4
        values = 2 + (count & 1)
        return values if sys.version_info < (3, 11) else values + 1
    if call.name == "CALL_KW":
        return count + 3
    return count + 2


def _effect(instruction: _Instruction) -> int:
    argument = instruction.argument if instruction.opcode >= dis.HAVE_ARGUMENT else None
    try:
        return dis.stack_effect(instruction.opcode, argument, jump=False)
    except ValueError:
        return 0


def _instructions(code: CodeType, lasti: int) -> list[_Instruction]:
    raw = code.co_code
    found: list[_Instruction] = []
    extended = 0
    for index in range(0, min(lasti + 2, len(raw) - 1), 2):
        opcode = raw[index]
        if opcode == _CACHE:
            continue
        argument = raw[index + 1] | extended
        if opcode == _EXTENDED_ARG:
            extended = argument << 8
            continue
        extended = 0
        name = dis.opname[opcode]
        if name in _PAIRS:
            halves = zip(_PAIRS[name], (argument >> 4, argument & 15), strict=True)
            found += [_Instruction(dis.opmap[half], half, index) for half, index in halves]
        else:
            found.append(_Instruction(opcode, name, argument))
    return found


def _forward(code: CodeType, instructions: list[_Instruction]) -> _Chain | None:
    """Read the root and the attributes that follow it."""
    root: tuple[str, str] | None = None
    attributes: list[str] = []
    for instruction in instructions:
        if instruction.name in _NEUTRAL:
            if root is not None and instruction.name == "PUSH_NULL":
                break  # 3.13 pushes it after the callable, before the arguments
            continue
        if root is None:
            root = _root_of(code, instruction)
            if root is None:
                return None
        elif instruction.name in _ATTRIBUTES:
            attributes.append(_attribute_name(code, instruction))
            if instruction.name == "LOAD_METHOD" or _is_method_load(instruction):
                break
        else:
            break
    return _Chain(root[0], root[1], tuple(attributes)) if root is not None else None


def _root_of(code: CodeType, instruction: _Instruction) -> tuple[str, str] | None:
    if instruction.name in _GLOBAL_ROOTS:
        index = instruction.argument
        if instruction.name == "LOAD_GLOBAL" and sys.version_info >= (3, 11):
            index >>= 1
        return code.co_names[index], "global"
    if instruction.name in _FAST_ROOTS:
        names = code.co_varnames
        index = instruction.argument
        if index < len(names):
            return names[index], "local"
        cells = (*code.co_cellvars, *code.co_freevars)
        return (cells[index - len(names)], "local") if index - len(names) < len(cells) else None
    if instruction.name in _CELL_ROOTS:
        if sys.version_info >= (3, 11):
            fast = (*code.co_varnames, *(c for c in code.co_cellvars if c not in code.co_varnames))
            names = (*fast, *code.co_freevars)
        else:
            names = (*code.co_cellvars, *code.co_freevars)
        return (names[instruction.argument], "local") if instruction.argument < len(names) else None
    return None


def _attribute_name(code: CodeType, instruction: _Instruction) -> str:
    index = instruction.argument
    if instruction.name == "LOAD_ATTR" and sys.version_info >= (3, 12):
        index >>= 1
    return code.co_names[index]


def _is_method_load(instruction: _Instruction) -> bool:
    return instruction.name == "LOAD_ATTR" and sys.version_info >= (3, 12) and bool(instruction.argument & 1)


def _spelled(code: CodeType, before: list[_Instruction]) -> _Chain | None:
    """The chain of loads that ends the instructions given."""
    end = len(before)
    while end and before[end - 1].name in _ATTRIBUTES:
        end -= 1
    return _forward(code, before[end - 1 :]) if end else None


def _operator(code: CodeType, before: list[_Instruction]) -> _Chain | None:
    """The method of the left operand, where that is a plain name."""
    call = before[-1]
    if call.name == "BINARY_OP":
        if call.argument >= len(_NB_OPS):
            return None
        symbol = _NB_OPS[call.argument][1].rstrip("=")
        method = _BINARY_OP.get(symbol)
    else:
        method = _BINARY[call.name]
    if method is None:
        return None
    if len(before) < 3:
        return None
    side = before[-2] if method == "__contains__" else before[-3]
    root = _root_of(code, side)
    return _Chain(root[0], "operator", (method,)) if root is not None else None


def _root(chain: _Chain, module: str, variable: Variable) -> tuple[bool, Any]:
    name = chain.root
    if chain.kind != "global":
        value = variable(name)
        if value is not None:
            return True, value[0]
        if chain.kind == "local":
            return False, None
    for scope in (sys.modules.get(module), builtins):
        found = vars(scope) if type(scope) is ModuleType else {}
        if name in found:
            return True, found[name]
    return False, None


_BASES = vars(type)["__mro__"]
_NAMESPACE = vars(type)["__dict__"]
"""Read these of a class past its metaclass; ``type.__mro__`` would be those of ``type`` itself."""


def _of_class(kind: type, name: str) -> tuple[bool, Any]:
    for base in _BASES.__get__(kind):
        namespace = _NAMESPACE.__get__(base)
        if name in namespace:
            return True, namespace[name]
    return False, None


def _static_attribute(owner: Any, name: str) -> tuple[bool, Any]:
    """``getattr`` that runs nobody's code: dictionaries and slots only."""
    kind = type(owner)  # isinstance would ask the object for its __class__
    if issubclass(kind, ModuleType):
        namespace = vars(owner)
        return (True, namespace[name]) if name in namespace else (False, None)
    if issubclass(kind, type):
        found, value = _of_class(owner, name)
        return found, _plain(value)
    try:
        namespace = object.__getattribute__(owner, "__dict__")
        if type(namespace) is dict and name in namespace:
            return True, namespace[name]
    except AttributeError:
        pass
    found, value = _of_class(kind, name)
    if type(value).__name__ == "member_descriptor":
        try:
            return True, value.__get__(owner)
        except AttributeError:
            return False, None
    if isinstance(value, property):
        return False, None
    return found, _plain(value)


def _plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def _name(value: Any, owner: Any, last: str) -> str | None:
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, type):
        return _type_name(value)
    if isinstance(value, FunctionType):
        return public(f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, BuiltinFunctionType):
        bound = value.__self__
        if bound is None or isinstance(bound, ModuleType):
            return public_name(value.__module__ or getattr(bound, "__name__", None), value.__name__, value)
        return f"{_type_name(bound)}.{value.__name__}"
    if type(value).__name__ in (
        "method_descriptor",
        "wrapper_descriptor",
        "classmethod_descriptor",
        "cyfunction",
        "cython_function_or_method",
    ):
        base = getattr(value, "__objclass__", None)
        if base is None and (owner is None or isinstance(owner, ModuleType)):  # a function of Cython
            return public(f"{value.__module__}.{value.__qualname__}")
        shown = owner if isinstance(owner, type) else type(owner)
        # The class a user knows: sqlite3's methods are defined on it, socket's on a C base of it.
        # But an extension's module may have a name that nobody imports.
        known = base if base is not None and (base is shown or not is_hidden(_module(base))) else shown
        return public_name(_module(known), f"{known.__qualname__}.{last}", known)
    if owner is not None and not isinstance(owner, (ModuleType, type)) and not callable(value):
        return None
    module = getattr(type(value), "__module__", "")
    if isinstance(owner, ModuleType):
        return public(f"{owner.__name__}.{last}")
    return public(f"{module}.{type(value).__qualname__}") if module else None


def _type_name(owner: Any) -> str:
    kind = owner if issubclass(type(owner), type) else type(owner)
    return public_name(_module(kind), kind.__qualname__, kind)


def _module(kind: type) -> str:
    module = kind.__module__
    return module if isinstance(module, str) else ""
