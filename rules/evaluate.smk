"""Benchmarks: every policy answers every problem by each protocol; the answers are graded and summed up.

Comes in: reference policies and trained ones, benchmarks.
Goes out: results/evaluations/{policy}/, a policy being {reference} or {run}.seed-{n}, and results/tables/.
"""


rule generate_answers:
    input:
        unpack(inputs("answer", "policy", "benchmark")),
        **code("generate_answers"),
        model=ancient(model_of_policy),
    output:
        "results/evaluations/{policy}/{benchmark}.{protocol}.generations.parquet",
    log:
        "results/logs/generate_answers/{policy}/{benchmark}.{protocol}.log",
    benchmark:
        "results/usage/generate_answers/{policy}/{benchmark}.{protocol}.tsv"
    conda:
        SAMPLING_ENV
    threads: answer_threads
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=PLAN.gpus(),
    params:
        settings=settings("asking", "policy", "benchmark", "protocol"),
        machine=machine,
        launcher=launcher,
    shell:
        "python workflow_scripts/launch.py"
        " --log {log:q}"
        " {params.launcher}"
        " {input.script:q}"
        " --settings {params.settings:q}"
        " --machine {params.machine:q}"
        " --policy {input.policy:q}"
        " --benchmark {input.benchmark:q}"
        " --out {output:q}"


rule grade_answers:
    input:
        unpack(inputs("answer_grade", "policy", "benchmark", "protocol")),
        **code("grade_answers"),
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
        settings=settings("answer_grading", "benchmark"),
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
