# SPDX-License-Identifier: Apache-2.0
"""Decoding with offsets gives the tokenizer's own text and says which token wrote which character."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from ntl_jax.numerals import NumberTable, TokenDecoder, find_answer, sampled_numbers
from ntl_jax.numerals.tokens import _prefix_writer
from tests.small_tokenizers import KINDS, make_tokenizer

TEXTS = (
    "She pays 48/2=<<48/2=24>>24 dollars.\n#### 24",
    "#### -1,234.50€",
    "7 2 中文 é 🍎🍎 \u00a0\u200b ’–×  3",
    " #### 72",
    "",
)
# Two decoders of neither family, and the SentencePiece-style one that keeps the first space.
TINY_DECODERS = {
    "metaspace": decoders.Metaspace(),
    "none": None,
    "fallback": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return make_tokenizer(request.param)


@pytest.fixture(scope="module")
def decoder(tokenizer):
    return TokenDecoder(tokenizer)


def tiny_tokenizer(steps: decoders.Decoder | None) -> PreTrainedTokenizerFast:
    pieces = ["▁", "▁7", "2", "####", "é", *(f"<0x{byte:02X}>" for byte in (0xE2, 0x82, 0xAC, 0x37)), "<s>"]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    if steps is not None:
        backend.decoder = steps
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


@pytest.fixture(scope="module", params=TINY_DECODERS)
def tiny(request):
    return tiny_tokenizer(TINY_DECODERS[request.param])


def own_text(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def written_by_each(text: str, starts: np.ndarray) -> list[str]:
    return [text[start:end] for start, end in itertools.pairwise([*starts.tolist(), len(text)])]


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_is_the_tokenizers_own_and_special_tokens_write_nothing(tokenizer, decoder, text):
    ids = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    decoded, starts = decoder(np.array(ids))
    assert decoded == own_text(tokenizer, ids)
    assert starts.shape == (len(ids),)
    assert starts[-1] == len(decoded)
    assert "".join(written_by_each(decoded, starts)) == decoded


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_ids_decode_as_the_tokenizer_decodes_them(tokenizer, decoder, data):
    some = st.integers(0, len(tokenizer) + 20) | st.integers(0, 800)
    ids = data.draw(st.lists(some, max_size=12))
    decoded, starts = decoder(ids)
    assert decoded == own_text(tokenizer, ids)
    assert np.all(np.diff([0, *starts, len(decoded)]) >= 0)


@given(ids=st.lists(st.integers(0, 11), max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_tokenizers_of_other_kinds_decode_as_they_do_themselves(tiny, ids):
    decoded, starts = TokenDecoder(tiny)(ids)
    assert decoded == own_text(tiny, ids)
    assert np.all(np.diff([0, *starts, len(decoded)]) >= 0)


def test_a_split_character_belongs_to_the_token_that_completes_it():
    decoded, starts = TokenDecoder(tiny_tokenizer(TINY_DECODERS["fallback"]))([3, 5, 6, 7, 2])
    assert decoded == "####€2"
    assert written_by_each(decoded, starts) == ["####", "", "", "€", "2"]


def by_whole_prefixes(tokenizer, ids) -> list[str]:
    """The text of each token, by decoding every prefix from the first token."""
    text, ends = own_text(tokenizer, ids), [0]
    for t in range(1, len(ids)):
        prefix = own_text(tokenizer, ids[:t])
        same = (i for i, (a, b) in enumerate(zip(text, prefix, strict=False)) if a != b)
        ends.append(max(ends[-1], next(same, min(len(text), len(prefix)))))
    return [text[start:end] for start, end in itertools.pairwise([*ends, len(text)])]


LONG = "".join(f"{i} apples ’–× 中文\u200b {i}🍎é  \n" for i in range(40))


def test_decoding_a_window_equals_decoding_whole_prefixes(tokenizer):
    ids = tokenizer(LONG, add_special_tokens=False).input_ids
    ids[100:100] = [tokenizer.eos_token_id] * 50
    assert _prefix_writer(tokenizer)(ids) == by_whole_prefixes(tokenizer, ids)


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_decoding_a_window_of_any_long_response_equals_decoding_from_its_start(tokenizer, data):
    some = st.integers(0, len(tokenizer) - 1) | st.integers(0, 800)
    ids = data.draw(st.lists(some, min_size=60, max_size=120))
    assert _prefix_writer(tokenizer)(ids) == by_whole_prefixes(tokenizer, ids)


@given(ids=st.lists(st.integers(0, 10), min_size=60, max_size=160))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_long_responses_of_other_kinds_of_tokenizers_too(tiny, ids):
    assert _prefix_writer(tiny)(ids) == by_whole_prefixes(tiny, ids)


class Counting:
    """A tokenizer that counts the ids that it decodes."""

    def __init__(self, tokenizer):
        self.tokenizer, self.num_decoded = tokenizer, 0
        self.all_special_ids, self.added_tokens_decoder = tokenizer.all_special_ids, tokenizer.added_tokens_decoder
        self.get_vocab, self.convert_ids_to_tokens = tokenizer.get_vocab, tokenizer.convert_ids_to_tokens

    def __len__(self):
        return len(self.tokenizer)

    def decode(self, ids, **settings):
        self.num_decoded += len(ids)
        return self.tokenizer.decode(ids, **settings)


def test_a_tokenizer_without_the_backend_attribute_is_decoded_too(tokenizer):
    ids = [*tokenizer("so 7🍎\n#### 72", add_special_tokens=False).input_ids, tokenizer.eos_token_id, 10**6]
    (text, starts), (own, own_starts) = TokenDecoder(Counting(tokenizer))(ids), TokenDecoder(tokenizer)(ids)
    assert (text, starts.tolist()) == (own, own_starts.tolist())


def test_each_token_is_decoded_a_bounded_number_of_times_for_any_length(tokenizer):
    ids = tokenizer("She pays 48/2=24 dollars for é and 🍎.\n" * 100, add_special_tokens=False).input_ids
    ids += [tokenizer.eos_token_id] * 1000 + tokenizer("\n " * 500, add_special_tokens=False).input_ids
    counting = Counting(tokenizer)
    _prefix_writer(counting)(ids)
    assert counting.num_decoded < 40 * len(ids)  # by whole prefixes: half the length times each


@pytest.mark.parametrize("text", TEXTS)
def test_looking_pieces_up_equals_decoding_every_prefix(tokenizer, decoder, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert written_by_each(*decoder(ids)) == _prefix_writer(tokenizer)(ids)[: len(ids)]


def test_every_digit_token_is_credited_with_its_digit(tokenizer, decoder):
    table = NumberTable.from_tokenizer(tokenizer, kind="digits")
    ids = tokenizer("so 7 and 2: 4.5€ 中 6\n#### 8", add_special_tokens=False).input_ids
    digits = sampled_numbers(np.array(ids), np.asarray(table.token_values))
    text, starts = decoder(ids)
    assert [d for d in digits.tolist() if d >= 0] == [7, 2, 4, 5, 6, 8]
    written = [w.strip() for w, d in zip(written_by_each(text, starts), digits, strict=True) if d >= 0]
    assert written == ["7", "2", "4", "5", "6", "8"]
    answer = find_answer(text)
    assert answer is not None
    token = np.searchsorted(starts, answer.start, side="right") - 1
    assert token == len(ids) - 1


def test_offsets_do_not_depend_on_how_the_text_would_be_tokenised_again():
    backend = Tokenizer(models.BPE(vocab={"7": 0, "2": 1, "72": 2, "Ġ": 3}, merges=[("7", "2")]))
    backend.decoder = decoders.ByteLevel()
    text, starts = TokenDecoder(PreTrainedTokenizerFast(tokenizer_object=backend))([0, 1, 3, 2])
    assert (text, starts.tolist()) == ("72 72", [0, 1, 2, 3])


def test_decoding_does_not_change_the_tokenizer(tokenizer, decoder):
    before = tokenizer.backend_tokenizer.decoder.__getstate__(), len(tokenizer)
    decoder([1, 2, 3])
    assert (tokenizer.backend_tokenizer.decoder.__getstate__(), len(tokenizer)) == before
