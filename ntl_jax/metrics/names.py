# SPDX-License-Identifier: Apache-2.0
"""The table of metric names, with meanings and units. Names that verl also uses have verl's meaning.

A name is ``group/name``. A name that ends in ``/`` or ``@`` is a family whose members depend on the run: the keys that
a reward function returns, the timed parts of an iteration, the numbers of samples. So is one with ``SOURCE`` in it, the
name of a source of problems.
"""

STAGES = ("warm_start", "ppo")
"""The stages of a run, in their order."""

METRICS = {
    "warm_start/loss": "loss that the update minimizes: cross entropy and the weighted Number Token Loss",
    "warm_start/cross_entropy": "cross entropy, nats per token",
    "warm_start/ntl_loss": "loss of warm_start.ntl_method, mean over the digits of the reference solutions, before "
    "weights of places",
    "warm_start/grad_norm": "global norm of the gradient before clipping",
    "warm_start/param_norm": "global norm of the parameters",
    "warm_start/grad_noise": "gradient noise scale, in response tokens",
    "warm_start/update_norm": "global norm of the optimizer's update",
    "actor/loss": "loss that an update minimizes: weighted sum of policy gradient, entropy, divergence, Number Token "
    "Loss and, with a shared trunk, value loss",
    "actor/skipped_updates": "updates of the iteration that were skipped because all of their weights were 0",
    "actor/pg_loss": "policy-gradient loss, mean over tokens",
    "actor/ntl_loss": "differentiable Number Token Loss of digits with a true value, before its weight",
    "actor/pg_clipfrac": "fraction of tokens whose importance ratio is clipped",
    "actor/kl": "mean divergence of the sampling policy from the reference policy, nats per token",
    "actor/kl_weight": "weight of that divergence in this iteration",
    "actor/kl_loss": "mean divergence of the policy in training from the reference policy, before its weight",
    "actor/ppo_kl": "mean of old minus new log-probability: an estimate of how far the update moved the policy, nats",
    "actor/entropy": "mean entropy of the policy at response tokens, nats",
    "actor/ratio_deviation": "largest |importance ratio - 1| of a token",
    "actor/first_ratio_deviation": "the same in an iteration's first update, where sampler and trainer agree: near 0",
    "actor/grad_norm": "global norm of the gradient before clipping",
    "actor/param_norm": "global norm of the parameters",
    "actor/update_norm": "global norm of the optimizer's update",
    "actor/grad_noise": "gradient noise scale, in response tokens, where an update has several micro-batches: up to "
    "about this size, larger updates pay off",
    "critic/loss": "loss that the critic's update minimizes: the weighted value loss",
    "critic/vf_loss": "clipped value loss",
    "critic/vf_explained_var": "share of the returns' variance that the values explain; 1 is a perfect critic",
    "critic/grad_norm": "global norm of the critic's gradient before clipping",
    "critic/param_norm": "global norm of the critic's parameters",
    "critic/update_norm": "global norm of the critic's update",
    "critic/values/mean": "mean value at response tokens, at sampling time",
    "critic/returns/mean": "mean return at response tokens",
    "critic/grad_noise": "gradient noise scale of the critic, in response tokens",
    "critic/advantages/mean": "mean advantage at response tokens, before any correction for off-policy samples",
    "critic/advantages/max": "largest advantage",
    "critic/advantages/min": "smallest advantage",
    "critic/score/mean": "mean reward of the samples",
    "critic/score/max": "largest reward",
    "critic/score/min": "smallest reward",
    "reward/": "mean of a key that the reward function returns in addition to the score; reward/function/KEY if the "
    "key has the name of a metric below",
    "reward/accuracy": "fraction of samples whose extracted answer is right",
    "reward/dropped": "samples left out of the update because their reward raised, hung or was not a number",
    "reward/undecided": "samples whose answer could not be found or compared in time, and counts as wrong; only where "
    "there are any",
    "reward/overlong_penalty": "mean length penalty added to rewards, at most 0",
    "sampling/refills": "additional engine calls of dynamic sampling",
    "sampling/equal_groups": "prompts left out because all their samples scored the same",
    "staleness/mean": "iterations between the policy that drew a sample and the one that learns from it, mean",
    "staleness/max": "the same of the oldest sample; at most rollout.max_staleness",
    "pool/workers": "workers that were there at the end of the sampling",
    "pool/restarts": "workers replaced so far",
    "pool/quarantined": "requests given up so far, because workers died of them",
    "pool/queue_depth": "requests that wait for a worker at the end of the sampling",
    "pool/worker_use": "share of the time since the last iteration in which workers sampled, mean over workers",
    "pool/trainer_idle": "share of the time since the last iteration in which the trainer waited for samples",
    "pool/pull_s": "longest time in which a worker fetched and verified a version of the weights, seconds",
    "pool/load_s": "longest time in which a worker's engine loaded a version, seconds",
    "training/rollout_probs_diff_valid": "1 where tokens were compared, else 0",
    "training/rollout_probs_diff_max": "largest difference of a token's probabilities by sampler and trainer",
    "training/rollout_probs_diff_mean": "mean of these differences",
    "training/rollout_probs_diff_std": "their standard deviation, with n - 1",
    "training/rollout_actor_probs_pearson_corr": "correlation of the sampler's and the trainer's probabilities; 1 if "
    "they agree",
    "training/rollout_probs_diff_tokens": "tokens that were compared: of all samples, or of the first minibatch",
    "rollout_corr/kl": "mean k1 of KL(sampler, trainer), nats per token",
    "rollout_corr/k3_kl": "mean k3 of KL(sampler, trainer), nats per token, not clamped",
    "rollout_corr/training_ppl": "perplexity of the responses for the trainer, mean over responses",
    "rollout_corr/rollout_ppl": "perplexity of the responses for the sampler, mean over responses",
    "rollout_corr/ppl_ratio": "a response's perplexity for the trainer over the sampler's, mean over responses; 1 if "
    "they agree",
    "rollout_corr/chi2_token": "chi-squared divergence of trainer and sampler, token by token",
    "rollout_corr/chi2_seq": "the same of whole responses",
    "rollout_corr/rollout_is_mean": "mean importance weight, trainer over sampler, before any bound; 1 if they agree",
    "rollout_corr/rollout_is_eff_sample_size": "effective sample size of the weights, as a fraction of the tokens; "
    "with old_log_probs=recompute of the applied weights, of the tokens or responses, rejected ones included; 1 if "
    "trainer and sampler agree",
    "rollout_corr/beyond_factor_two_fraction": "share of tokens whose probabilities differ by more than a factor of 2",
    "rollout_corr/out_of_band_fraction": "fraction of weights outside the bounds",
    "rollout_corr/rejected": "responses left out because trainer and sampler disagree too much about them",
    "mismatch/engine/kl": "mean of log sampler - log trainer where both have the same weights, nats per token: what "
    "the engine's arithmetic does",
    "mismatch/engine/mean": "mean difference of the probabilities there",
    "mismatch/engine/max": "largest difference of the probabilities there",
    "mismatch/staleness/kl": "rollout_corr/kl without the engine's part: what older weights do",
    "mismatch/staleness/mean": "training/rollout_probs_diff_mean without the engine's part",
    **{
        f"mismatch/{kind}/{name}": f"{what} of {words}"
        for kind, words in (
            ("answer_digits", "digits of the answer"),
            ("digits", "other digits"),
            ("operators", "operators"),
            ("other", "all other tokens"),
        )
        for name, what in (
            ("kl", "mean of log sampler - log trainer, nats,"),
            ("mean", "mean difference of the probabilities"),
            ("max", "largest difference of the probabilities"),
        )
    },
    "alarm/": "1 in iterations in which this alarm about sampler and trainer is on; docs/divergence.md lists them",
    "ntl/loss": "mean over samples with a finite one: Number Token Loss of digits with a true value while sampling; "
    "without any extraction, minus the mean log-probability of the sampled digits",
    "ntl/ntl_loss": "the same as ntl/loss",
    "ntl/reward": "mean of exp(-ntl_loss / temperature)",
    "ntl/ntl_reward": "the same as ntl/reward",
    "ntl/confidence": "mean over digits of the most likely digit's share of the ten probabilities",
    "ntl/digit_accuracy": "digits whose most likely value is true, over digits with truth and missing places",
    "ntl/total_digits": "sampled tokens that are digits",
    "ntl/untruthed_digits": "digits without a true value; never scored as right",
    "ntl/temperature": "tau of the reward",
    "ntl/fallbacks": "samples scored without NTL because it could not be extracted",
    "response_length/mean": "tokens per response",
    "response_length/max": "longest response, in tokens",
    "response_length/clip_ratio": "fraction of responses that ended at the limit, not at end-of-text",
    "prompt_length/mean": "tokens per prompt",
    "perf/throughput": "prompt and response tokens per second of the whole iteration, over all devices",
    "perf/padding_fraction": "share of the positions computed in updates that are padding",
    "perf/total_num_tokens": "prompt and response tokens of the iteration",
    "perf/max_memory_allocated_gb": "most memory in use on a device so far, in GiB; of devices that report it",
    "perf/cpu_memory_used_gb": "most memory that the process has held on the host so far, in GiB",
    "timing_s/": "seconds spent in a part of the iteration",
    "val/accuracy": "fraction of held-out problems solved by greedy decoding",
    "val/SOURCE/accuracy": "the same of the problems of one of several sources",
    "val/num_problems": "held-out problems evaluated",
    "val/response_length/mean": "tokens per greedy response",
    "val/ntl_loss": "ntl/loss of the greedy responses",
    "val/answered": "fraction of greedy responses from which an answer could be extracted",
    "val/smape": "mean of |answer - truth| / (|answer| + |truth|) of greedy responses, 1 without an answer",
    "val/median_relative_error": "median of |answer - truth| / |truth| of greedy responses, infinite without an answer",
    "val/undecided": "greedy responses whose answer could not be found or compared in time; only where there are any",
    "val/score/mean": "mean reward of the greedy responses",
    "val/mean@": "fraction of n samples per problem that are right, mean over problems",
    "val/maj@": "fraction of problems whose most frequent answer of n samples is right; ties count in part",
    "val/pass@": "probability that at least one of k samples is right, unbiased estimate from all samples",
}
"""Meaning of every metric, by name."""


def meaning(name: str) -> str:
    """What a metric means: from its own line of the table, or its family's.

    Raises:
        KeyError: if the table has no such name; add a new metric to the table first.

    Example:
        >>> meaning("response_length/mean")
        'tokens per response'
        >>> meaning("timing_s/gen")
        'seconds spent in a part of the iteration'
        >>> meaning("val/gsm8k/accuracy")
        'the same of the problems of one of several sources'
    """
    if name in METRICS and not name.endswith(("/", "@")) and "/SOURCE/" not in name:
        return METRICS[name]
    if name.startswith("val/") and name.endswith("/accuracy") and name not in METRICS:
        return METRICS["val/SOURCE/accuracy"]
    family = name[: name.index("@") + 1] if "@" in name else name.split("/")[0] + "/"
    if family not in METRICS or name == family:
        raise KeyError(f"{name!r} is not in the table of metric names: add it there with its meaning")
    return METRICS[family]
