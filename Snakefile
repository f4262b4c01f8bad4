"""A*-PO: from a data set and a model to trained policies, benchmarks, tables and figures; see README.md."""

from snakemake.utils import min_version

min_version("9.27")

# Files given on the command line stand in place of the default, so that a recipe brings no demo along.
# To change a part of the default only: --configfile config/config.yaml my-changes.yaml
if not config:

    configfile: "config/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/reference.smk"
include: "rules/values.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        targets("all"),


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


rule validation:
    input:
        targets("validation"),


rule evaluate:
    input:
        targets("tables"),


rule figures:
    input:
        targets("figures"),


onerror:
    print_failures()
