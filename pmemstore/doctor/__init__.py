"""Why a file or directory has the tier it has, and the commands that would raise it.

``examine(path)`` collects facts by harmless probes (facts.py), holds a table of rules against
them (rules.py) and returns a ``Report`` (report.py).  The facts are plain data, and the rules
look at nothing else: both can be recorded on one machine and judged on another.
"""

from pmemstore.doctor.facts import Facts, collect
from pmemstore.doctor.report import Advice, Report, examine, judge
from pmemstore.doctor.rules import RULES, Rule

__all__ = ["RULES", "Advice", "Facts", "Report", "Rule", "collect", "examine", "judge"]
