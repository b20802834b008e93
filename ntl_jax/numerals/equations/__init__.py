# SPDX-License-Identifier: Apache-2.0
"""Equations in a text, and what their results should have been."""
