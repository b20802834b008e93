# SPDX-License-Identifier: Apache-2.0
"""Texts from a shell: escapes become characters, LaTeX is kept, and a text that looks like a list is detected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.config import from_home, printable, read_escapes, several_in_one, write_escapes


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (r"{question}\nA:", "{question}\nA:"),
        (r"\n\n", "\n\n"),
        (r"Q:\t{question}\r\n", "Q:\t{question}\r\n"),
        (r"\nthe answer,\nnow,\treally", "\nthe answer,\nnow,\treally"),
        (r"{question}\ni think", "{question}\ni think"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\\text", r"\text"),
        ("a\nb\tc", "a\nb\tc"),
        ("no backslash", "no backslash"),
    ],
)
def test_escapes_are_read(given, text):
    assert read_escapes(given) == text


@pytest.mark.parametrize(
    "text",
    [
        r"\textsuperscript{2}", r"\nicefrac{1}{2}", r"\raisebox", r"\ngeqslant", r"\title",
        r"\boxed{72}", r"\frac{1}{2} \cdot 3", r"\times", r"\text{ kg}", r"\theta_1", r"\tan(x)", r"\tfrac12", r"\to",
        r"\neq", r"\ne 3", r"\nabla f", r"\not=", r"\nu", r"\right)", r"\rho", r"\rightarrow", r"\rangle", r"\(x\)",
        r"\[x\]", r"\{", r"\,", r"\x41", r"\u00e9", r"\0", r"\d+", "\\", "a\\",
    ],
)  # fmt: skip
def test_every_other_backslash_is_kept(text):
    assert read_escapes(text) == text


def test_latex_next_to_a_line_feed_is_kept():
    given = r"{question}\nPut it in \boxed{}, as \text{kg} \times 2.\nAnswer:\t"
    assert read_escapes(given) == "{question}\nPut it in \\boxed{}, as \\text{kg} \\times 2.\nAnswer:\t"


def test_texts_are_written_with_escapes():
    assert write_escapes("Q:\t{question}\r\n\\boxed\\") == r"Q:\t{question}\r\n\\boxed" + 2 * "\\"


@given(text=st.lists(st.sampled_from(["\n", "\t", "\r", "\\", "n", "eq", "ext", "A:", " "])).map("".join))
def test_written_escapes_are_read_back(text):
    assert read_escapes(write_escapes(text)) == text


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["A:,B:"], ["A:", "B:"]),
        (["A:, B:, C:"], ["A:", "B:", "C:"]),
        (["\n\n;Q:"], ["\n\n", "Q:"]),
        (["</s>|<|im_end|>"], ["</s>", "<|im_end|>"]),
        (['["A:", "B:"]'], ["A:", "B:"]),
        (["('A:', 'B:')"], ["A:", "B:"]),
        (["'A:' 'B:'"], ["A:", "B:"]),
        (["[/INST],(a)"], ["[/INST]", "(a)"]),
        ([], []),
        (["A:"], []),
        (["A:", "B:,C:"], []),
        ([","], []),
        (["First, "], []),
        (["\n\nQ: "], []),
        (["<|im_end|>"], []),
        (["[/INST]"], []),
        (["the answer is"], []),
    ],
)
def test_one_text_that_looks_like_a_list_is_split(texts, parts):
    assert several_in_one(texts) == parts


@given(st.text() | st.text("\x1b\x07\x9b\r\b\u202e\u2028\ud800[]m2J\n"))
def test_a_terminal_gets_only_characters_that_it_prints_and_the_same_lines(text):
    shown = printable(text)
    assert all(line.isprintable() for line in shown.split("\n")) and shown.count("\n") == text.count("\n")
    shown.encode()
    if text.isprintable():
        assert shown == text


def test_a_line_of_a_megabyte_is_cut_and_keeps_its_end():
    shown = printable("x" * 10**6 + ": give a shorter one")
    assert len(shown) < 2100 and shown.endswith(": give a shorter one") and "1,000,020 characters" in shown


def test_the_home_folder_is_found_at_the_start_alone_and_a_missing_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert from_home("~/a/b") == tmp_path / "a" / "b" and from_home("~") == tmp_path
    assert [str(from_home(text)) for text in ("a/~", "./~", "a b")] == ["a/~", "~", "a b"]
    with pytest.raises(ValueError, match="~nobody_here/a cannot be found: there is no home folder ~nobody_here; write"):
        from_home("~nobody_here/a")
