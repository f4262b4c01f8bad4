"""Reference policies and stage 1: what they answer to the training prompts, and how that is graded.

Comes in: data sets; models from scratch, a folder or a hub.
Goes out: results/references/{reference}/ and, a block of samples a job, results/samples/{reference}/{dataset}/.
"""


rule prepare_reference:
    input:
        unpack(reference_inputs),
        **code("prepare_reference"),
    output:
        model=directory("results/references/{reference}/model"),
        manifest="results/references/{reference}/manifest.json",
    log:
        "results/logs/prepare_reference/{reference}.log",
    benchmark:
        "results/usage/prepare_reference/{reference}.tsv"
    conda:
        "../envs/sampling.yaml"
    threads: reference_threads
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=PLAN.gpus(),
    params:
        settings=settings("reference", "reference"),
        machine=machine,
        launcher=launcher,
        options=options(["dataset", "model_files"]),
        model_content=model_content,
        lengths=reference_lengths,
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {params.launcher}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " {params.options}"
        " --lengths {params.lengths:q}"
        " --out-model {output.model:q}"
        " --out-manifest {output.manifest:q}"


rule sample_reference:
    input:
        unpack(inputs("sample", "reference", "dataset")),
        **code("sample_reference"),
        model=ancient("results/references/{reference}/model"),
    output:
        table="results/samples/{reference}/{dataset}/block-{block}.parquet",
        manifest="results/samples/{reference}/{dataset}/block-{block}.manifest.json",
    log:
        "results/logs/sample_reference/{reference}/{dataset}/{block}.log",
    benchmark:
        "results/usage/sample_reference/{reference}/{dataset}/{block}.tsv"
    wildcard_constraints:
        reference=TARGETS.samples_pattern(imported=False),
    conda:
        SAMPLING_ENV
    threads: reference_threads
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=PLAN.gpus(),
    params:
        settings=settings("samples", "reference", "dataset"),
        machine=machine,
        launcher=launcher,
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {params.launcher}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " --reference {input.reference:q}"
        " --dataset {input.dataset:q}"
        " --block {wildcards.block}"
        " --out {output.table:q}"
        " --out-manifest {output.manifest:q}"


rule import_samples:
    input:
        unpack(inputs("import", "dataset")),
        **code("import_samples"),
    output:
        table="results/samples/{reference}/{dataset}/block-{block}.parquet",
        manifest="results/samples/{reference}/{dataset}/block-{block}.manifest.json",
    log:
        "results/logs/import_samples/{reference}/{dataset}/{block}.log",
    benchmark:
        "results/usage/import_samples/{reference}/{dataset}/{block}.tsv"
    wildcard_constraints:
        reference=TARGETS.samples_pattern(imported=True),
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("imported", "dataset"),
        options=options(["source"]),
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --dataset {input.dataset:q}"
        " {params.options}"
        " --block {wildcards.block}"
        " --out {output.table:q}"
        " --out-manifest {output.manifest:q}"


rule grade_samples:
    input:
        unpack(inputs("grade", "reference", "dataset", "block")),
        **code("grade_samples"),
    output:
        "results/samples/{reference}/{dataset}/block-{block}.graded.parquet",
    log:
        "results/logs/grade_samples/{reference}/{dataset}/{block}.log",
    benchmark:
        "results/usage/grade_samples/{reference}/{dataset}/{block}.tsv"
    conda:
        "../envs/grading.yaml"
    threads: MACHINE.grading_workers
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=settings("grading", "dataset"),
        options=options(["verifier"]),
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --generations {input.generations:q}"
        " --problems {input.problems:q}"
        " {params.options}"
        " --workers {threads}"
        " --out {output:q}"
