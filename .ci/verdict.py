"""Decide whether a test run counts: `verdict.py tests REPORT...`, with the reports in JUnit's format.

It counts if no test was skipped and every test function in the folder ran. So a test cannot get lost because a file, a
folder or a name is left out. No number has to be kept up to date for that: a removed test is visible in its commit.
"""

import ast
import sys
from pathlib import Path
from xml.etree import ElementTree


def main(folder: Path, reports: list[str]) -> None:
    # pytest wrote the reports a moment ago
    cases = [case for report in reports for case in ElementTree.parse(report).iter("testcase")]  # noqa: S314
    skipped = sum(case.find("skipped") is not None for case in cases)
    missing = written(folder) - {f"{case.get('classname')}.{case.get('name')}".partition("[")[0] for case in cases}
    print(f"{len(cases)} tests ran, {skipped} of them were skipped, {len(missing)} test functions did not run.")
    if skipped:
        sys.exit("No test may be skipped here. The summary of the run says what was missing on this machine.")
    if missing:
        sys.exit("These test functions did not run:\n" + "\n".join(sorted(missing)))


def written(folder: Path) -> set[str]:
    """The dotted name of every test function in the files of `folder`."""
    names = set()
    for path in folder.rglob("*.py"):
        module = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        names |= {f"{module}.{function.name}" for function in functions if function.name.startswith("test_")}
    return names


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
