"""Samples drawn elsewhere: matched by the problem's text, in the layout of samples drawn here."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from astarpo.common.errors import InputError, shortened
from astarpo.data.datasets import normalise
from astarpo.data.sources import describe_source, read_rows
from astarpo.sampling.settings import ImportedSamplesSettings

Row = Mapping[str, Any]  # of the source: any columns
TextColumn = Literal["problem", "prompt"]


class PromptRow(TypedDict):
    """The columns of a data set that identify a prompt."""

    prompt_id: str
    problem: str
    prompt: str


class Sample(TypedDict):
    """One sample of the source; None for a column that it does not have."""

    response: str | None
    reward: float | None
    finish_reason: str | None


class ImportedRow(TypedDict):
    """The columns of `columns.IMPORTED`."""

    prompt_id: str
    sample_index: int
    seed: None
    response_token_ids: None
    response: str | None
    finish_reason: str | None
    n_tokens: None
    logprob_sum: None
    imported_reward: float | None


KINDS = tuple(Sample.__annotations__)


def import_rows(
    settings: ImportedSamplesSettings, prompts: Sequence[PromptRow], sample_indices: Sequence[int]
) -> tuple[list[ImportedRow], dict[str, int]]:
    """Match prompts with their samples in a source.

    Args:
        settings: where the samples are, and which column holds what.
        prompts: all rows of the data set, not just those of one block, so that every block finds the same
            prompts unmatched.
        sample_indices: which samples of each prompt.

    Returns:
        Rows with the columns of `columns.IMPORTED`, prompts in their order, samples in theirs; seeds, tokens
        and log-probabilities are null. Also the counts ``samples_per_prompt, prompts_matched,
        prompts_unmatched, problems_in_source, problems_in_source_unused``.

    Raises:
        InputError: a column is missing or holds bad values, there are too few samples, or the share of prompts
            without samples exceeds ``max_unmatched``.
    """
    source = settings.source
    source_name = describe_source(source)
    by: TextColumn = "problem" if settings.problem is not None else "prompt"
    lists = _samples_by_text(read_rows(source), settings, by, source_name)
    per_prompt = max((len(samples) for candidates in lists.values() for samples in candidates), default=0)
    if sample_indices[-1] >= per_prompt:
        raise InputError(
            f"{source_name}: has {per_prompt} samples per problem, but sample {sample_indices[-1]} (counted from 0) is "
            "needed; lower `n`, or lower `block_size` to a divisor of the number of samples"
        )
    matched, unmatched, taken = _match(prompts, lists, by, per_prompt)
    _check_unmatched(unmatched, len(prompts), settings, source_name, per_prompt)
    problems = sum(len(candidates) for candidates in lists.values())
    rows = [_row(prompt["prompt_id"], index, samples[index]) for prompt, samples in matched for index in sample_indices]
    return rows, {
        "samples_per_prompt": per_prompt,
        "prompts_matched": len(matched),
        "prompts_unmatched": len(unmatched),
        "problems_in_source": problems,
        "problems_in_source_unused": problems - taken,
    }


def _samples_by_text(
    source: Iterable[Row], settings: ImportedSamplesSettings, by: TextColumn, source_name: str
) -> dict[str, list[list[Sample]]]:
    """Lists of samples by normalised text: one list per row if a row is a problem, else one list of all rows."""
    columns = {kind: getattr(settings, kind) for kind in KINDS if getattr(settings, kind) is not None}
    text_column = getattr(settings, by)
    wide = any("{i}" in column for column in columns.values())
    lists: dict[str, list[list[Sample]]] = defaultdict(list)
    for number, raw in enumerate(source, start=1):
        place = f"{source_name}, row {number}"
        key = normalise(_text(_get(raw, text_column, place, by), f"{place}, {text_column!r}"))
        if wide:
            lists[key].append(_wide(raw, columns, place))
        else:
            if not lists[key]:
                lists[key].append([])
            lists[key][0].append(_sample(raw, columns, place))
    return lists


def _wide(raw: Row, columns: dict[str, str], place: str) -> list[Sample]:
    samples: list[Sample] = []
    for index in itertools.count():
        named = {kind: column.replace("{i}", str(index)) for kind, column in columns.items()}
        if index and not any(column in raw for column in named.values()):
            return samples
        samples.append(_sample(raw, named, place))
    raise AssertionError("unreachable")


def _sample(raw: Row, columns: dict[str, str], place: str) -> Sample:
    response, reward, finish_reason = (
        _get(raw, columns[kind], place, kind) if kind in columns else None for kind in KINDS
    )
    if "response" in columns and not isinstance(response, str):
        raise InputError(f"{place}, column {columns['response']!r}: must be a string, but is {shortened(response)}")
    if "reward" in columns and reward not in (0, 1, None):
        raise InputError(
            f"{place}, column {columns['reward']!r}: a reward must be 0 or 1 (or null if unknown), but is "
            f"{shortened(reward)}"
        )
    if finish_reason not in ("stop", "length", None):
        raise InputError(
            f"{place}, column {columns['finish_reason']!r}: must be 'stop' or 'length', but is "
            f"{shortened(finish_reason)}"
        )
    return {"response": response, "reward": reward, "finish_reason": finish_reason}


def _get(raw: Row, column: str, place: str, key: str) -> Any:
    if column not in raw:
        raise InputError(f"{place}: there is no column {column!r} (samples.{key}); it has {', '.join(raw)}")
    return raw[column]


def _text(value: object, place: str) -> str:
    """The text itself, or that of a chat's last message."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if not isinstance(value, str):
        raise InputError(f"{place}: must be a string or a list of chat messages, but is {shortened(value)}")
    return value


def _match(
    prompts: Sequence[PromptRow], lists: dict[str, list[list[Sample]]], by: TextColumn, per_prompt: int
) -> tuple[list[tuple[PromptRow, list[Sample]]], list[PromptRow], int]:
    """Pair prompts with samples: the n-th prompt with a text takes the n-th list with that text."""
    matched, unmatched, used = [], [], Counter[str]()
    for prompt in prompts:
        key = normalise(prompt[by])
        candidates = lists.get(key, [])
        samples = candidates[used[key]] if used[key] < len(candidates) else []
        if len(samples) < per_prompt:
            unmatched.append(prompt)
            continue
        used[key] += 1
        matched.append((prompt, samples))
    return matched, unmatched, used.total()


def _check_unmatched(
    unmatched: list[PromptRow], prompts: int, settings: ImportedSamplesSettings, source_name: str, per_prompt: int
) -> None:
    if len(unmatched) <= settings.max_unmatched * prompts:
        return
    examples = "; ".join(repr(row["problem"][:80]) for row in unmatched[:3])
    raise InputError(
        f"{source_name}: {len(unmatched)} of {prompts} prompts have fewer than {per_prompt} samples there, for example "
        f"{examples}. Is it the same data set, and the right column? If training may leave these out, "
        f"raise samples.max_unmatched ({settings.max_unmatched:g})"
    )


def _row(prompt_id: str, sample_index: int, sample: Sample) -> ImportedRow:
    reward = sample["reward"]
    return {
        "prompt_id": prompt_id,
        "sample_index": sample_index,
        "seed": None,
        "response_token_ids": None,
        "response": sample["response"],
        "finish_reason": sample["finish_reason"],
        "n_tokens": None,
        "logprob_sum": None,
        "imported_reward": None if reward is None else float(reward),
    }
