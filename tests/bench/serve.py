"""How many messages a second `hogline serve` answers for: python3 tests/bench/serve.py PROGRAM

Callers of this machine send batches as SDKs do, and single messages, over connections that stay open, and wait for
each answer; the gateway keeps what it takes in a folder on the disk, and delivers meanwhile to a server that takes
everything. All of them share the machine's processors.
"""

import argparse
import base64
import http.server
import json
import multiprocessing
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import uuid

TOKEN = "phc_of_the_benchmark"


class Taker(http.server.BaseHTTPRequestHandler):
    """A PostHog that takes everything, and looks at nothing."""

    protocol_version = "HTTP/1.1"
    # Otherwise an answer waits for the acknowledgement of its head.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"status":"Ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def take(port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    port.send(server.server_port)
    server.serve_forever()


def requests(count, size):
    """The bytes of so many requests with so many messages each."""
    authorization = base64.b64encode(f"{TOKEN}:".encode()).decode()
    for _ in range(count):
        messages = [
            {
                "type": "track",
                "event": "Order Completed",
                "userId": f"user-{number % 997}",
                "messageId": str(uuid.uuid4()),
                "timestamp": "2025-03-09T11:58:47Z",
                "properties": {"revenue": 39.5, "currency": "EUR", "plan": "pro", "note": "x" * 200},
                "context": {"ip": "203.0.113.7", "library": {"name": "analytics-python", "version": "2.4.0"}},
                "integrations": {},
            }
            for number in range(size)
        ]
        path, body = ("/v1/track", messages[0]) if size == 1 else ("/v1/batch", {"batch": messages})
        body = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {authorization}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def call(port, count, size, gate, took):
    """One caller: sends, and waits for each answer."""
    prepared = list(requests(count, size))
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = connection.makefile("rb")
    gate.wait()
    each = []
    for request in prepared:
        begun = time.monotonic()
        connection.sendall(request)
        assert b" 200 " in (status := answers.readline()), status
        length = 0
        while (line := answers.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answers.read(length)
        each.append(time.monotonic() - begun)
    took.put(each)


def load(port, callers, count, size):
    gate, took = multiprocessing.Barrier(callers + 1), multiprocessing.Queue()
    processes = [multiprocessing.Process(target=call, args=(port, count, size, gate, took)) for _ in range(callers)]
    for process in processes:
        process.start()
    gate.wait()
    begun = time.monotonic()
    each = sorted(one for _ in processes for one in took.get())
    seconds = time.monotonic() - begun
    for process in processes:
        process.join()
    middle, late = each[len(each) // 2], each[len(each) * 99 // 100]
    print(
        f"{callers} callers, {size} messages a request: {callers * count * size / seconds:,.0f} messages/s, "
        f"answered after {1000 * middle:.1f} ms (99 of 100 within {1000 * late:.1f} ms)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--folder", help="where the outbox is; the disk matters")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    taker = multiprocessing.Process(target=take, args=(theirs,), daemon=True)
    taker.start()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOGLINE_CAPTURE_HOST": f"http://127.0.0.1:{ours.recv()}",
            "HOGLINE_CAPTURE_KEY": TOKEN,
        }
        command = [options.program.resolve(), "serve", "--listen", "127.0.0.1:0", "--drain", "60s"]
        gateway = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        port = int(re.search(r"http://127.0.0.1:(\d+)", gateway.stdout.readline())[1])
        load(port, callers=4, count=250, size=100)
        load(port, callers=32, count=500, size=1)
        begun = time.monotonic()
        gateway.terminate()
        print(f"{gateway.communicate()[0].splitlines()[-1]} (after {time.monotonic() - begun:.1f} s)")


if __name__ == "__main__":
    main()
