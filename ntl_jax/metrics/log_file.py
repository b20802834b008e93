# SPDX-License-Identifier: Apache-2.0
"""A logger's messages in a file of the run folder."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def log_to_file(logger: logging.Logger, path: Path) -> Iterator[None]:
    """Within this context the logger writes to a file, not across the progress bars.

    Args:
        logger: writes from level INFO on.
        path: appended to; made with the first message.

    Example:
        >>> import tempfile
        >>> path, logger = Path(tempfile.mkdtemp(), "pool.log"), logging.getLogger("ntl_jax.example")
        >>> with log_to_file(logger, path):
        ...     logger.info("worker 3 starts")
        >>> path.read_text()[-16:]
        'worker 3 starts\\n'
    """
    handler, level, propagate = logging.FileHandler(path, encoding="utf-8", delay=True), logger.level, logger.propagate
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()
