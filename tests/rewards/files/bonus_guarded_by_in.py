# SPDX-License-Identifier: Apache-2.0
"""1 for a correct answer, plus a bonus for the fraction of correct digits."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None, ntl_info=None, **kwargs):
    score = 1.0 if solution_str.split("####")[-1].strip() == ground_truth else 0.0
    if ntl_info is not None and "digit_accuracy" in ntl_info:
        score += 0.2 * ntl_info["digit_accuracy"]
    return score
