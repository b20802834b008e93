# SPDX-License-Identifier: Apache-2.0
"""Hugging Face checkpoints: configuration, names and files, and conversion from and to a decoder."""
