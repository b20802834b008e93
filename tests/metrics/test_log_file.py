# SPDX-License-Identifier: Apache-2.0
"""A logger writes to its file inside the context alone."""

import logging

import pytest

from ntl_jax.metrics.log_file import log_to_file


def test_messages_are_in_the_file_and_the_logger_is_as_before_afterwards_also_after_an_error(tmp_path, caplog):
    logger, path = logging.getLogger("ntl_jax.log_file_test"), tmp_path / "run.log"
    with pytest.raises(KeyError), log_to_file(logger, path):
        assert not path.exists()
        logger.info("inside")
        raise KeyError
    logger.warning("outside")
    assert path.read_text().endswith(" inside\n") and caplog.messages == ["outside"]
    assert logger.handlers == [] and logger.propagate and logger.level == logging.NOTSET
