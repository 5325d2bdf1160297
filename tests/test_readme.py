"""The README's snippets run as they stand, and the files that documents name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_there_are_snippets():
    assert len(SNIPPETS) >= 2


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number, run_python):
    run_python(SNIPPETS[number])


DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("fastmlp/_kernels/*.md")]
NAMED = re.compile(r"(?<![\w/.])((?:\.\./)?(?:[\w-]+/)+[\w.-]+\.(?:py|pyx|pxd|h|c|md))\b")
OF_USERS = ("src/my_curve/__init__.py", "tests/test_my_curve.py")  # what `fastmlp plugins new` writes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_documents_name_are_there(document):
    folders = document.parent, ROOT, ROOT / "fastmlp", ROOT / "fastmlp" / "include"
    named = set(NAMED.findall(document.read_text(encoding="utf-8"))) - set(OF_USERS)
    assert [name for name in named if not any((folder / name).exists() for folder in folders)] == []
