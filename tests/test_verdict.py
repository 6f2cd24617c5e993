"""The last step of `.ci/run`: a run counts only if every test ran."""

import subprocess
import sys

import pytest

from tests.environment import ROOT

TESTS = "def test_one(): ...\n\n\n@mark\ndef test_two(): ...\n\n\ndef helper(): ...\n"
ONE = '<testcase classname="tests.web.test_page" name="test_one[a-b]"/>'
TWO = '<testcase classname="tests.web.test_page" name="test_two"/>'
SKIPPED = '<testcase classname="tests.web.test_page" name="test_two"><skipped/></testcase>'


@pytest.mark.parametrize(
    "cases, words",
    [
        ((ONE, TWO), "2 tests ran"),
        ((ONE, SKIPPED), "No test may be skipped"),
        ((ONE,), "did not run:\ntests.web.test_page.test_two\n"),
        ((), "test_one"),
    ],
    ids=["complete", "skipped", "left-out", "empty"],
)
def test_a_run_counts_if_all_tests_ran(tmp_path, cases, words):
    page = tmp_path / "tests" / "web" / "test_page.py"
    page.parent.mkdir(parents=True)
    page.write_text(TESTS)
    reports = [tmp_path / "together.xml", tmp_path / "alone.xml"]
    reports[0].write_text(f"<testsuites><testsuite>{''.join(cases[:1])}</testsuite></testsuites>")
    reports[1].write_text(f"<testsuites><testsuite>{''.join(cases[1:])}</testsuite></testsuites>")
    command = [sys.executable, ROOT / ".ci" / "verdict.py", tmp_path / "tests", *reports]
    done = subprocess.run(command, capture_output=True, text=True)
    assert words in done.stdout + done.stderr
    assert (done.returncode == 0) is (cases == (ONE, TWO))
