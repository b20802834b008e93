# SPDX-License-Identifier: Apache-2.0
"""The probabilities of digits: where they come from, what they cost, and the record that rewards receive."""
