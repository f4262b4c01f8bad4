"""Stage 2: one training for each run and seed.

Comes in: a reference policy, prompts, and what the run uses besides: V*, a selection, validation prompts.
Goes out: model/, metrics.parquet, timings.parquet, rollouts.parquet and manifest.json in results/runs/{run}/seed-{seed}/,
and steps/{step}/model/ and steps/{step}/manifest.json there for each step that the run keeps.

Checkpoints lie in results/checkpoints/{run}/seed-{seed}/, which is not an output: Snakemake deletes the outputs of
a job that failed, and a training that was killed must resume from its last checkpoint.
"""

TRAINING_INPUTS = ["validation", "selection", "values", "verifier", "validation_verifier"]
STEPS_FOLDER = "results/runs/{run}/seed-{seed}/steps"


def suffix_of(steps):
    """What the name of a rule for runs with kept steps ends in."""
    return "".join(f"_{step}" for step in steps)


def outputs_of_steps(steps):
    """The outputs that a rule for runs with kept steps has besides."""
    models = {f"model_{step}": directory(f"{STEPS_FOLDER}/{step}/model") for step in steps}
    return {**models, **{f"manifest_{step}": f"{STEPS_FOLDER}/{step}/manifest.json" for step in steps}}


# train_policy, and train_policy_10_20 for the runs with `keep: {steps: [10, 20]}`: the outputs of a rule cannot depend on
# its wildcards, so each list of steps has a rule. They differ in nothing else, and all jobs have the settings, code and
# log of train_policy. A rule that exported what a training had left in its scratch folder could not make a deleted
# output again; this way Snakemake knows which job makes it, and deletes it if that job fails.
for STEPS in lists_of_steps(CONFIG):

    rule:
        name:
            f"train_policy{suffix_of(STEPS)}"
        input:
            unpack(inputs("train_policy")),
            model=ancient(model_of_run),
        output:
            **outputs_of_steps(STEPS),
            model=directory("results/runs/{run}/seed-{seed}/model"),
            metrics="results/runs/{run}/seed-{seed}/metrics.parquet",
            timings="results/runs/{run}/seed-{seed}/timings.parquet",
            rollouts="results/runs/{run}/seed-{seed}/rollouts.parquet",
            manifest="results/runs/{run}/seed-{seed}/manifest.json",
        log:
            "results/logs/train_policy/{run}/seed-{seed}.log",
        benchmark:
            "results/usage/train_policy/{run}/seed-{seed}.tsv"
        wildcard_constraints:
            run=training_pattern(CONFIG, STEPS),
        conda:
            training_env
        threads: training_threads
        resources:
            mem_mb=training_memory,
            runtime=MACHINE.training_minutes(),
            gpu=training_gpus,
            cpus_per_task=training_cpus,
        params:
            launch=launch_training,
            code=code("train_policy"),
            settings=settings("train_policy"),
            machine=machine,
            options=options(TRAINING_INPUTS, f"--out-steps {STEPS_FOLDER}" if STEPS else ""),
            scratch="results/checkpoints/{run}/seed-{seed}",
        shell:
            "python {params.launch}"
            " --log {log:q}"
            " --code {params.code:q}"
            " train_policy"
            " --settings {params.settings:q}"
            " --machine {params.machine:q}"
            " --seed {wildcards.seed}"
            " --reference {input.reference:q}"
            " --dataset {input.dataset:q}"
            " {params.options}"
            " --scratch {params.scratch:q}"
            " --out-model {output.model:q}"
            " --out-metrics {output.metrics:q}"
            " --out-timings {output.timings:q}"
            " --out-rollouts {output.rollouts:q}"
            " --out-manifest {output.manifest:q}"

    if STEPS:
        # A profile sets resources by the names of rules, and what it sets for a training holds for these as well.
        trained = getattr(rules, f"train_policy{suffix_of(STEPS)}").rule
        trained.resources = rules.train_policy.rule.resources.copy()
