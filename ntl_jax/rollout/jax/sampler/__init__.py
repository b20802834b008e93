# SPDX-License-Identifier: Apache-2.0
"""Drawing tokens: truncation, inverse transform sampling, and the captured log-probs."""
