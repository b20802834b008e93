# SPDX-License-Identifier: Apache-2.0
"""From prompts to credited rows, on the host: sampled, scored, with old log-probs, values and advantages."""
