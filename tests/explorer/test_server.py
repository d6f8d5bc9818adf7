"""The explorer's server: this machine's own page, and nobody else's."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyfcn import cli, explorer
from tinyfcn.explorer.server import MOST_BYTES
from tinyfcn.explorer.web import FILES, SCRIPTS

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "tinyfcn/explorer/web"


def ask(server, method="GET", path="/", body=None, **headers):
    """Status, headers and body; a header of None is not sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        own = {"Host": f"127.0.0.1:{server.server_port}"}
        if body is not None:
            own["Content-Length"] = str(len(body))
        for name, value in {**own, **headers}.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_the_page_and_all_that_it_needs(server):
    for name in ("", *FILES):
        status, headers, data = ask(server, path=f"/{name}")
        assert status == 200 and data == (WEB / (name or "index.html")).read_bytes()
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and "Python" not in headers["Server"]
    page = (WEB / "index.html").read_text("utf-8")
    assert re.findall(r'src="([^"]*)"', page) == [*SCRIPTS]
    assert {p.name for p in WEB.iterdir()} - {"__init__.py", "__pycache__"} == {*FILES}
    for name in FILES:  # nothing is fetched from elsewhere, and nothing stands in the page itself
        found = re.findall(r"https?://[\w.]*", (WEB / name).read_text("utf-8"))
        assert set(found) <= {"http://www.w3.org"}, name
    assert not re.search(r"<script(?! defer src)|<style|\son\w+=|style=", page)


def test_a_room_answers(server):
    for host in ("127.0.0.1", "localhost"):
        here = f"{host}:{server.server_port}"
        for origin in (None, f"http://{here}"):
            status, headers, data = ask(
                server, "POST", "/convolution", b'{"kh":"2"}', Host=here, Origin=origin
            )
            assert status == 200 and headers["Content-Type"].startswith("application/json")
            answer = explorer.room("convolution").answer({"kh": "2"})
            assert json.loads(data) == json.loads(json.dumps(answer))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},  # without the port
        {"Host": "127.0.0.1:1"},
        {"Host": None},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"host": "evil.example"},  # a second one
        {"Origin": "http://127.0.0.1:{port}", "origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_others_are_refused(server, method, headers):
    sent = {n: v and v.format(port=server.server_port) for n, v in headers.items()}
    path, body = ("/", None) if method == "GET" else ("/convolution", b"{}")
    status, _, data = ask(server, method, path, body, **sent)
    assert status == 403 and b"expected a request of" in data


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/__init__.py", "/web/style.css",
        "//etc/passwd", "/etc/passwd", "/style.css/", "/STYLE.CSS", "/style.css%00", "/answers",
        "/" + "a" * 9999, "/http://evil.example/",
    ],
)  # fmt: skip
def test_no_path_leads_outside(server, path):
    status, _, data = ask(server, path=path)
    assert status == 404 and len(data) < 200
    assert ask(server, "POST", path, b"{}")[0] == 404


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe\x00", "'utf-16"),
        (b"[" * 60_000, "expected settings by name, got lists in lists"),
        (b"[]", "convolution: expected an object of settings, got list"),
        (b"NaN", "convolution: expected an object of settings, got float"),
        (b'{"kh": {"a": 1}}', "convolution: kh must be one of"),
        (b'{"kh": "99"}', "convolution: kh must be one of"),
        (b'{"__class__": "1"}', "convolution: no setting is called '__class__'"),
    ],
)
def test_garbage_ends_in_a_sentence(server, body, sentence):
    status, _, data = ask(server, "POST", "/convolution", body)
    assert status == 400 and data.decode().startswith(sentence)
    assert b"Traceback" not in data and len(data) < 500


def test_sizes_are_limited(server):
    for length, status in ((str(MOST_BYTES + 1), 413), ("9" * 5000, 413), ("-1", 411), ("x", 411)):
        assert ask(server, "POST", "/convolution", None, Content_Length=length)[0] == status
    assert ask(server, "POST", "/convolution", None)[0] == 411
    assert ask(server, "POST", "/convolution", None, Transfer_Encoding="chunked")[0] == 411


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW"])
def test_other_methods_are_refused(server, method):
    status, headers, data = ask(server, method)
    assert status == 501 and b"<" not in data and "Access-Control-Allow-Origin" not in headers


def test_what_is_no_http_ends(server):
    for noise in (b"\x16\x03\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\n" * 70_000):
        address = "127.0.0.1", server.server_port
        # It may hang up at any time.
        with contextlib.suppress(OSError), socket.create_connection(address, 10) as other:
            other.sendall(noise + b"\r\n\r\n")
            other.shutdown(socket.SHUT_WR)
            while other.recv(1 << 16):
                pass
    assert ask(server)[0] == 200


def test_a_defect_says_so(server, monkeypatch, capfd):
    def broken(given):
        raise KeyError("a secret")

    monkeypatch.setattr("tinyfcn.explorer.convolution.answer", broken)
    status, _, data = ask(server, "POST", "/convolution", b"{}")
    assert status == 500 and b"secret" not in data and "a secret" in capfd.readouterr().err


def test_only_this_machine_is_listened_to(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


@contextlib.contextmanager
def explore(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command, which does not outlive its block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyfcn", "explore", *arguments], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_says_where_and_ends_with_ctrl_c():
    with explore("--no-browser", PYTHONIOENCODING="ascii") as process:
        line = process.stdout.readline()
        port = int(re.match(r"http://127\.0\.0\.1:(\d+)/ shows", line)[1])
        with explore("--no-browser", "--port", str(port)) as taken:
            said = taken.communicate(timeout=60)[1]
        assert taken.returncode == 2
        assert said.startswith(f"error: --port {port}: Address already in use")
        with explore("--no-browser") as other:  # the usual port is taken at least by this one
            assert other.stdout.readline() != line
            other.kill()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("\nstopped\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("port", ["80", "65536", "x", "-1"])
def test_a_port_that_cannot_be(port, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["explore", f"--port={port}"])
    assert ended.value.code == 2
    assert "expected a port from 1024 to 65535" in capsys.readouterr().err
