"""Calls by real SDKs, through `hogline serve`, into the sandbox, event by event.

Each SDK makes the six calls that were recorded in `tests/fixtures/tracking-calls`, and what arrives has to be
what stands there for hogline's own profile; ids, versions and the times that an SDK sets itself apart. Twice:
once with all in order, and once with a gateway that is killed while PostHog is away, after it answered.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent
CALLS = ROOT / "tests" / "fixtures" / "tracking-calls"

KEY = "phx_sandbox_key_that_may_read_everything"
TOKEN = "phc_sandbox_project_key"
WRITE_KEY = "wk_of_the_sdks"

# The longest that anything may take, in seconds.
PATIENCE = 60

# The call that says itself when it happened.
TIMED = "Order Completed"
TIME = datetime.datetime(2025, 11, 20, 7, 30, tzinfo=datetime.timezone.utc)


class Program:
    """hogline, doing something until it is stopped."""

    def __init__(self, hogline, arguments, folder, environment=()):
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"], **dict(environment)}
        self.log = open(folder / f"{arguments[0]}.log", "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            [hogline, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://[0-9.]+:[0-9]+", line)
        if not found:
            self.process.wait()
            self.log.seek(0)
            sys.exit(f"{arguments[0]} did not start: {line}{self.log.read()}")
        self.address = found[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        text = self.process.stdout.read()
        code = self.process.wait(PATIENCE)
        assert code == 0, f"it ended with {code}: {text}"
        return text

    def kill(self):
        self.process.kill()
        self.process.wait()


class Scene:
    """A folder, a sandbox on a port of its own, and a gateway before it."""

    def __init__(self, hogline, folder):
        self.hogline, self.folder = hogline, folder
        self.port = None

    def posthog(self):
        listen = f"127.0.0.1:{self.port or 0}"
        sandbox = Program(self.hogline, ["sandbox", "--listen", listen, "--events", "1"], self.folder)
        self.port = sandbox.address.rsplit(":", 1)[1]
        return sandbox

    def gateway(self):
        secrets = f'{{ project_api_key: {TOKEN}, host: "http://127.0.0.1:{self.port}" }}'
        environment = {
            "SANDBOX": f"{{ type: api, spec: posthog, secrets: {secrets} }}",
            "HOGLINE_SERVE_KEYS": f"{WRITE_KEY}=SANDBOX",
        }
        return Program(self.hogline, ["serve", "--listen", "127.0.0.1:0"], self.folder, environment)

    def arrived(self):
        """What is in the sandbox of the one who made the calls, as often as it came."""
        url = f"http://127.0.0.1:{self.port}/api/projects/12345/events/?distinct_id=user-7&limit=1000&after=2025-01-01"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["results"]


def send(sdk, address):
    """Makes the calls in a process of their own, and waits until the SDK has sent them."""
    if sdk.endswith("-node"):
        command = ["node", str(ROOT / "tests" / "sdks.js"), sdk, address, WRITE_KEY]
    else:
        command = [os.environ["PYTHON"], __file__, "--send", address, sdk]
    subprocess.run(command, check=True, timeout=PATIENCE)


def calls(sdk, address):
    """The six calls, by an SDK for Python."""
    if sdk == "segment-python":
        from segment.analytics.client import Client
    else:
        from rudderstack.analytics.client import Client
    client = Client(WRITE_KEY, host=address)
    context = {
        "ip": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.1 Safari/605.1.15",
        "groupId": "acme",
    }
    bought = {"revenue": 39.5, "currency": "EUR", "coupon": None}
    page = {"url": "https://example.com/pricing?utm_source=ad", "title": "Prices"}
    client.identify("user-7", {"email": "ada@example.com", "plan": "pro", "age": 36}, anonymous_id="anon-7")
    client.track("user-7", TIMED, bought, context=context, timestamp=TIME)
    client.page("user-7", "Docs", "Pricing", page)
    client.screen("user-7", "App", "Settings", {"tab": "billing"})
    client.group("user-7", "acme", {"name": "Acme Ltd", "employees": 329, "groupType": "company"})
    client.alias("anon-7", "user-7")
    client.flush()
    client.join()


def until(what, is_so):
    """Waits until something is so, and gives it."""
    end = time.monotonic() + PATIENCE
    while not (found := is_so()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)
    return found


def accepted(gateway):
    """How many messages a gateway has answered for."""
    with urllib.request.urlopen(f"{gateway.address}/metrics", timeout=PATIENCE) as answer:
        return int(re.search(r"^hogline_serve_accepted_total (\d+)$", answer.read().decode(), re.M)[1])


def own(properties):
    """What an event said itself: PostHog adds its groups by number; versions change."""
    return {name: value for name, value in properties.items() if not re.match(r"\$group_\d|\$lib_version$", name)}


def compare(sdk, events, begun):
    """Holds what arrived against what was recorded."""
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids) == 6, f"{sdk}: came as {ids}"
    expected = json.loads((CALLS / f"{sdk}.events.json").read_text(encoding="utf-8"))
    for wanted in (event["hogline"] for event in expected):
        (event,) = (event for event in events if event["event"] == wanted["event"])
        got, wanted = (
            {"distinct_id": one["distinct_id"], "properties": own(one["properties"])} for one in (event, wanted)
        )
        assert got == wanted, f"{sdk}:\n{got}\nis not\n{wanted}"
        at = datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
        if event["event"] == TIMED:
            assert at == TIME, f"{sdk}: {at}"
        else:
            now = datetime.datetime.now(datetime.timezone.utc)
            assert begun - datetime.timedelta(minutes=1) <= at <= now, f"{sdk}: {at}"


def six(scene):
    """The events, once all of them are there."""
    return until("six events arrived", lambda: (lambda found: found if len(found) >= 6 else None)(scene.arrived()))


def calm(sdk, scene):
    """All in order."""
    begun = datetime.datetime.now(datetime.timezone.utc)
    sandbox, gateway = scene.posthog(), scene.gateway()
    send(sdk, gateway.address)
    compare(sdk, six(scene), begun)
    assert "Everything is delivered." in gateway.stop()
    sandbox.stop()


def killed(sdk, scene):
    """The gateway dies when it has answered and PostHog has not."""
    begun = datetime.datetime.now(datetime.timezone.utc)
    # Only to have a port that nobody has.
    scene.posthog().stop()
    gateway = scene.gateway()
    send(sdk, gateway.address)
    until("six messages were answered for", lambda: accepted(gateway) == 6)
    gateway.kill()
    sandbox, gateway = scene.posthog(), scene.gateway()
    found = six(scene)
    assert "Everything is delivered." in gateway.stop()
    assert len(scene.arrived()) == len(found), "something came twice"
    compare(sdk, found, begun)
    sandbox.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hogline", type=pathlib.Path)
    parser.add_argument("--send", metavar="ADDRESS", help="make the calls, and nothing else")
    parser.add_argument("sdks", nargs="+")
    options = parser.parse_args()
    if options.send:
        calls(options.sdks[0], options.send)
        return
    for sdk in options.sdks:
        for story in (calm, killed):
            with tempfile.TemporaryDirectory() as folder:
                story(sdk, Scene(options.hogline.resolve(), pathlib.Path(folder)))
            print(f"{sdk}: {story.__doc__[0].lower()}{story.__doc__[1:-1]}: right", flush=True)


if __name__ == "__main__":
    main()
