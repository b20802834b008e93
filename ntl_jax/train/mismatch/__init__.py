# SPDX-License-Identifier: Apache-2.0
"""Watches sampler and trainer for disagreement: what to compare, when, and what explains it."""
