"""Stage 2: one training for each run and seed.

Comes in: a reference policy, prompts, and what the run uses besides: V*, a selection, validation prompts.
Goes out: model/, metrics.parquet, timings.parquet, rollouts.parquet and manifest.json in results/runs/{run}/seed-{seed}/.

Checkpoints lie in results/checkpoints/{run}/seed-{seed}/, which is not an output: Snakemake deletes the outputs of
a job that failed, and a training that was killed must resume from its last checkpoint.
"""


rule train_policy:
    input:
        unpack(inputs("train_policy")),
        model=ancient(model_of_run),
    output:
        model=directory("results/runs/{run}/seed-{seed}/model"),
        metrics="results/runs/{run}/seed-{seed}/metrics.parquet",
        timings="results/runs/{run}/seed-{seed}/timings.parquet",
        rollouts="results/runs/{run}/seed-{seed}/rollouts.parquet",
        manifest="results/runs/{run}/seed-{seed}/manifest.json",
    log:
        "results/logs/train_policy/{run}/seed-{seed}.log",
    benchmark:
        "results/usage/train_policy/{run}/seed-{seed}.tsv"
    conda:
        training_env
    threads: training_threads
    resources:
        mem_mb=16000,
        runtime=MACHINE.training_minutes(),
        gpu=MACHINE.training_gpus(),
    params:
        launch=launch_training,
        code=code("train_policy"),
        settings=settings("train_policy"),
        machine=machine,
        options=options(["validation", "selection", "values", "verifier", "validation_verifier"]),
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
