"""``doctor``: checks everything that an update needs, and reports what it has found and what to do.

It changes nothing on the device, and only authenticates with the server, as the daemon does. Every check is in
``CHECKS``; ``docs/guide/troubleshooting.md`` has a section for each of them.
"""

from .report import CHECKS, print_summary, run_doctor
from .results import CheckResult, Verdict

__all__ = ["CHECKS", "CheckResult", "Verdict", "print_summary", "run_doctor"]
