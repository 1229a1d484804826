"""The door to the C core: statuses become exceptions, and the stub file tells the truth."""

import ast
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pmemstore import errors
from pmemstore._native import Detail, check, exception_for, ffi, lib

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "pmemstore/_native/_core.pyi"

NUMBERS = Detail(
    what="growing the heap", off=4096, want=1000, have=10, sys_errno=28, source="pool.c:7"
)
EXPECTED = {
    lib.PMS_E_CORRUPT: errors.PoolCorruptError,
    lib.PMS_E_FORMAT: errors.PoolFormatError,
    lib.PMS_E_FULL: errors.PoolFullError,
    lib.PMS_E_BUSY: errors.PoolBusyError,
    lib.PMS_E_CLOSED: errors.PoolClosedError,
    lib.PMS_E_DURABILITY: errors.DurabilityError,
    lib.PMS_E_TX: errors.TransactionError,
    lib.PMS_E_STALE: errors.StaleRefError,
    lib.PMS_E_MEDIA: errors.MediaError,
    lib.PMS_E_OS: OSError,
    lib.PMS_E_NOMEM: MemoryError,
    lib.PMS_E_TIMEOUT: errors.TransactionError,
    lib.PMS_E_INTR: InterruptedError,
    lib.PMS_E_CHANGED: RuntimeError,
    lib.PMS_E_FORKED: errors.PoolClosedError,
    lib.PMS_E_READONLY: errors.TransactionError,
    lib.PMS_E_POISONED: errors.MediaError,
    lib.PMS_E_INVAL: ValueError,
}


def test_every_status_has_an_exception() -> None:
    enum = dict(ffi.typeof("enum pms_status").elements)
    assert set(EXPECTED) == set(enum) - {lib.PMS_OK, lib.PMS_MISSING, lib.PMS_E_WAIT}


@pytest.mark.parametrize("status", EXPECTED)
def test_message_names_what_where_and_the_numbers(status: int) -> None:
    error = exception_for(status, NUMBERS, "shop.pool")
    assert type(error) in (EXPECTED[status], FileNotFoundError)
    assert "growing the heap" in str(error)
    if isinstance(error, errors.PmemstoreError):
        assert "shop.pool" in str(error)
        assert (error.path, error.offset, error.wanted, error.found) == (
            "shop.pool",
            4096,
            1000,
            10,
        )
        copy = pickle.loads(pickle.dumps(error))  # as between processes of a test runner
        assert (str(copy), vars(copy)) == (str(error), vars(error))
        assert getattr(copy, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("status", EXPECTED)
def test_message_reads_well_without_numbers(status: int) -> None:
    text = str(exception_for(status, Detail(), None))
    assert text
    assert "None" not in text
    assert ": :" not in text


def test_os_status_is_the_oserror_that_python_would_raise() -> None:
    error = exception_for(lib.PMS_E_OS, Detail(what="creating", sys_errno=2), "a.pool")
    assert isinstance(error, FileNotFoundError)
    assert error.filename == "a.pool"


def test_unknown_status_is_reported_as_a_bug() -> None:
    with pytest.raises(errors.PmemstoreError, match="unknown status 4711"):
        check(4711)


def test_check_returns_ok_and_missing() -> None:
    assert check(lib.PMS_OK) == 0
    assert check(lib.PMS_MISSING) == 1


def test_numbers_are_of_this_thread_and_used_once() -> None:
    text = ffi.new("char[]", b"testing")
    detail = lib.pms_detail()
    detail.what, detail.want, detail.have = text, 5, 3
    with ThreadPoolExecutor(1) as other:
        error = other.submit(check, lib.PMS_E_INVAL).exception()
    assert str(error) == "argument out of range"
    with pytest.raises(ValueError, match=r"^testing \(expected 5, found 3\)$"):
        check(lib.PMS_E_INVAL)
    with pytest.raises(ValueError, match=r"^argument out of range$"):
        check(lib.PMS_E_INVAL)


def test_builtins_that_fit_also_catch() -> None:
    assert issubclass(errors.NotPersistableError, TypeError)
    assert issubclass(errors.PoolClosedError, ValueError)
    assert issubclass(errors.MediaError, OSError)
    assert all(issubclass(getattr(errors, n), errors.PmemstoreError) for n in errors.__all__)


def test_source_tree_without_the_core_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "pmemstore/_native").mkdir(parents=True)
    (tmp_path / "pmemstore/__init__.py").touch()
    for name in ("errors.py", "_native/__init__.py"):
        shutil.copy(ROOT / "pmemstore" / name, tmp_path / "pmemstore" / name)
    # -S: without the installed package, and without what an editable install redirects.
    run = [sys.executable, "-S", "-c", "import pmemstore._native"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: the compiled core of pmemstore is missing" in done.stderr
    assert "pip install ." in done.stderr


def stub_line(name: str) -> str:
    """The line of _core.pyi for a name of lib, as far as the compiler knows it."""
    value = getattr(lib, name)
    if isinstance(value, int):
        return f"    {name}: Final[int]"
    kind = ffi.typeof(value)
    if kind.kind != "function":
        return f"    {name}: CData"

    def python_type(ctype: ffi.CType) -> str:
        if ctype.kind in ("primitive", "enum"):
            plain = {"_Bool": "bool", "float": "float", "double": "float", "char": "bytes"}
            return plain.get(ctype.cname, "int")
        return "None" if ctype.kind == "void" else "CData"

    arguments = "".join(f", a{i}: {python_type(arg)}" for i, arg in enumerate(kind.args))
    slash = ", /" if arguments else ""
    return f"    def {name}(self{arguments}{slash}) -> {python_type(kind.result)}: ..."


def test_stub_has_every_name_of_the_core_with_its_argument_count() -> None:
    """A cdef line without a stub line would make mypy believe what is not."""
    classes = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)]
    stub: dict[str, int | None] = {}
    for node in next(c for c in classes if c.name == "_Lib").body:
        if isinstance(node, ast.FunctionDef):
            stub[node.name] = len(node.args.args) + len(node.args.posonlyargs) - 1
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stub[node.target.id] = None
    real = {
        name: len(ffi.typeof(getattr(lib, name)).args) if callable(getattr(lib, name)) else None
        for name in dir(lib)
    }
    lacking = [stub_line(name) for name in real if stub.get(name, -1) != real[name]]
    assert not lacking, "put into _core.pyi, with real argument names:\n" + "\n".join(lacking)
    assert not set(stub) - set(real), "not in core.cdef.txt"
