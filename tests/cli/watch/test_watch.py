"""A page on loopback: what its controls say is what runs, and nobody else's page has a say."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from html import unescape
from importlib.resources import files
from urllib.request import Request, urlopen

import numpy as np
import pytest

import adaspring
from adaspring import targets
from adaspring.cli.watch.server import MOST_BODY_BYTES, Server
from adaspring.cli.watch.session import Session
from adaspring.cli.watch.settings import POLICIES, Settings
from adaspring.errors import InputError
from adaspring.explore.board.runtime import runtime_files
from adaspring.library.writer import write_library

from ...support.cli import adaspring as command
from ...support.cli import refused
from ...support.networks import SmallResNet
from ...support.passes import data, known
from ...support.pieces import parts_in_pieces
from ...support.waiting import wait_until

pytestmark = pytest.mark.slow
NAME = "<b id=evil>net</b>"
PACED = {"calls_per_s": 50.0}
DENSE = ("dense", "dense/dense")  # of the same metric and energy: either may run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A library in pieces that brings its runtime along; its name is hostile."""
    path = tmp_path_factory.mktemp("watch") / "net.lib"
    parts = replace(parts_in_pieces(), runtime_paths=runtime_files(targets.host()), name=NAME)
    write_library(path, parts)
    return path


@pytest.fixture(scope="module")
def inputs():
    return [data(known(SmallResNet), 1, seed=seed).inputs for seed in range(3)]


@contextmanager
def serving(session, port=0):
    with Server(session, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        session.start(failed=server.shutdown)
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def served(folder, inputs):
    with (
        adaspring.load(folder) as library,
        closing(Session(library, inputs, Settings(context=PACED))) as session,
        serving(session) as server,
    ):
        yield server


def ask(server, path, body=None, **headers):
    """The JSON that is answered."""
    given = {"Content-Type": "application/json", **headers}
    content = None if body is None else json.dumps(body).encode()
    url = server.address.rstrip("/") + path
    with urlopen(Request(url, content, given), timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        return json.loads(answer.read())


def change(server, policy="Balanced", follow=False, **context):
    settings = {"policy": policy, "follow": follow, "context": {**PACED, **context}}
    return ask(server, "/api/settings", settings)


def alike(variant):
    """The variants that are as good."""
    return DENSE if variant in DENSE else (variant,)


def test_the_library_is_described_with_ranges_for_sliders(served):
    facts = ask(served, "/api/library")
    assert facts["name"] == NAME
    assert facts["variants"] == ["dense"]
    assert facts["segments"] == [["dense", "half", "int8"]] * 2
    assert facts["combinations_count"] == 9
    assert facts["policies"] == list(POLICIES)
    assert facts["energy_mj"] == [18.0, 50.0]
    low, high = facts["metric_range"]
    assert 0.8 < low < high == 0.9
    assert facts["memory_bytes"][1] == 9e6


@pytest.mark.parametrize(
    ("policy", "context"),
    [
        ("Balanced", {}),
        ("Balanced", {"battery_ratio": 0.0}),
        ("Balanced", {"battery_ratio": 0.0, "metric_floor": 0.898}),
        ("Balanced", {"memory_budget_bytes": 1e6}),
        ("Deadline", {"battery_ratio": 0.0}),
        ("Budget", {"energy_left_mj": 1e6, "time_left_s": 1000.0}),
        ("LambdaRule", {"battery_ratio": 0.1}),
    ],
    ids=str,
)
def test_what_runs_is_what_the_policy_chooses_for_the_context(served, folder, policy, context):
    with adaspring.load(folder).open(policy=POLICIES[policy]) as net:
        wanted = net.adapt(adaspring.Context(**PACED, **context))
    change(served)
    state = change(served, policy, **context)
    assert state["variant"] in alike(wanted.to_variant)
    assert state["predicted"]["metric"] == pytest.approx(wanted.predicted.metric)
    assert state["predicted"]["energy_mj"] == pytest.approx(wanted.predicted.energy_mj)
    assert state["missed"] == []
    assert state["settings"]["context"] == {**PACED, **context}
    wait_until(lambda: ask(served, "/api/state")["measured"]["calls_count"] > 0)
    state = ask(served, "/api/state")
    assert state["variant"] == state["moments"][-1][1]
    assert state["variant"] in alike(wanted.to_variant)
    assert state["measured"]["p50_ms"] > 0


def test_a_switch_says_why_and_a_combination_shows_its_cells(served):
    change(served)
    state = change(served, battery_ratio=0.0)
    assert state["cells"] == state["variant"].split("/") == ["int8", "int8"]
    last = state["switches"][-1]
    assert last["from_variant"] in DENSE
    assert last["to_variant"] == "int8/int8"
    assert "battery" in last["reason"]
    whole = change(served, metric_floor=0.9)
    assert whole["cells"] in (None, ["dense", "dense"])


def test_what_cannot_be_met_is_said_with_by_how_much(served):
    state = change(served, memory_budget_bytes=100.0)
    assert state["relaxed"] == ["memory"]
    (missed,) = state["missed"]
    assert re.fullmatch(r"memory: by [\d.e+]+ bytes \(.*\)", missed)
    state = change(served, latency_budget_ms=1e-5)
    assert state["relaxed"] == ["latency"]
    wait_until(lambda: ask(served, "/api/state")["measured"]["late_count"] > 0)


def test_no_calls_a_second_makes_none(served):
    def newest_age_s():
        return ask(served, "/api/state")["moments"][-1][0]

    change(served)
    wait_until(lambda: ask(served, "/api/state")["moments"])
    change(served, calls_per_s=0.0)
    wait_until(lambda: newest_age_s() > 2)
    change(served)
    wait_until(lambda: newest_age_s() < 2)


def test_what_is_not_given_the_sensors_say_when_they_are_followed(served):
    state = change(served, follow=True, battery_ratio=0.0)
    assert state["context"]["memory_budget_bytes"] > 0
    assert state["context"]["battery_ratio"] == 0.0
    assert state["variant"] == "int8/int8"
    assert re.match("(moves|stays)", state["reason"])
    state = change(served, follow=True, policy="Deadline", battery_ratio=0.0)
    assert state["variant"] in DENSE
    state = change(served)
    assert state["context"]["memory_budget_bytes"] is None
    assert state["error"] is None


def test_many_clients_are_answered_at_once(served):
    contexts = [{"battery_ratio": index / 8} for index in range(8)]
    found, failed = [], []

    def client(context):
        try:
            for _ in range(5):
                found.append(change(served, **context)["variant"])
                found.append(ask(served, "/api/state")["variant"])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=client, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(found) == 80
    change(served)


def test_a_client_that_says_nothing_keeps_nobody_waiting(served):
    idle = [socket.create_connection(("127.0.0.1", served.server_port)) for _ in range(10)]
    try:
        assert ask(served, "/api/state")["variant"]
    finally:
        for each in idle:
            each.close()


def test_connections_are_limited_and_answered_again_when_some_end(served):
    idle = [socket.create_connection(("127.0.0.1", served.server_port)) for _ in range(60)]
    for each in idle:
        each.close()

    def is_answered():
        try:
            return ask(served, "/api/state")
        except OSError:
            return None

    wait_until(is_answered)


def request(server, method, path, body=b"", **headers):
    """Status and text of an answer to a request with these headers alone (`_` is `-`)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    with closing(connection):
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers


JSON = {"Content_Type": "application/json"}
EMPTY = b"{}"


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (403, "GET", "/", {"Host": "evil.example"}),
        (403, "GET", "/api/state", {"Host": "evil.example:PORT"}),
        (403, "GET", "/api/state", {"Host": "127.0.0.1.evil.example:PORT"}),
        (403, "GET", "/api/state", {"Host": "127.0.0.1"}),
        (403, "GET", "/api/state", {"Host": ""}),
        (403, "GET", "/api/state", {}),
        (403, "GET", "/api/state", {"Host": "HERE", "Sec_Fetch_Site": "cross-site"}),
        (403, "GET", "/api/state", {"Host": "HERE", "Sec_Fetch_Site": "same-site"}),
        (403, "POST", "/api/settings", {"Host": "HERE", "Origin": "http://evil.example", **JSON}),
        (403, "POST", "/api/settings", {"Host": "HERE", "Origin": "null", **JSON}),
        (403, "POST", "/api/settings", {"Host": "HERE", "Origin": "http://127.0.0.1:1", **JSON}),
        (403, "POST", "/api/settings", {"Host": "HERE", "Origin": "https://HERE", **JSON}),
        (403, "POST", "/api/settings", {"Host": "evil.example", "Origin": "http://evil.example"}),
        (415, "POST", "/api/settings", {"Host": "HERE", "Content_Type": "text/plain"}),
        (415, "POST", "/api/settings", {"Host": "HERE"}),
        (404, "POST", "/", {"Host": "HERE", **JSON}),
        (404, "POST", "/api/state", {"Host": "HERE", **JSON}),
        (404, "GET", "/api/settings", {"Host": "HERE"}),
        (404, "GET", "/page.html", {"Host": "HERE"}),
        (404, "GET", "/../../../../etc/passwd", {"Host": "HERE"}),
        (404, "GET", "//127.0.0.1/", {"Host": "HERE"}),
        (404, "GET", "http://127.0.0.1/", {"Host": "HERE"}),
        (501, "OPTIONS", "/api/settings", {"Host": "HERE"}),
        (501, "PUT", "/api/settings", {"Host": "HERE"}),
        (501, "DELETE", "/", {"Host": "HERE"}),
    ],
    ids=str,
)
def test_a_hostile_request_is_refused(served, status, method, path, headers):
    port = str(served.server_port)
    here = {n: v.replace("HERE", f"127.0.0.1:{port}").replace("PORT", port)
            for n, v in headers.items()}  # fmt: skip
    before = ask(served, "/api/state")["settings"]
    length = {"Content_Length": str(len(EMPTY))} if method == "POST" else {}
    found, text, _ = request(served, method, path, EMPTY if length else b"", **here, **length)
    assert found == status, text
    assert "Traceback" not in text
    assert ask(served, "/api/state")["settings"] == before


@pytest.mark.parametrize(
    ("status", "length"),
    [
        (413, str(MOST_BODY_BYTES + 1)),
        (413, "9" * 30),
        (411, None),
        (411, "-1"),
        (411, "1_0"),
        (411, "²"),
        (411, ""),
    ],
)
def test_a_body_of_no_length_or_of_too_many_bytes_is_refused(served, status, length):
    given = {} if length is None else {"Content_Length": length.encode()}
    body = b" " * (MOST_BODY_BYTES + 1) if length and len(length) < 9 else b" " * (1 << 16)
    found, text, _ = request(
        served, "POST", "/api/settings", body if status == 413 else b"",
        Host=f"localhost:{served.server_port}", **JSON, **given,
    )  # fmt: skip
    assert found == status, text


def test_a_body_in_chunks_is_refused(served):
    host = f"127.0.0.1:{served.server_port}"
    headers = {"Transfer_Encoding": "chunked", "Content_Length": "2"}
    found, _, _ = request(served, "POST", "/api/settings", EMPTY, Host=host, **JSON, **headers)
    assert found == 411


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"context": {"battery_ratio": 1.5}}', "battery_ratio is 1.5; it must be in [0, 1]"),
        (b'{"context": {"calls_per_s": -1}}', "calls_per_s is -1.0"),
        (b'{"context": {"latency_budget_ms": 1e99}}', "latency_budget_ms is 1e+99"),
        (b'{"context": {"latency_budget_ms": NaN}}', "cannot be read"),
        (b'{"context": {"latency_budget_ms": 1e999}}', "cannot be read"),
        (b'{"context": {"latency_budget_ms": true}}', "Expected `float | null`"),
        (b'{"context": {"latency_budget_ms": "5"}}', "Expected `float | null`"),
        (b'{"context": {"shapes": null}}', "a context has no 'shapes'; it has battery_ratio"),
        (b'{"context": {"deadline": 5}}', "a context has no 'deadline'"),
        (b'{"context": []}', "Expected `object`"),
        (b'{"policy": "Best"}', "no policy 'Best' here; there are Balanced, Deadline"),
        (b'{"policy": "__class__"}', "no policy '__class__'"),
        (b'{"follow": 1}', "Expected `bool`"),
        (b'{"dwell_s": 1}', "unknown field `dwell_s`"),
        (b"[" * 4000, "cannot be read"),
        (b'{"context": {"a": ' + b"[" * 4000, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "cannot be read"),
        (b'{"policy": "Budget", "context": {"battery_ratio": 0.5}}', "Budget needs to know"),
        (b'{"policy": "Budget", "follow": true, "context": {"energy_left_mj": 5}}', "time_left_s"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_settings_are_refused_and_change_nothing(served, body, words):
    before = change(served, "Deadline", battery_ratio=0.25)
    host = f"127.0.0.1:{served.server_port}"
    headers = {**JSON, "Content_Length": str(len(body))}
    status, text, _ = request(served, "POST", "/api/settings", body, Host=host, **headers)
    assert status == 400
    assert words in text
    assert text.count("\n") == 1
    after = ask(served, "/api/state")
    assert after["settings"] == before["settings"]
    assert after["variant"] == before["variant"]


def test_the_page_loads_nothing_from_elsewhere_and_cannot_be_framed(served):
    host = f"localhost:{served.server_port}"
    status, page, headers = request(served, "GET", "/?battery_ratio=0", Host=host)
    assert status == 200
    assert page == files("adaspring.cli.watch").joinpath("page.html").read_text()
    assert not re.search(r"https?:|//\w+\.|@import|url\(|innerHTML|eval\(|<script ", page)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["Access-Control-Allow-Origin"] is None


def test_a_call_that_fails_ends_it_with_its_error(folder):
    wrong = [(np.zeros((1, 2), np.float32),)]
    with (
        adaspring.load(folder) as library,
        closing(Session(library, wrong, Settings(context=PACED))) as session,
        Server(session, 0) as server,
    ):
        session.start(failed=server.shutdown)
        server.serve_forever(0.02)
        assert isinstance(session.failure, InputError)


# --- the browser


def dom_of(url, tmp_path):
    """The page in a browser without a screen, when it has been at work for some seconds."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium is installed (Debian package chromium)")
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom",
        "--virtual-time-budget=4000", "--window-size=1000,700",
    ]  # fmt: skip
    for attempt in range(3):  # it takes a second, and once in dozens of times never ends
        command = [browser, *options, f"--user-data-dir={tmp_path / str(attempt)}", url]
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True)
            return done.stdout
    return pytest.fail(f"{browser} did not end")


def shown(dom, name):
    """The text of an element, by its id."""
    (found,) = re.findall(rf'id="{name}"[^>]*>([^<]*)<', dom)
    return unescape(found)


def test_in_a_browser_the_page_shows_what_the_sliders_make_run(served, tmp_path):
    change(served)
    dom = dom_of(f"{served.address}?battery_ratio=0&calls_per_s=50", tmp_path)
    assert shown(dom, "running") == "int8/int8" == ask(served, "/api/state")["variant"]
    assert "battery 0%" in shown(dom, "reason")
    assert dom.count('<i class="on">int8</i>') == 2
    assert "mJ</b>" in dom
    assert "→ int8/int8" in dom
    assert shown(dom, "library").startswith(f"{NAME} on ")
    assert shown(dom, "trouble") == ""
    assert not re.search("<b id=.?evil", dom)
    dom = dom_of(f"{served.address}?battery_ratio=&policy=Deadline", tmp_path)
    assert shown(dom, "running") in DENSE
    assert ask(served, "/api/state")["settings"]["policy"] == "Deadline"


def test_in_a_browser_what_is_refused_is_said(served, tmp_path):
    change(served)
    dom = dom_of(f"{served.address}?policy=Budget&battery_ratio=0.5", tmp_path)
    assert "Budget needs to know the energy left" in shown(dom, "trouble")
    assert shown(dom, "running") in DENSE


# --- the command

WITHOUT_THE_COMPILER = (
    "import sys; sys.modules.update(dict.fromkeys(('tvm', 'torch', 'onnx', 'scipy'))); "
    "from adaspring.cli import main; main()"
)


def heed_interrupts():
    """A shell that starts the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("data_file", [None, "x.npz"])
def test_it_serves_without_the_compiler_until_ctrl_c(folder, inputs, tmp_path, data_file):
    arguments = [] if data_file is None else ["--data", str(tmp_path / data_file)]
    np.savez(tmp_path / "x.npz", x=np.concatenate([x for (x,) in inputs]))
    child = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_THE_COMPILER, "watch", str(folder), "--json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    with child:
        try:
            line = child.stdout.readline()
            record = json.loads(line)
            assert record["library"] == str(folder)
            url = record["address"] + "api/state"

            def calls_count():
                with urlopen(url, timeout=30) as answer:
                    return json.loads(answer.read())["measured"]["calls_count"]

            wait_until(lambda: calls_count() > 3)
            os.kill(child.pid, signal.SIGINT)
            stdout, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, stdout, stderr) == (130, "", "interrupted\n")


def test_a_careless_start_is_refused_in_one_line(folder, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        found = command("watch", folder, "--port", port)
        refused(found, f"127.0.0.1:{port}", "another program listens", "--port", status=2)
    refused(command("watch", tmp_path / "none.lib"), "none.lib")
    np.savez(tmp_path / "x.npz", z=np.zeros((3, 4), np.float32))
    refused(command("watch", folder, "--data", tmp_path / "x.npz"), "x.npz holds z")
    for pace in ("nan", "-1", "1e99", "fast"):
        found = command("watch", folder, "--pace", pace)
        assert found.exit_code == 2
        assert "--pace" in found.stderr
