"""Models and data sets of a hub that cannot be reached, or that does not let us in: a line for each, before any job."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import warm_snakemake
import yaml
from config_case import DEFAULT

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.runs import Config
from astarpo.planning import hub

ROOT = Path(__file__).resolve().parents[1]
OPEN, GATED, ABSENT = "some/open", "some/gated", "some/absent"
DATA = {"kind": "hub", "split": "train"}


class OneHub(BaseHTTPRequestHandler):
    """Answers as the hub does, by the name that is asked for; see `huggingface_hub.utils.hf_raise_for_status`."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(200)

    def do_GET(self) -> None:
        if self.path.endswith("/auth-check"):  # the client asks for other things as well
            self.asked.append(self.path)
        if "Bearer hf_wrong" in self.headers.get("Authorization", ""):
            self._answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif GATED in self.path:
            self._answer(403, {"X-Error-Code": "GatedRepo"})
        elif ABSENT in self.path:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
        else:
            self._answer(500 if "broken" in self.path else 200)

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub on this machine, with an empty cache and without a token."""
    from huggingface_hub import constants

    OneHub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneHub)
    Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "PATIENCE_S", 120.0)
    monkeypatch.setattr(constants, "ENDPOINT", there)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "tables"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    yield there
    server.shutdown()


def config_with(model: str = OPEN, training: str = OPEN, benchmark: str = OPEN) -> Config:
    raw = copy.deepcopy(DEFAULT)
    tiny = raw["references"]["tiny"]
    raw["references"]["tiny"] = {**tiny, "source": {"kind": "hub", "id": model}}
    raw["datasets"]["sums"]["source"] = {**DATA, "id": training}
    next(iter(raw["benchmarks"].values()))["source"] = {**DATA, "id": benchmark}
    return load_config(raw)


BENCHMARK = f"benchmarks.{next(iter(DEFAULT['benchmarks']))}"


def test_a_hub_that_lets_us_in_is_no_problem(address: str) -> None:
    assert hub.hub_problems(config_with()) == []
    assert sorted(OneHub.asked) == ["/api/datasets/some/open/auth-check", "/api/models/some/open/auth-check"]
    assert hub.hub_problems(config_with("some/broken")) == []  # the download says what is wrong
    hub.check_hub(config_with(), {"datasets.sums"})


def test_what_is_gated_or_absent_is_a_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_with(GATED, GATED, ABSENT)
    model, data, benchmark = hub.hub_problems(config)
    assert model == (
        "references.tiny.source.id = 'some/gated': the model is gated, and there is no token: accept its licence at "
        f"{address}/some/gated, and set HF_TOKEN"
    )
    assert data == (
        "datasets.sums.source.id = 'some/gated': the data set is gated, and there is no token: accept its licence at "
        f"{address}/datasets/some/gated, and set HF_TOKEN"
    )
    assert benchmark == (
        f"{BENCHMARK}.source.id = 'some/absent': {address} has no such data set, or only for those whom its owner lets "
        "in: check the id, or HF_TOKEN"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert "is gated, and the account of this token has no access: accept" in hub.hub_problems(config)[0]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert f"{address} does not know the token: set HF_TOKEN to a valid one, or unset it" in hub.hub_problems(config)[0]
    with pytest.raises(InputError, match=r"^datasets\.sums\.source\.id = 'some/gated'.*[^\n]$"):
        hub.check_hub(config, {"datasets.sums"})


def test_data_sets_out_of_reach(address: str, tmp_path: Path) -> None:
    config = config_with()
    found = hub.hub_problems(config, lambda: "it is down")
    assert [one.partition(" ")[0] for one in found] == [
        "references.tiny.source.id",
        "datasets.sums.source.id",
        f"{BENCHMARK}.source.id",
    ]
    assert found[1] == (
        f"datasets.sums.source.id = 'some/open': is not in the hub's cache, and {address} cannot be reached (it is "
        "down): download it where there is a network, or give a file: source: {kind: local, path: ...}"
    )
    (tmp_path / "results/datasets").mkdir(parents=True)
    (tmp_path / "results/datasets/sums.parquet").touch()
    assert len(hub.hub_problems(config, lambda: "it is down")) == 2
    # Once more in a job: then its table is no longer good, and only its own source counts.
    assert len(hub.hub_problems(config, lambda: "it is down", {"datasets.sums"})) == 1
    assert hub.hub_problems(config, lambda: "it is down", {"datasets.sums-test"}) == []


@pytest.mark.parametrize("folder", ["tables/some___open", "cache/datasets--some--open/snapshots"])
def test_a_hub_is_not_asked_for_data_sets_in_its_cache(folder: str, address: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (line,) = hub.hub_problems(config_with(), lambda: "it is down")
    assert line.startswith("references.tiny.")


def test_imported_samples_may_come_from_a_hub(address: str, tmp_path: Path) -> None:
    raw = copy.deepcopy(DEFAULT)
    source = {**DATA, "id": GATED}
    raw["datasets"]["sums"]["samples"] = {"reference": "tiny", "source": source, "problem": "a", "response": "b"}
    config = load_config(raw)
    (line,) = hub.hub_problems(config)
    assert line.startswith("datasets.sums.samples.source.id = 'some/gated': the data set is gated")
    block = tmp_path / "results/samples/tiny/sums/block-s0-p0.parquet"
    block.parent.mkdir(parents=True)
    block.touch()
    assert hub.hub_problems(config) == []


def test_a_hub_that_never_says_whether_it_lets_us_in_is_not_waited_for(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PATIENCE_S", -0.9)
    monkeypatch.setattr(hub, "_refusal", lambda source: time.sleep(60))
    assert list(hub._refusals({"datasets.sums": config_with().datasets["sums"].source})) == []  # type: ignore[dict-item]


def test_no_job_starts_without_the_hub(tmp_path: Path) -> None:
    config = copy.deepcopy(DEFAULT)
    config["datasets"]["sums"]["source"] = {**DATA, "id": "nobody/nothing"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = warm_snakemake.snakemake(
        tmp_path,
        *("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "1"),
        "results/datasets/sums.parquet",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path / "hub"),
    )
    assert done.returncode == 1
    assert "datasets.sums.source.id = 'nobody/nothing': is not in the hub's cache" in done.stdout + done.stderr
    assert "(HF_HUB_OFFLINE is set)" in done.stdout + done.stderr
    assert not (tmp_path / "results/logs/prepare_dataset/sums.log").exists()
