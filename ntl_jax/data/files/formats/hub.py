# SPDX-License-Identifier: Apache-2.0
"""Rows of Hugging Face data sets, of the hub or saved by ``save_to_disk``. The only file that imports datasets."""

from collections.abc import Iterator, Sequence

from ntl_jax.config import MOST_PROBLEMS
from ntl_jax.data.files.row import Row
from ntl_jax.data.files.source import SPLITS, Source
from ntl_jax.data.problems import Split


def data_set_rows(source: Source, purpose: Split) -> Iterator[Row]:
    """The rows of a data set.

    Args:
        source: names the data set, and its split or not.
        purpose: chooses the split if the source names none: ``train``, or ``test`` or ``validation``. A data set
            without splits is read whole.

    Raises:
        ValueError: if the data set cannot be loaded, has no such split or too many rows, or if the package is not
            installed, in words that follow the source.

    Example:
        >>> import datasets, tempfile
        >>> from ntl_jax.data.files.source import find_source
        >>> folder = tempfile.mkdtemp()
        >>> datasets.Dataset.from_list([{"question": "2+3?", "answer": "5"}]).save_to_disk(folder)
        >>> [row.value for row in data_set_rows(find_source(folder), "train")]
        [{'question': '2+3?', 'answer': '5'}]
    """
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        what = "a data set of the Hugging Face hub" if source.path is None else "a data set of Hugging Face"
        raise ValueError(f"is {what}, which needs the package datasets: pip install 'ntl_jax[data]'") from error
    datasets.disable_progress_bars()
    try:
        if source.path is not None:
            loaded = datasets.load_from_disk(str(source.path))
        else:
            loaded = datasets.load_dataset(source.text.split(":")[0], source.configuration)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, DatasetsError) as error:
        what = " ".join(str(error).split())
        form = "" if source.path is not None else "; OWNER/NAME:CONFIGURATION:SPLIT names configuration and split"
        raise ValueError(f"cannot be loaded: {type(error).__name__}: {what}{form}") from error
    if isinstance(loaded, datasets.DatasetDict):
        loaded = loaded[_split(source, purpose, [*map(str, loaded)])]
    elif source.split is not None:
        raise ValueError(f"has no splits: leave out :{source.split}")
    if len(loaded) > MOST_PROBLEMS:
        raise ValueError(f"has {len(loaded):,} rows, and at most {MOST_PROBLEMS:,} are read: split it, and name a part")
    for i, row in enumerate(loaded.to_list()):
        yield Row(i, f"{source.text}, row {i + 1}", row)


def _split(source: Source, purpose: Split, there: Sequence[str]) -> str:
    if (chosen := source.split_for(purpose, there)) is not None:
        return chosen
    given = f"no split {source.split}" if source.split else f"no split {' or '.join(SPLITS[purpose][:2])}"
    name = source.text.removesuffix(f":{source.split}")
    raise ValueError(f"has {given}, only {', '.join(there)}: name one, as in {name}:{there[0]}")
