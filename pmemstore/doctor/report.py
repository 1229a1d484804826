"""The doctor's report: facts, tier, and the advice of all rules that apply."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
from dataclasses import dataclass
from typing import Any

from pmemstore.doctor.facts import Facts, collect
from pmemstore.doctor.rules import RULES, Rule

__all__ = ["Advice", "Report", "examine", "judge"]

_HEADINGS = {
    "tier": "would raise the tier",
    "speed": "would make it faster",
    "risk": "endangers data",
    "note": "good to know",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What a rule has to say.

    Attributes:
        code: Stable name: ``block-size``.
        kind: ``tier``: in the way of a better one; ``speed``; ``risk``; ``note``.
        gives: Tier that it leads to, if nothing else is in the way; None: none.
        text: A sentence.
        commands: To be run by a person; nothing runs them here.
    """

    code: str
    kind: str
    gives: str | None
    text: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Facts and advice.

    Attributes:
        facts: As collected.
        advice: In the order of importance.
    """

    facts: Facts
    advice: tuple[Advice, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what json can print."""
        facts = dataclasses.asdict(self.facts)
        head = {name: facts.pop(name) for name in ("path", "kind", "probed", "tier", "reason")}
        return {
            **head,
            "advice": [dataclasses.asdict(advice) for advice in self.advice],
            "facts": {**head, **facts},
        }

    def __str__(self) -> str:
        facts = self.facts
        tier = facts.tier or "unknown"
        lines = [
            f"{facts.path}: tier {tier}",
            _wrapped(facts.reason or facts.unknown.get("tier", "nothing was mapped")),
        ]
        if facts.probed == "temporary file":
            lines.append("    (of a new file in this directory; it has been removed)")
        for kind, heading in _HEADINGS.items():
            for advice in self.advice:
                if advice.kind != kind:
                    continue
                goal = f", to {advice.gives}" if advice.gives else ""
                lines += ["", f"[{advice.code}] {heading}{goal}", _wrapped(advice.text)]
                lines += [f"        $ {command}" for command in advice.commands]
        if facts.unknown or facts.device.unknown:
            lines += ["", "unknown"]
            for name, why in {**facts.device.unknown, **facts.unknown}.items():
                lines.append(f"    {name}: {why}")
        return "\n".join(lines)


def _wrapped(text: str) -> str:
    indent = "    "
    return textwrap.fill(text, 96, initial_indent=indent, subsequent_indent=indent)


def examine(path: str) -> Report:
    """Collect the facts about a path and judge them.

    Args:
        path: A regular file, or a directory.

    Raises:
        OSError: It is not there, or may not be read.
        ValueError: It is neither.
    """
    return judge(collect(path))


def judge(facts: Facts) -> Report:
    """Hold all rules against facts.  Looks at nothing else."""
    advice = tuple(_advise(rule, facts) for rule in RULES if rule.applies(facts))
    order = list(_HEADINGS)
    return Report(facts, tuple(sorted(advice, key=lambda each: order.index(each.kind))))


def _advise(rule: Rule, facts: Facts) -> Advice:
    device = facts.device
    # Outside a mount table these are what people replace by hand.
    source = facts.mount_source if (facts.mount_source or "").startswith("/") else "DEVICE"
    words = {
        "path": facts.path,
        "folder": facts.folder,
        "source": source or "DEVICE",
        "mount": facts.mount_point or "MOUNTPOINT",
        "namespace": device.namespace or "NAMESPACE",
        "region": device.region or "REGION",
        "disk": f"/dev/{device.name}" if device.name else "DEVICE",
    }
    quoted = {name: shlex.quote(word) for name, word in words.items()}
    values = {
        **words,
        "fs": facts.fs or "this file system",
        "kernel": facts.kernel,
        "page_size": facts.page_size,
        "block_size": facts.block_size,
        "map_sync": facts.map_sync,
        "forced": facts.forced,
        "size": facts.size,
        "below": ", ".join(device.below),
        "start": device.start,
        "provider": device.provider or "?",
        "layout": facts.btrfs_data,
        "why": facts.unknown.get("tier", ""),
        "bad": sum(length for _, length in device.badblocks or ()),
        "modules": ", ".join(f"{d.name} ({' '.join(d.flags or ())})" for d in device.dimms or ()),
    }
    return Advice(
        code=rule.code,
        kind=rule.kind,
        gives=rule.gives,
        text=rule.text.format_map(values),
        commands=tuple(command.format_map({**values, **quoted}) for command in rule.commands),
    )
