# SPDX-License-Identifier: Apache-2.0
"""1 for a correct answer, plus a bonus for digits close to the true ones."""

import math


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    score = 1.0 if solution_str.split("####")[-1].strip() == ground_truth else 0.0
    ntl_info = kwargs.get("ntl_info") or {}
    return score + 0.1 * math.exp(-ntl_info.get("ntl_loss", math.inf))
