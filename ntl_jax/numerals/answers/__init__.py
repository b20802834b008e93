# SPDX-License-Identifier: Apache-2.0
"""The answer of a text: where it stands and which number it is."""
