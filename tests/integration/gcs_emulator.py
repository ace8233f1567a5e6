"""Runs an emulator of Cloud Storage, fake-gcs-server, and a proxy through which Google's clients find it.

TensorFlow's client connects to Google's addresses only. But it uses libcurl, which goes through the proxy that
https_proxy names and trusts the certificate that CURL_CA_BUNDLE names. So the proxy answers in the name of Google's
hosts and passes the requests on to the emulator. Beam's client goes the same way. On Google's machines, both clients
get an access token from a metadata server. The proxy is that server too, and it refuses requests without its token.
"""

import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

EMULATOR = "github.com/fsouza/fake-gcs-server@v1.56.1"
HOSTS = ("www.googleapis.com", "storage.googleapis.com")
METADATA = {
    "": "computeMetadata/",
    "project/project-id": "test",
    "instance/service-accounts/default/": json.dumps({"email": "default@test", "scopes": [], "aliases": ["default"]}),
    "instance/service-accounts/default/token": json.dumps(
        {"access_token": "issued-here", "expires_in": 3600, "token_type": "Bearer"}
    ),
}


class Emulator:
    """A running emulator.

    Args:
        port: where it listens.
        environment: the variables that send Google's clients there.
    """

    def __init__(self, port: int, environment: dict[str, str]):
        self._port = port
        self.environment = environment

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self._ask("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())

    def upload(self, directory: Path, bucket: str, prefix: str) -> None:
        """Copies the files below a directory."""
        for path in directory.rglob("*"):
            if path.is_file():
                name = urllib.parse.quote(f"{prefix}/{path.relative_to(directory)}", safe="")
                self._ask("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", path.read_bytes())

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Returns the names of all objects that begin with a prefix, except objects that stand for a folder."""
        listing = json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o?{urllib.parse.urlencode({'prefix': prefix})}"))
        assert "nextPageToken" not in listing
        return [item["name"] for item in listing.get("items", []) if not item["name"].endswith("/")]

    def contents(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """Returns the bytes of the objects below a prefix, by the rest of their names."""
        folder = f"{prefix}/"
        return {
            name.removeprefix(folder): self._ask(
                "GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
            )
            for name in self.names(bucket, folder)
        }

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        status, _, answer = _ask(self._port, method, path, body, {"Content-Type": "application/json"})
        assert status == 200, (method, path, answer)
        return answer


@contextlib.contextmanager
def running(build: Path, directory: Path) -> Iterator[Emulator]:
    """Runs an emulator for as long as the context lasts.

    Args:
        build: the folder for the emulator's program, which is built if it is not there.
        directory: the folder for the log and the certificate.
    """
    program = _program(build)
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=emulator"]
    request += ["-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate]
    subprocess.run(request, check=True, capture_output=True)
    port = _free_port()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(directory / "emulator.log", "wb"))
        arguments = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
        process = subprocess.Popen([program, *arguments, "-public-host", HOSTS[1]], stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        _wait_for(port, process)
        proxy = _Proxy(port, certificate, key)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        stack.callback(proxy.server_close)
        stack.callback(proxy.shutdown)
        address = f"127.0.0.1:{proxy.server_port}"
        environment = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), f"http://{address}")
        environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")
        environment |= dict.fromkeys(("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(certificate))
        environment |= dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP"), address)
        # These keep the clients from using an account of the person who runs the tests.
        environment |= {"CLOUDSDK_CONFIG": str(directory), "GOOGLE_APPLICATION_CREDENTIALS": "", "NO_GCE_CHECK": ""}
        yield Emulator(port, environment)


def _program(build: Path) -> Path:
    """Returns the path of the emulator's program, and builds it if it is not there yet."""
    program = build / EMULATOR.rpartition("@")[2] / "fake-gcs-server"
    for tool in ("openssl", *(() if program.exists() else ("go",))):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine, which the emulator of Cloud Storage needs")
    if not program.exists():
        environment = {**os.environ, "GOBIN": str(program.parent)}
        subprocess.run(["go", "install", EMULATOR], env=environment, check=True, timeout=1800)
    return program


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "the emulator does not start"
            time.sleep(0.05)


def _ask(port: int, method: str, path: str, body: bytes, headers: dict) -> tuple[int, list[tuple[str, str]], bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()


class _Proxy(http.server.ThreadingHTTPServer):
    """Accepts CONNECT to one of HOSTS and answers as that host. Requests without CONNECT are for metadata."""

    daemon_threads = True

    def __init__(self, emulator_port: int, certificate: Path, key: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.emulator_port = emulator_port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)

    def handle_error(self, *_):
        pass  # this happens when a client is killed


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    of_one_connection = {"connection", "content-length", "expect", "transfer-encoding"}

    def do_CONNECT(self):
        if self.path.rpartition(":")[0] not in HOSTS:
            self.send_error(403, f"{self.path} is not one of {HOSTS}")
            return
        self.send_response(200)
        self.end_headers()
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.setup()  # the next request comes through the encrypted connection
        self.close_connection = False

    def do_GET(self):
        body = self._body()
        if not isinstance(self.request, ssl.SSLSocket):
            found = METADATA.get(self.path.partition("?")[0].removeprefix("/computeMetadata/v1/").removeprefix("/"))
            kind = "application/json" if found and found.startswith("{") else "application/text"
            headers = [("Metadata-Flavor", "Google"), ("Content-Type", kind)]
            self._answer(404 if found is None else 200, headers, (found or "").encode())
        elif self.headers["Authorization"] != "Bearer issued-here":
            self._answer(401, [], b"no token, or one that the metadata server did not issue")
        else:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in self.of_one_connection}
            kept["X-Forwarded-Proto"] = "https"  # so that the emulator's answers name https addresses, which lead here
            self._answer(*_ask(self.server.emulator_port, self.command, self.path, body, kept))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _body(self) -> bytes:
        # TensorFlow sends both a length and an encoding. HTTP/1.1 forbids that, and the emulator refuses it.
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in self.of_one_connection:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass
