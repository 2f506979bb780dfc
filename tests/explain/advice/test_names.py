"""What the table names exists, wherever the library is installed."""

from __future__ import annotations

from collections import Counter

import pytest

from otel_loopblock.explain.advice import KnownCall
from otel_loopblock.explain.advice.table import ENTRIES
from tests.explain.advice.names import look


def test_every_name_of_an_installed_library_is_found():
    findings = [(entry.pattern, look(entry)) for entry in ENTRIES]

    assert [(pattern, finding.what) for pattern, finding in findings if finding.status == "wrong"] == []
    assert Counter(finding.status for _, finding in findings)["found"] >= 200  # Python's own, at least


@pytest.mark.parametrize(
    ("pattern", "sentence", "complaint"),
    [
        ("time.slep", "Do.", "time has no slep"),
        ("json.dump*", "Use json.nothing(obj).", "json has no nothing"),
        ("json.dump*", "Use json.dumps(obj, indnt=1) in loop.run_in_executor(pool, f).", None),
        ("os.zz*", "Do.", "nothing that begins with zz"),
        ("shutil.copyfile", "Use shutil.copyfile(a, b, follow=True).", "no argument follow"),
        ("time.sleep", "Use await loop.sleep(1).", "has no sleep"),
    ],
)
def test_a_name_that_does_not_exist_is_seen(pattern, sentence, complaint):
    finding = look(KnownCall(pattern, sentence))

    assert finding.status == ("found" if complaint is None else "wrong")
    assert complaint is None or complaint in finding.what


def test_what_is_not_installed_is_said():
    assert look(KnownCall("no_such_library.call", "Do.")).status == "not installed"
