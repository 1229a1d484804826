"""Files that are no pools, damaged pools, and files that change under an open pool."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import PoolCorruptError, PoolFormatError

if TYPE_CHECKING:
    from conftest import Medium, Opener


def python(code: str, *arguments: object) -> str:
    """Run a program in another interpreter, which must end by itself and well."""
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-c", textwrap.dedent(code)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def make_pool(path: Path) -> Path:
    rng = random.Random(1)
    with pmemstore.open(path, "n", size="1M", log_size="64K") as pool:
        for i in range(200):
            pool.root[f"key {i}"] = rng.choice(
                [i, "ä text " * 20, {"a": [1, {"b": "long " * 30}]}, (1, 2.5), 2**90, "y" * 3000]
            )
        pool.root["dict"] = {i: str(i) for i in range(500)}
        pool.root["list"] = [f"item {i}" for i in range(700)]
        for i in range(0, 200, 3):
            del pool.root[f"key {i}"]
    return path


# ---- not a pool -------------------------------------------------------------------------


FOREIGN = {
    "empty": b"",
    "short": b"pool",
    "text": b"a file of text\n" * 10_000,
    "sqlite": b"SQLite format 3\0" + bytes(100_000),
    "zeroes": bytes(1 << 20),
    "ones": b"\xff" * (1 << 20),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("flag", ["r", "w", "c"])
def test_foreign_file_is_refused_and_left_alone(kind: str, flag: str, tmp_path: Path) -> None:
    """PoolFormatError names the file; not a byte of it changes."""
    path = tmp_path / "foreign"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(PoolFormatError, match="not a pool") as caught:
        pmemstore.open(path, flag)
    assert caught.value.path == str(path)
    assert path.read_bytes() == FOREIGN[kind]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", FOREIGN)
def test_new_pool_replaces_pools_and_empty_files_alone(kind: str, tmp_path: Path) -> None:
    """Flag n does not destroy somebody's data that has the pool's name by mistake."""
    path = tmp_path / "foreign"
    path.write_bytes(FOREIGN[kind])
    if kind == "empty":
        pmemstore.open(path, "n").close()
        return
    with pytest.raises(PoolFormatError):
        pmemstore.open(path, "n")
    assert path.read_bytes() == FOREIGN[kind]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Directories, devices, pipes, missing folders: OSError or PoolFormatError, at once.

    A device reads as if it were an empty file; flag n once replaced one.
    """
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    odd = [tmp_path / name for name in ("folder", "pipe", "loop")]
    try:
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null
        odd.append(tmp_path / "device")
    except PermissionError:
        pass  # only root may
    before = {path: path.lstat().st_mode for path in odd}
    for path in (*odd, tmp_path / "no" / "x"):
        for flag in "rwcn":
            with pytest.raises((OSError, PoolFormatError)):
                pmemstore.open(path, flag)
    with pytest.raises(FileNotFoundError):
        pmemstore.open(tmp_path / "missing", "w")
    assert {path: path.lstat().st_mode for path in odd} == before
    assert sorted(tmp_path.iterdir()) == sorted(odd)


@pytest.mark.parametrize("flag", ["c", "n"])
def test_symbolic_link_stays_a_link(flag: str, tmp_path: Path) -> None:
    """The pool is made, and made anew, where the link points to, even if nothing is there yet."""
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to(target)
    for number in range(2):
        with pmemstore.open(link, flag) as pool:
            pool.root[number] = number
            assert pool.path == str(link)
        assert link.is_symlink()
        with pmemstore.open(target, "r") as pool:
            assert pool.root == (
                {1: 1} if flag == "n" and number else dict(enumerate(range(number + 1)))
            )
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["folder", "link", "target"]


# ---- damaged ----------------------------------------------------------------------------


def test_truncated_file_is_noticed_at_open(tmp_path: Path) -> None:
    """Whatever is missing at the end: an error that tells both sizes, and no signal."""
    whole = make_pool(tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    for length in (1, 100, 4096, 8192, 65_536, 500_000, len(whole) - 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        for flag in "rw":
            with pytest.raises((PoolCorruptError, PoolFormatError)) as caught:
                pmemstore.open(path, flag)
            if isinstance(caught.value, PoolCorruptError):
                assert "truncated" in str(caught.value)
                assert (caught.value.wanted, caught.value.found) == (len(whole), length)
        assert path.read_bytes() == whole[:length]


def test_one_damaged_superblock_is_repaired_from_the_other(tmp_path: Path) -> None:
    """Each of the two page-sized superblocks may go; both may not."""
    whole = make_pool(tmp_path / "whole").read_bytes()
    path = tmp_path / "damaged"
    for slots in ((0,), (1,)):
        data = bytearray(whole)
        for slot in slots:
            data[slot * 4096 + 16 : slot * 4096 + 80] = b"\xa5" * 64
        path.write_bytes(data)
        with pmemstore.open(path, "r") as pool:
            assert pool.root["dict"][7] == "7"
        assert path.read_bytes() == data
        with pmemstore.open(path, "w") as pool:
            assert pool.root["list"][699] == "item 699"
        with pmemstore.open(path, "w") as pool:
            assert pool.check().ok
    data = bytearray(whole)
    data[16:80] = data[4096 + 16 : 4096 + 80] = b"\xa5" * 64
    path.write_bytes(data)
    with pytest.raises((PoolCorruptError, PoolFormatError)):
        pmemstore.open(path, "w")


DAMAGE = """
    import random, sys
    import pmemstore
    from pmemstore import Dict, List, PmemstoreError

    source, victim, seed, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rng = random.Random(seed)
    whole = open(source, "rb").read()
    used = [at for at in range(0, len(whole), 8) if whole[at : at + 8] != bytes(8)]

    def spoil(data):
        at = rng.choice(used) if rng.random() < 0.8 else rng.randrange(len(data) - 64) & ~7
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 8] = rng.randbytes(8)
        elif kind == 2:
            data[at : at + 64] = bytes(64)
        elif kind == 3:
            other = rng.choice(used)
            data[at : at + 8] = whole[other : other + 8]
        else:
            number = rng.choice([0, 1, 2**63, 2**64 - 1, rng.randrange(len(data))])
            data[at : at + 8] = number.to_bytes(8, "little")
        assert len(data) == len(whole)

    def walk(top):
        stack, seen = [top], 0
        while stack and seen < 20_000:
            value = stack.pop()
            seen += 1
            if isinstance(value, Dict):
                stack.extend(value.values())
            elif isinstance(value, List):
                stack.extend(value)

    fine = refused = found = 0
    for number in range(rounds):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 10])):
            spoil(data)
        with open(victim, "wb") as file:
            file.write(data)
        try:
            with pmemstore.open(victim, rng.choice("rw")) as pool:
                ok = pool.check().ok
                found += not ok
                walk(pool.root)
                if pool.flag == "w":
                    with pool.transaction():
                        for i in range(20):
                            pool.root["new", i] = {"a": [i, "x" * 100]}
                    for key in list(pool.root)[:30]:
                        pool.root.pop(key, None)  # a damaged key may not be found
                    pool.root["list"] = list(range(100))
                    pool.collect()
                fine += ok
        except (PmemstoreError, OSError):
            refused += 1
        except Exception:
            print("round", number, "of seed", seed)
            raise
    print(fine, refused, found)
"""


def test_random_damage_is_a_named_error_or_found_by_the_check(tmp_path: Path) -> None:
    """Bits, words and lines anywhere: never a signal, an endless loop or a strange exception."""
    source = make_pool(tmp_path / "whole")
    _, refused, found = map(int, python(DAMAGE, source, tmp_path / "v", 5, 150).split())
    assert refused > 0
    assert found > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["closed", "killed"])
def test_much_random_damage(seed: int, kind: str, medium: Medium) -> None:
    """The same with thousands of files, also such that need recovery."""
    source = make_pool(medium.folder / "whole")
    if kind == "killed":
        kill_inside_a_block(source)
    print(python(DAMAGE, source, medium.folder / "v", seed, 400))


def kill_inside_a_block(path: Path) -> None:
    code = """
        import os, signal, sys, pmemstore
        pool = pmemstore.open(sys.argv[1], "w")
        for i in range(100):
            pool.root["dict"][i] = "x" * i
        block = pool.transaction()
        block.__enter__()
        for i in range(500):
            pool.root["dict"][i] = "y" * 100
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(code), str(path)])
    assert done.returncode == -signal.SIGKILL


# ---- while it is open -------------------------------------------------------------------


TRUNCATE = """
    import os, sys
    import pmemstore
    from pmemstore import MediaError, PoolCorruptError

    path, length = sys.argv[1], int(sys.argv[2])
    pool = pmemstore.open(path, "w")
    text = pool.root["key 1"]
    os.truncate(path, length)
    refused = 0
    uses = [
        lambda: list(pool.root.items()),
        lambda: [value for value in pool.root["list"]],
        lambda: pool.root["dict"].update({i: "z" * 200 for i in range(500)}),
        lambda: pool.root.__setitem__("new", ["x" * 1000] * 500),
        pool.check,
        pool.checkpoint,
    ]
    for use in uses:
        try:
            use()
        except (MediaError, PoolCorruptError, OSError) as error:
            assert str(error)
            refused += 1
    try:
        pool.close()
    except (MediaError, PoolCorruptError, OSError):
        refused += 1
    print(refused)
"""


@pytest.mark.parametrize("length", [0, 4096, 70_000, 300_000])
def test_file_truncated_under_an_open_pool_is_an_exception(length: int, medium: Medium) -> None:
    """MediaError or PoolCorruptError where SIGBUS would have ended the interpreter."""
    path = make_pool(medium.folder / "t.pool")
    assert int(python(TRUNCATE, path, length)) > 0


def test_pool_copied_while_closed_is_a_pool(medium: Medium, open_pool: Opener) -> None:
    """shutil.copy, with either read afterwards; the two go their own ways."""
    path = make_pool(medium.folder / "one.pool")
    shutil.copy(path, medium.folder / "two.pool")
    one, two = open_pool(path), open_pool(medium.folder / "two.pool")
    assert one.root == two.root
    one.root["only"] = 1
    two.root["only"] = 2
    one.root["list"].append("x")
    assert (one.root["only"], two.root["only"]) == (1, 2)
    assert len(one.root["list"]) == len(two.root["list"]) + 1


def test_killed_pool_may_be_copied_before_it_is_recovered(
    medium: Medium, open_pool: Opener
) -> None:
    """The log travels with the file: both copies recover to the same state."""
    path = make_pool(medium.folder / "one.pool")
    kill_inside_a_block(path)
    shutil.copy(path, medium.folder / "two.pool")
    one, two = open_pool(path), open_pool(medium.folder / "two.pool")
    assert one.root["dict"][99] == "x" * 99
    assert one.root == two.root


def test_pool_moved_while_open_goes_on(medium: Medium, open_pool: Opener) -> None:
    """The open pool follows its file; the new name opens afterwards, the old one is free."""
    path, moved = medium.folder / "old.pool", medium.folder / "new.pool"
    pool = open_pool(path, "n", size="1M")
    pool.root["before"] = 1
    path.rename(moved)
    pool.root["after"] = ["x" * 100] * 20_000  # grows the file
    with pytest.raises(pmemstore.PoolBusyError):
        pmemstore.open(moved)
    other = open_pool(path, "c")
    assert other.root == {}
    pool.close()
    pool = open_pool(moved, "w")
    assert pool.root["before"] == 1
    assert len(pool.root["after"]) == 20_000


def test_pool_deleted_while_open_goes_on_until_it_is_closed(
    medium: Medium, open_pool: Opener
) -> None:
    """As with any open file: nothing fails, and the name stays gone."""
    path = medium.folder / "t.pool"
    pool = open_pool(path)
    path.unlink()
    pool.root["a"] = dict.fromkeys(range(1000), "x" * 1000)
    pool.checkpoint()
    assert pool.check().ok
    pool.close()
    assert not path.exists()
