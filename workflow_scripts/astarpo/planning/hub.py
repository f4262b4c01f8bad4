"""Whether the hub can be reached and lets us in, and which models and data sets of a configuration need it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Thread

from astarpo.common.errors import InputError
from astarpo.config.paths import benchmark_path, block_path, dataset_path, model_path
from astarpo.config.runs import Config
from astarpo.data.settings import HubData
from astarpo.stage_one.settings import HubModel

PATIENCE_S = 5.0  # for the hub to answer
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
Asks = Callable[[], str | None]
Sources = Mapping[str, HubModel | HubData]  # by the key of their entry, such as ``datasets.gsm8k``


def endpoint() -> str:
    """The hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_problems(config: Config, asks: Asks | None = None, only: Collection[str] | None = None) -> list[str]:
    """Find models and data sets that must be downloaded and cannot be: no hub answers, or it does not let us in.

    Args:
        config: checked.
        asks: as for `unreachable`.
        only: entries that will be prepared, such as ``datasets.gsm8k``; None: all that are not prepared yet.

    Returns:
        One line for each; the hub is only asked if something is neither prepared nor in its cache.
    """
    entries = {key: source for key, source, done in _entries(config) if (key in only if only is not None else not done)}
    wanted = {key: source for key, source in entries.items() if not _is_cached(source)}
    reason = unreachable(asks) if wanted else None
    if reason is not None:
        return [_offline(key, source, reason) for key, source in wanted.items()]
    return list(_refusals(wanted))


def check_hub(config: Config, only: Collection[str]) -> None:
    """Refuse to start jobs that would download what cannot be downloaded, see `hub_problems`.

    Raises:
        InputError: a line for each entry.
    """
    problems = hub_problems(config, only=only)
    if problems:
        raise InputError("\n".join(problems))


def _entries(config: Config) -> Iterator[tuple[str, HubModel | HubData, bool]]:
    """The entries that come from the hub, and whether they are prepared already."""
    for name, reference in config.references.items():
        if isinstance(reference.source, HubModel):
            yield f"references.{name}", reference.source, (Path(model_path(name)) / "config.json").is_file()
    for name, dataset in config.datasets.items():
        if isinstance(dataset.source, HubData):
            yield f"datasets.{name}", dataset.source, Path(dataset_path(name)).is_file()
        if dataset.samples is not None and isinstance(dataset.samples.source, HubData):
            folder = Path(block_path(dataset.samples.reference, name, "", "parquet")).parent
            yield f"datasets.{name}.samples", dataset.samples.source, any(folder.glob("*.parquet"))
    for name, benchmark in config.benchmarks.items():
        if isinstance(benchmark.source, HubData):
            yield f"benchmarks.{name}", benchmark.source, Path(benchmark_path(name)).is_file()


def _is_cached(source: HubModel | HubData) -> bool:
    from huggingface_hub import constants, try_to_load_from_cache

    if isinstance(source, HubModel):
        found = (try_to_load_from_cache(source.id, name, revision=source.revision) for name in WEIGHTS)
        return any(isinstance(path, str) for path in found)
    # The package datasets keeps tables under the one name, and the files that it made them from under the other.
    tables = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets")
    files = Path(constants.HF_HUB_CACHE) / f"datasets--{source.id.replace('/', '--')}" / "snapshots"
    return (tables / source.id.replace("/", "___")).is_dir() or files.is_dir()


def _offline(key: str, source: HubModel | HubData, reason: str) -> str:
    local = "a folder" if isinstance(source, HubModel) else "a file"
    return (
        f"{key}.source.id = '{source.id}': is not in the hub's cache, and {endpoint()} cannot be reached "
        f"({reason}): download it where there is a network, or give {local}: source: {{kind: local, path: ...}}"
    )


def _refusals(wanted: Sources) -> Iterator[str]:
    """What the hub does not let us download, one line for each entry."""
    answers: dict[tuple[type, str], str | None] = {}
    for key, source in wanted.items():
        asked = (type(source), source.id)
        if asked not in answers:
            answers[asked] = _in_time(partial(_refusal, source), None)
        if answers[asked] is not None:
            yield f"{key}.source.id = '{source.id}': {answers[asked]}"


def _refusal(source: HubModel | HubData) -> str | None:
    """Say why the hub does not let us download something, and the way out; None if it does, or does not say."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    kind, title, page = ("model", "model", "") if isinstance(source, HubModel) else ("dataset", "data set", "datasets/")
    try:
        HfApi(endpoint=endpoint()).auth_check(source.id, repo_type=kind)
    except GatedRepoError:
        who = "the account of this token has no access" if get_token() else "there is no token"
        licence = f"accept its licence at {endpoint()}/{page}{source.id}"
        return f"the {title} is gated, and {who}: {licence}, and set HF_TOKEN"
    except RepositoryNotFoundError:
        return f"{endpoint()} has no such {title}, or only for those whom its owner lets in: check the id, or HF_TOKEN"
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            return f"{endpoint()} does not know the token: set HF_TOKEN to a valid one, or unset it"
    except Exception:  # of a dozen kinds; downloading reports them
        return None
    return None


def unreachable(asks: Asks | None = None) -> str | None:
    """Say why the hub cannot be reached; None if it can.

    Args:
        asks: asks the hub and returns why it cannot be reached, None if it can; None: over the network.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _in_time(asks or _ask, f"no answer in {PATIENCE_S:.0f} s")


def _in_time(asks: Asks, otherwise: str | None) -> str | None:
    """Wait for an answer, also where looking up the name hangs, which no timeout of the request covers."""
    answers: list[str | None] = []
    thread = Thread(target=lambda: answers.append(asks()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S + 1)
    return answers[0] if answers else otherwise


def _ask() -> str | None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE_S):
            return None
    except HTTPError as error:  # it answers
        return None if error.code < 500 else f"it answers {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
