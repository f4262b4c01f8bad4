"""Benchmarks: every policy answers every problem under each protocol, and the answers are graded.

Comes in: reference policies and trained ones, benchmarks.
Goes out: results/evaluations/{policy}/, where a policy is {reference} or {run}.seed-{n}.

The finished answers of a killed job are in the folder `scratch`, as those of a block of samples (reference.smk).
"""


rule generate_answers:
    input:
        unpack(inputs("generate_answers")),
        model=ancient(model_of_policy),
    output:
        "results/evaluations/{policy}/{benchmark}.{protocol}.generations.parquet",
    log:
        "results/logs/generate_answers/{policy}/{benchmark}.{protocol}.log",
    benchmark:
        "results/usage/generate_answers/{policy}/{benchmark}.{protocol}.tsv"
    conda:
        answers_env
    threads: answer_threads
    resources:
        mem_mb=answer_memory,
        runtime=240,
        gpu=answer_gpus,
    params:
        launch=launch_with_gpu,
        code=code("generate_answers"),
        settings=settings("generate_answers"),
        machine=machine,
        scratch=scratch_of_answers,
        others=answers_of_others,
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " generate_answers"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " --policy {input.policy:q}"
        " --benchmark {input.benchmark:q}"
        " --scratch {params.scratch:q}"
        " {params.others}"
        " --out {output:q}"


rule grade_answers:
    input:
        unpack(inputs("grade_answers")),
    output:
        "results/evaluations/{policy}/{benchmark}.{protocol}.graded.parquet",
    log:
        "results/logs/grade_answers/{policy}/{benchmark}.{protocol}.log",
    benchmark:
        "results/usage/grade_answers/{policy}/{benchmark}.{protocol}.tsv"
    conda:
        "../envs/grading.yaml"
    threads: MACHINE.grading_workers
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        launch=launch,
        code=code("grade_answers"),
        settings=settings("grade_answers"),
        options=options(["verifier"]),
    shell:
        "python {params.launch}"
        " --log {log:q}"
        " --code {params.code:q}"
        " grade_answers"
        " --settings {params.settings:q}"
        " --generations {input.generations:q}"
        " --problems {input.problems:q}"
        " {params.options}"
        " --workers {threads}"
        " --out {output:q}"
