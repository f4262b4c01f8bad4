"""The columns of all tables that stages write; other tools rely on these names."""

from __future__ import annotations

import pyarrow as pa

DATASET = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("problem", pa.string()),
        ("prompt", pa.string()),
        ("gold", pa.string()),
        ("verifier", pa.string()),
        ("worked_solution", pa.string()),
        ("source_index", pa.int64()),
        ("problem_kind", pa.string()),
        ("level", pa.string()),
    ]
)
GENERATIONS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int64()),
        ("seed", pa.int64()),
        ("response_token_ids", pa.list_(pa.int32())),
        ("response", pa.string()),
        ("finish_reason", pa.string()),
        ("n_tokens", pa.int64()),
        ("logprob_sum", pa.float64()),
    ]
)
# Samples drawn elsewhere may come with a reward, which is used if there is no text to grade.
IMPORTED = GENERATIONS.append(pa.field("imported_reward", pa.float64()))
GRADED = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int64()),
        ("reward", pa.float64()),
        ("status", pa.string()),
        ("answer", pa.string()),
    ]
)
# Answers to benchmarks vote (maj@k), equivalent ones together.
GRADED_ANSWERS = GRADED.append(pa.field("answer_class", pa.int64()))
SELECTIONS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("n", pa.int64()),
        ("n_correct", pa.int64()),
        ("keep", pa.bool_()),
    ]
)
VALUES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("n", pa.int64()),
        ("n_correct", pa.int64()),
        ("pass_rate", pa.float64()),
        ("v_star", pa.float64()),
        ("v_star_se", pa.float64()),
        # Of the graded responses, and of the correct ones: the sum of -ln pi_ref(y|x); null without log-probabilities.
        ("surprisal_sum", pa.float64()),
        ("surprisal_of_correct", pa.float64()),
    ]
)
# The noise of the policy gradient with each baseline, relative to none, forecast from stage 1's samples.
FORECAST = pa.schema(
    [
        ("prompts", pa.string()),  # "all", or "solved" by another of their samples
        ("baseline", pa.string()),
        ("beta1", pa.float64()),
        ("scale", pa.float64()),
        ("noise", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_prompts", pa.int64()),
        ("n_samples", pa.int64()),
    ]
)
SUMMARY = pa.schema(
    [
        ("policy", pa.string()),
        ("run", pa.string()),
        ("method", pa.string()),
        ("reference", pa.string()),
        ("dataset", pa.string()),
        ("seed", pa.int64()),
        ("benchmark", pa.string()),
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("k", pa.int64()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_problems", pa.int64()),
        ("truncated_share", pa.float64()),
        ("null_share", pa.float64()),
        ("no_answer_share", pa.float64()),
        ("mean_response_tokens", pa.float64()),
        # "problems and seeds" for a run of several seeds, else "problems".
        ("interval_over", pa.string()),
    ]
)
# Every pair of policies on the problems that both answered. The interval is not corrected for the number of pairs;
# `verdict` (a_better, b_better, tied, cannot_tell) and `tied` follow from `p_holm`. If a run has one seed, `p_holm` and
# `tied` are null. A reference has 0 seeds.
DIFFERENCES = pa.schema(
    [
        ("benchmark", pa.string()),
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("policy_a", pa.string()),
        ("policy_b", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("tied", pa.bool_()),
        ("n_problems", pa.int64()),
        ("p_value", pa.float64()),
        ("p_holm", pa.float64()),
        ("verdict", pa.string()),
        ("n_seeds_a", pa.int64()),
        ("n_seeds_b", pa.int64()),
        ("paired_by_seed", pa.bool_()),
        ("interval_over", pa.string()),
    ]
)
# A training's responses to the first validation prompts, of each validation; step 0 is before training.
ROLLOUTS = pa.schema(
    [
        ("step", pa.int64()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("gold", pa.string()),
        ("response", pa.string()),
        ("finish_reason", pa.string()),
        ("n_tokens", pa.int64()),
        ("reward", pa.float64()),
        ("status", pa.string()),
    ]
)
CURVES = pa.schema(
    [
        ("run", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("step", pa.int64()),
        ("seconds", pa.float64()),
        ("generated_tokens", pa.int64()),
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)
# What each run spends to reach the smoothed end of each other run with the same metric, in seconds of stage 2, in
# generated tokens and in updates, beside what the other one spends to get there itself. `outcome` is reached,
# not_reached, or nothing_to_reach if the target's curves never rise. If only the upper limit is null, it is beyond the
# end of the training; if both are, there is no interval (one seed, or nothing varies).
CROSSINGS = pa.schema(
    [
        ("run", pa.string()),
        ("target", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("level", pa.float64()),
        ("outcome", pa.string()),
        ("amount", pa.float64()),
        ("target_amount", pa.float64()),
        ("ratio", pa.float64()),
        ("ratio_low", pa.float64()),
        ("ratio_high", pa.float64()),
        ("n_seeds", pa.int64()),
        ("n_reached", pa.int64()),
        ("n_seeds_target", pa.int64()),
        ("n_flat_target", pa.int64()),
        ("paired_by_seed", pa.bool_()),
    ]
)
COST = pa.schema(
    [
        ("run", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("stage1_seconds", pa.float64()),
        ("stage2_seconds", pa.float64()),
        ("generate_seconds", pa.float64()),
        ("grade_seconds", pa.float64()),
        ("reference_seconds", pa.float64()),
        ("update_seconds", pa.float64()),
        ("generated_tokens", pa.int64()),
        ("trained_tokens", pa.int64()),
        ("peak_memory_bytes", pa.int64()),
        ("kl_per_token", pa.float64()),
        ("kl_per_sequence", pa.float64()),
        ("log_ratio_per_token", pa.float64()),
        ("log_ratio", pa.float64()),
        ("hardware", pa.string()),
        # The setting that ended the training, and the step whose weights are the policy; null in older manifests.
        ("last_step", pa.int64()),
        ("exported_step", pa.int64()),
        ("ended_by", pa.string()),
    ]
)
