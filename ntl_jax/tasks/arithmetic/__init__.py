# SPDX-License-Identifier: Apache-2.0
"""The built-in generator of word problems."""
