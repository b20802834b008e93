# SPDX-License-Identifier: Apache-2.0
"""Where sampler and trainer disagree, token by token: comparison, log and alarms."""
