"""The screens in the documents that only a deployment can give; `python -m tests.reports.docs --lab` pastes them."""

from __future__ import annotations

import pytest

from tests.reports import docs


@pytest.mark.usefixtures("lab")
def test_the_screens_of_the_lab_are_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs.ROOT)
    documents = {document for document, _ in docs.blocks(lab=True)}
    assert documents
    for document in documents:
        said = docs.pasted(document, docs.printed, lab=True)
        assert docs.steady(document.read_text()) == docs.steady(said), "run: python -m tests.reports.docs --lab"
