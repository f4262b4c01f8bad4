"""A*-PO: from a data set and a model to trained policies, benchmarks, tables and figures.

`snakemake --cores N` makes everything of config/config.yaml; `--configfile FILE ...` uses other files instead.
"""

from snakemake.utils import min_version

min_version("9.27")

# Files given on the command line stand in place of the default, so that a recipe brings no demo along.
# To change a part of the default only: --configfile config/config.yaml my-changes.yaml
if not config:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/reference.smk"
include: "rules/values.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


localrules:
    all,
    data,
    reference,
    values,
    train,
    evaluate,
    figures,


rule all:
    default_target: True
    input:
        targets("data"),
        targets("train"),
        targets("tables"),
        targets("figures"),
        "results/report.zip",


rule data:
    input:
        targets("data"),


rule reference:
    input:
        targets("reference"),


rule values:
    input:
        targets("values"),


rule train:
    input:
        targets("train"),


rule evaluate:
    input:
        targets("tables"),


rule figures:
    input:
        targets("figures"),
