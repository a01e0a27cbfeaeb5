"""The page on what is refused says what tests assert: each of its sentences stands in a test, word for word."""

from __future__ import annotations

import re

from helpers.paths import REPOSITORY, TESTING

PAGE = REPOSITORY / "docs" / "reference" / "what_we_refuse.md"
NO_SENTENCE = re.compile(r"^(\.\S*|\\x1b|x,y,z|anatomies|donors|ulimit -v)( \(1\)\.gz)?$|^\.\.\.$")


def test_every_sentence_of_the_page_stands_in_a_test() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in sorted((TESTING / "library").rglob("test_*.py")))
    joined = re.sub(r'"\s*\n\s*f?r?"', "", tests)  # a string that goes on in the next line
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    sentences = [text for row in rows for text in re.findall(r"`([^`]+)`", row[2])]
    asserted = [text for text in sentences if not NO_SENTENCE.match(text)]
    assert len(asserted) > 35
    missing = [text for text in asserted if text.removesuffix("...") not in joined]
    assert missing == []
