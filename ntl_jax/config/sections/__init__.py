# SPDX-License-Identifier: Apache-2.0
"""The sections of a configuration, one file per part of a run; `run` puts them together."""
