# SPDX-License-Identifier: Apache-2.0
"""What is needed of a tokenizer, so that no package of tokenizers has to be imported."""

from collections.abc import Mapping
from typing import Protocol


class NamedTokens(Protocol):
    """Knows its tokens, as every tokenizer of ``transformers`` and ``tokenizers`` does."""

    def get_vocab(self) -> Mapping[str, int]:
        """Token text to id."""
        ...


class AddedToken(Protocol):
    """A token that was added to a vocabulary."""

    @property
    def special(self) -> bool:
        """Whether it stands for no text."""
        ...


class DecodingTokenizer(NamedTokens, Protocol):
    """Turns ids into text, as every tokenizer of ``transformers`` does."""

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """The added tokens by id."""
        ...

    def __len__(self) -> int: ...

    def convert_ids_to_tokens(self, token_id: int, /) -> str | list[str] | None:
        """The vocabulary's own text of an id; None where it has none."""
        ...

    def decode(
        self, ids: list[int], /, *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str | list[str]:
        """The text of ids."""
        ...
