# SPDX-License-Identifier: Apache-2.0
"""Attention of training and prefill: over whole rows, and over responses that share a prompt."""
