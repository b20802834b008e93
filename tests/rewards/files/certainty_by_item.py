# SPDX-License-Identifier: Apache-2.0
"""A correct answer scores more if the policy was certain of its digits."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None, *, ntl_info, **kwargs):
    score = 1.0 if solution_str.split("####")[-1].strip() == ground_truth else 0.0
    if ntl_info["avg_digit_log_prob"] > -0.5:
        score *= 1.1
    doubtful = [log_prob for log_prob in ntl_info["digit_log_probs_selected"] if log_prob < -1.0]
    return {"score": score - 0.1 * len(doubtful), "share_doubtful": len(doubtful) / max(ntl_info["total_digits"], 1)}
