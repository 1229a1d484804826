"""Find every call of the door in the core's C files, and leave each out in turn.

A *door call* is a call of a function of persist.h that makes something durable.  A *carrier* is a
function of the core that contains one and is called from more than one place.  There is a mutant
for each door call, and one for each call of a carrier and each kind of door call in it: so
`fence_frames(tx)` behind UNDO, behind COMMIT and behind REDO are three mutants, and what the
carrier remembers in DRAM stays right.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

# What is left out, and what stays: MUTE_... of mutant.h.
DOOR = {
    "pms_flush": "FLUSH",
    "pms_store_nt": "FLUSH",  # becomes pms_store
    "pms_fence": "FENCE",
    "pms_sync": "SYNC",
    "pms_sync_all": "SYNC",
    "pms_sync_range": "SYNC",
    "pms_sync_dir": "SYNC",
    "pms_write_sync": "SYNC",  # becomes pms_write
    "pms_write": "WRITE",
}
# These run on one kind of medium alone; the other kind's calls below them are never reached.
MEDIUM = {"tx_direct.c": {"FLUSH", "FENCE"}, "tx_file.c": {"SYNC", "WRITE"}}
VOID_DOOR = {"pms_flush", "pms_store_nt", "pms_fence"}
# The door itself, and what is no part of a pool's protocol.
NOT_CORE = {"persist", "machine", "core"}
WORDS_BEFORE_PAREN = {"if", "for", "while", "switch", "return", "sizeof", "do", "else"}


@dataclass(frozen=True)
class Edit:
    file: str  # under pmemstore/_native
    old: str  # snippet; white space counts as any white space
    new: str


@dataclass(frozen=True)
class Mutant:
    name: str
    rule: str
    edits: tuple[Edit, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)  # file: whole new text
    prelude: str = ""  # behind the includes of each file of edits
    by: tuple[str, ...] = ()  # tests that find it; (): the explorer
    quick: bool = False


@dataclass(frozen=True)
class Function:
    name: str
    void: bool
    start: int  # of the definition's first line
    body: int  # of the opening brace
    end: int


def blank_comments(text: str) -> str:
    """Comments and the inside of strings become blanks; offsets stay."""
    tokens = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return tokens.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def functions_of(text: str) -> list[Function]:
    """Definitions of a file laid out by clang-format: they start and end in the first column."""
    head = re.compile(
        r"^(?P<type>(?:static |inline |const |struct |enum )*\w+(?: \*+)?) ?\*?"
        r"(?P<name>\w+)\((?P<args>[^;{}]*)\)\s*\{",
        re.MULTILINE,
    )
    found = []
    for match in head.finditer(text):
        body = match.end() - 1
        end = matching(text, body, "{", "}")
        void = match["type"].split()[-1] == "void"
        found.append(Function(match["name"], void, match.start(), body, end))
    return found


def matching(text: str, start: int, opening: str, closing: str) -> int:
    depth = 0
    for at in range(start, len(text)):
        if text[at] == opening:
            depth += 1
        elif text[at] == closing:
            depth -= 1
            if depth == 0:
                return at + 1
    raise ValueError(f"no {closing} for the {opening} at {start}")


@dataclass(frozen=True)
class Call:
    name: str
    start: int
    end: int
    function: str  # that it stands in
    number: int  # of the same call in the same function


def calls_of(text: str, names: set[str], functions: list[Function]) -> list[Call]:
    """Calls inside function bodies, in order."""
    calls = []
    counts: dict[tuple[str, str], int] = {}
    for function in functions:
        for match in re.finditer(r"\b(\w+)\(", text[function.body : function.end]):
            if match[1] not in names:
                continue
            start = function.body + match.start()
            end = matching(text, function.body + match.end() - 1, "(", ")")
            key = (function.name, match[1])
            counts[key] = counts.get(key, 0) + 1
            calls.append(Call(match[1], start, end, function.name, counts[key]))
    return calls


def core_files(native: Path) -> list[Path]:
    return [
        path
        for path in sorted(native.glob("*.c"))
        if re.split(r"[_.]", path.name)[0] not in NOT_CORE
    ]


def left_out(native: Path) -> list[Mutant]:
    """One mutant for each door call and each call of a carrier."""
    text = {path.name: blank_comments(path.read_text()) for path in core_files(native)}
    functions = {name: functions_of(body) for name, body in text.items()}
    kinds: dict[str, set[str]] = {}  # of a carrier
    void = dict.fromkeys(VOID_DOOR, True) | dict.fromkeys(set(DOOR) - VOID_DOOR, False)
    for name, body in text.items():
        for call in calls_of(body, set(DOOR), functions[name]):
            kinds.setdefault(call.function, set()).add(DOOR[call.name])
        for function in functions[name]:
            void[function.name] = function.void
    called = [
        call.name
        for name, body in text.items()
        for call in calls_of(body, set(kinds), functions[name])
    ]
    kinds = {name: found for name, found in kinds.items() if called.count(name) > 1}
    mutants = []
    for name, body in text.items():
        source = (native / name).read_text()
        for call in calls_of(body, set(DOOR) | set(kinds), functions[name]):
            for kind in sorted(kinds.get(call.name, {DOOR.get(call.name, "")})):
                if kind not in MEDIUM.get(name, kind):
                    continue
                macro = "MUTED_VOID" if void[call.name] else "MUTED"
                inside = source[call.start : call.end]
                changed = f"{macro}(MUTE_{kind}, {inside})"
                where = f"{name.removesuffix('.c')}:{call.function}:{call.name}"
                where += f":{call.number}" if call.number > 1 else ""
                where += f":{kind.lower()}" if call.name in kinds else ""
                mutants.append(
                    Mutant(
                        where,
                        f"no {kind.lower()} in {call.name}() called by {call.function}()",
                        texts={name: source[: call.start] + changed + source[call.end :]},
                    )
                )
    return mutants


def edited(native: Path, mutant: Mutant) -> dict[str, str]:
    """The new text of each file it changes.  ValueError: a snippet is not there once."""
    texts = dict(mutant.texts)
    for edit in mutant.edits:
        text = texts.get(edit.file) or (native / edit.file).read_text()
        pattern = r"\s+".join(re.escape(word) for word in edit.old.split())
        places = list(re.finditer(pattern, text))
        if len(places) != 1:
            raise ValueError(
                f"{mutant.name}: this occurs {len(places)} times in {edit.file}:\n{edit.old}"
            )
        texts[edit.file] = text[: places[0].start()] + edit.new + text[places[0].end() :]
    for name, text in texts.items():
        includes = list(re.finditer(r"^#include .*\n", text, re.MULTILINE))
        at = includes[-1].end()
        texts[name] = f'{text[:at]}#include "mutant.h"\n{mutant.prelude}\n{text[at:]}'
    return texts


def problem(native: Path, mutant: Mutant) -> str:
    """What is wrong with the mutant's snippets; "" if each is there once."""
    try:
        edited(native, mutant)
    except ValueError as error:
        return str(error)
    return ""
