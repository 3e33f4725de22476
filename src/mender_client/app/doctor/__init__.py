"""``doctor``: looks at everything that an update needs, and says of each what was found and what to do.

It changes nothing on the device, and nothing on the server but asking, as the daemon asks. Every check stands in one
of the tables; ``docs/guide/troubleshooting.md`` has an entry for each of them.
"""

from .findings import Finding, Verdict
from .report import CHECKS, give_verdict, run_doctor

__all__ = ["CHECKS", "Finding", "Verdict", "give_verdict", "run_doctor"]
