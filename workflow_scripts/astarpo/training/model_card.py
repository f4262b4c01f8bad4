"""The model card of a trained policy: method, provenance and use."""

from __future__ import annotations

import json
from collections.abc import Mapping

from astarpo.common.provenance import TrainingProvenance
from astarpo.training.history import Row

TITLES = {"a_star_po": "A*-PO"}  # for all others, the name in capitals
TEMPLATE = """---
library_name: transformers
pipeline_tag: text-generation
tags: [reinforcement-learning, reasoning, {method}]
---

# A policy trained with {title}

Trained from a reference policy by the A*-PO workflow (method: arXiv 2505.20686). Licence and limits are those of the
model that it started from.

| | |
| --- | --- |
| method | {method} ({hyperparameters}) |
| seed | {seed} |
| training prompts | {prompts} |
| steps | {steps} of {prompts_per_batch} prompts, {updates_per_rollout} optimizer step(s) each |
| exported | the policy after step {exported_step} of {last_step}; the training ended by `{ended_by}` |
| learning rate | {lr}, {lr_schedule} |
| sampling | temperature {temperature}, at most {max_new_tokens} tokens |
| reward on training prompts | {first_reward} in the first tenth of the steps, {last_reward} in the last |
| KL to the reference | {kl} nats per response in the last tenth |

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
```

Prompts must be written as in training: {prompting}.

## Made from

| input | sha256 |
| --- | --- |
{inputs}

Settings, as the training received them:

```json
{settings}
```
"""


def model_card(made_from: TrainingProvenance, metrics: list[Row], facts: Mapping[str, object]) -> str:
    """Write the card of a finished run. It has no dates or timings, so that equal runs give equal folders.

    Args:
        made_from: provenance: ``settings``, ``inputs``, ``seed``.
        metrics: rows of the run, one per step; row 0 is the validation before training.
        facts: ``prompts``, the number of training prompts; ``exported_step``, ``last_step`` and ``ended_by``.

    Returns:
        Markdown with the front matter that model hubs read.
    """
    settings = json.loads(made_from["settings"])
    rows = [row for row in metrics if row["step"]]
    tenth = max(len(rows) // 10, 1)
    chat = settings["prompting"]["chat_template"]
    shown = {name: settings[name] for name in ("method", "steps", "prompts_per_batch", "lr", "lr_schedule")}
    return TEMPLATE.format(
        **shown,
        title=TITLES.get(settings["method"], settings["method"].upper()),
        hyperparameters=", ".join(
            f"{name} = {value if isinstance(value, (str, bool)) else format(value, 'g')}"
            for name, value in sorted(settings["hyperparameters"].items())
        ),
        updates_per_rollout=settings["updates_per_rollout"],
        seed=made_from["seed"],
        **{name: facts[name] for name in ("prompts", "exported_step", "last_step", "ended_by")},
        temperature=settings["sampling"]["temperature"],
        max_new_tokens=settings["sampling"]["max_new_tokens"],
        first_reward=_mean(rows[:tenth], "reward"),
        last_reward=_mean(rows[-tenth:], "reward"),
        kl=_mean(rows[-tenth:], "kl_per_sequence"),
        prompting="through the tokenizer's chat template" if chat else "as plain text, no chat template",
        inputs="\n".join(f"| {name} | `{value}` |" for name, value in sorted(made_from["inputs"].items())),
        settings=json.dumps(settings, indent=2, sort_keys=True),
    )


def _mean(rows: list[Row], name: str) -> str:
    values = [value for row in rows if (value := row[name]) is not None]
    return f"{sum(values) / len(values):.3f}"
