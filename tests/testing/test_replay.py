"""``python -m pmemstore.testing IMAGE``: what was kept of a violation is judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pmemstore
from pmemstore.mapping import Mapping
from pmemstore.testing import CrashViolation, acknowledge, crash_check, crash_check_mapping
from pmemstore.testing.__main__ import main


def put(pool: pmemstore.Pool) -> None:
    acknowledge(("order", 1))
    pool.root["order"] = 1


def never(pool: pmemstore.Pool) -> bool:
    """Holds for no pool that has an order, and for all others."""
    return "order" not in pool.root


def told(pool: pmemstore.Pool, values: tuple[object, ...]) -> bool:
    return ("order", 1) not in values or "order" in pool.root


def flagged(mapping: Mapping) -> bool:
    with mapping.view() as view:
        return bool(view[64] or not view[0])


def store(mapping: Mapping) -> None:
    with mapping.view() as view:
        view[0] = view[64] = 1
    mapping.persist()


def kept(folder: Path, *args: object, **options: object) -> Path:
    with pytest.raises(CrashViolation) as found:
        crash_check(*args, keep=folder, **options)  # type: ignore[arg-type] # handed on
    assert found.value.image is not None
    assert found.value.image.parent == folder
    assert f"to see it again: python -m pmemstore.testing {found.value.image}" in str(found.value)
    return found.value.image


def test_with_its_invariant_and_what_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = kept(tmp_path, put, told, media="direct")
    before = image.read_bytes()
    assert main([str(image), "--invariant", f"{__file__}:told"]) == 1
    text = capsys.readouterr().out
    assert "when it was found: after a crash the invariant told returned False" in text
    assert "acknowledged: ('order', 1)" in text
    assert "contents: {}" in text
    assert "now: the invariant told returned False" in text
    assert image.read_bytes() == before  # a copy is opened


def test_a_violation_is_told_also_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CrashViolation) as found:
        crash_check(put, told, keep=tmp_path / "file")
    assert found.value.image is None
    assert "to see it again: nothing was kept: " in str(found.value)


def test_another_invariant_may_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = kept(tmp_path, put, told, media="file")
    assert main([str(image), "--invariant", f"{__file__}:never"]) == 0
    assert "sound by itself, and the invariant holds" in capsys.readouterr().out
    assert main([str(image)]) == 0
    assert "sound by itself, and no invariant was given" in capsys.readouterr().out


def test_the_medium_is_that_of_the_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "dax-fsync")
    for medium in ("direct", "file", "eadr"):
        image = kept(tmp_path / medium, put, told, media=medium)
        facts = json.loads(image.with_suffix(".json").read_text())
        assert facts["medium"] == medium
        assert facts["acknowledged"] == ["('order', 1)"]
        assert main([str(image), "--invariant", f"{__file__}:told"]) == 1
        assert main([str(image), "--medium", "file", "--invariant", f"{__file__}:told"]) == 1


def test_an_image_of_a_mapping_needs_its_invariant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CrashViolation) as found:
        crash_check_mapping(store, flagged, media="direct", keep=tmp_path)
    image = str(found.value.image)
    assert main([image, "--invariant", f"{__file__}:flagged"]) == 1
    assert "now: the invariant flagged returned" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([image])
    assert ended.value.code == 2
    assert "only its --invariant can judge it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/image"], "no such image"),
        ([__file__, "--invariant", "no/such.py:name"], "no file of Python"),
        ([__file__, "--invariant", f"{__file__}:nobody"], "has no function 'nobody'"),
    ],
)
def test_what_is_not_there_is_said_so(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_an_image_without_its_notes_is_judged_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "some.image"
    image.write_bytes(b"no pool at all" * 1000)
    assert main([str(image)]) == 1
    assert "now: the pool cannot be opened" in capsys.readouterr().out
