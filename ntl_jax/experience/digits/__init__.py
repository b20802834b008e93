# SPDX-License-Identifier: Apache-2.0
"""The log-probs of digits: their source, their losses, and the record that rewards receive."""
