"""Whether a test run counts: nothing skipped, and no fewer tests than tests/COUNT says."""

import sys
from pathlib import Path
from xml.etree import ElementTree

expected, *reports = sys.argv[1:]
# pytest wrote them a moment ago
suites = [suite for report in reports for suite in ElementTree.parse(report).iter("testsuite")]  # noqa: S314
ran, skipped = (sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped"))
wanted = int(Path(expected).read_text())
print(f"{ran} tests ran, {skipped} were skipped; {expected} asks for {wanted}.")
if skipped:
    sys.exit("Here nothing may be skipped: the summary above says what was missing.")
if ran < wanted:
    sys.exit(f"Tests are missing. When they were removed on purpose, write {ran} into {expected}.")
if ran > wanted:
    print(f"Write {ran} into {expected}, so that they cannot get lost.")
