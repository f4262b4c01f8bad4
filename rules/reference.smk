"""Reference policies and stage 1: their responses to the training prompts, and the grades of these.

Comes in: data sets; models from scratch, a folder or a hub.
Goes out: results/references/{reference}/ and results/samples/{reference}/{dataset}/, one block of samples per job.

What a killed job has finished is in the folder `scratch`, which is not an output, as Snakemake deletes those: the
checkpoints of a warm start, and the responses of a block. The job deletes it when its outputs are in place.
"""


rule prepare_reference:
    input:
        unpack(inputs("prepare_reference")),
    output:
        model=directory("results/references/{reference}/model"),
        manifest="results/references/{reference}/manifest.json",
    log:
        "results/logs/prepare_reference/{reference}.log",
    benchmark:
        "results/usage/prepare_reference/{reference}.tsv"
    retries: download_retries(CONFIG.references.values())
    conda:
        "../envs/sampling.yaml"
    threads: reference_threads
    resources:
        mem_mb=reference_memory,
        runtime=240,
        gpu=MACHINE.gpus(),
        attempt=attempt,
    params:
        launch=launch_with_gpu,
        code=code("prepare_reference"),
        settings=settings("prepare_reference"),
        machine=machine,
        options=options(["dataset", "model_files"]),
        model_content=model_content,
        lengths=reference_lengths,
        scratch="results/checkpoints/{reference}/warm-start",
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " prepare_reference"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " {params.options}"
        " --lengths {params.lengths:q}"
        " --scratch {params.scratch:q}"
        " --attempt {resources.attempt}"
        " --out-model {output.model:q}"
        " --out-manifest {output.manifest:q}"


rule sample_reference:
    input:
        unpack(inputs("sample_reference")),
        model=ancient("results/references/{reference}/model"),
    output:
        table="results/samples/{reference}/{dataset}/block-{block}.parquet",
        manifest="results/samples/{reference}/{dataset}/block-{block}.manifest.json",
    log:
        "results/logs/sample_reference/{reference}/{dataset}/{block}.log",
    benchmark:
        "results/usage/sample_reference/{reference}/{dataset}/{block}.tsv"
    wildcard_constraints:
        reference=samples_pattern(CONFIG, imported=False),
    conda:
        samples_env
    threads: reference_threads
    resources:
        mem_mb=reference_memory,
        runtime=480,
        gpu=reference_gpus,
    params:
        launch=launch_with_gpu,
        code=code("sample_reference"),
        settings=settings("sample_reference"),
        machine=machine,
        scratch=scratch_of_block,
        others=blocks_of_others,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " sample_reference"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " --reference {input.reference:q}"
        " --dataset {input.dataset:q}"
        " --block {wildcards.block}"
        " --scratch {params.scratch:q}"
        " {params.others}"
        " --out {output.table:q}"
        " --out-manifest {output.manifest:q}"


rule import_samples:
    input:
        unpack(inputs("import_samples")),
    output:
        table="results/samples/{reference}/{dataset}/block-{block}.parquet",
        manifest="results/samples/{reference}/{dataset}/block-{block}.manifest.json",
    log:
        "results/logs/import_samples/{reference}/{dataset}/{block}.log",
    benchmark:
        "results/usage/import_samples/{reference}/{dataset}/{block}.tsv"
    wildcard_constraints:
        reference=samples_pattern(CONFIG, imported=True),
    retries: download_retries(dataset.samples for dataset in CONFIG.datasets.values() if dataset.samples)
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("import_samples"),
        settings=settings("import_samples"),
        options=options(["source"]),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " import_samples"
        " --settings {params.settings:q}"
        " --dataset {input.dataset:q}"
        " {params.options}"
        " --block {wildcards.block}"
        " --out {output.table:q}"
        " --out-manifest {output.manifest:q}"


rule grade_samples:
    input:
        unpack(inputs("grade_samples")),
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
        launch=launch,
        code=code("grade_samples"),
        settings=settings("grade_samples"),
        options=options(["verifier"]),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " grade_samples"
        " --settings {params.settings:q}"
        " --generations {input.generations:q}"
        " --problems {input.problems:q}"
        " {params.options}"
        " --workers {threads}"
        " --out {output:q}"
