"""Every stream of replication.yaml as an asset of Dagster: one run of hogline brings those chosen.

What the run's report says of a stream becomes the metadata of its materialization.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import dagster as dg

FOLDER = os.environ.get("HOGLINE_FOLDER", "/srv/posthog")  # where replication.yaml and state/ lie
STREAMS = ["events", "persons"]  # as in replication.yaml

BUSY = 75  # another run uses the state: it does this one's work
# Configuration, key, differences, state against target: the same again brings the same.
FOR_PEOPLE = {2, 4, 8, 9}


@dg.multi_asset(
    specs=[dg.AssetSpec(["posthog", stream], skippable=True) for stream in STREAMS],
    can_subset=True,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=15 * 60),
)
def posthog(context: dg.AssetExecutionContext):
    """Runs hogline, and tells Dagster of every stream that it completed."""
    streams = ",".join(sorted(key.path[-1] for key in context.selected_asset_keys))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = ["hogline", "run", "-r", "replication.yaml", "--streams", streams]
        run = subprocess.Popen(
            [*command, "--report", str(report)],
            cwd=FOLDER,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            for line in run.stdout:
                context.log.info(line.rstrip())
        finally:
            run.terminate()  # of no effect when it has ended; else heeded within seconds
            code = run.wait()
        reported = json.loads(report.read_text())["streams"] if report.exists() else []

    for stream in reported:
        if stream["error"] is None:
            yield dg.MaterializeResult(
                asset_key=["posthog", stream["stream"]], metadata=metadata(stream)
            )
    if code == BUSY:
        context.log.warning("another run is using this state; nothing was done")
    elif code:
        raise dg.Failure(
            f"exit code {code}: see `hogline explain {code}`",
            allow_retries=code not in FOR_PEOPLE,
        )


def metadata(stream):
    """What the report says of one stream, in Dagster's words."""
    rows = stream["rows"]
    return {
        "dagster/uri": stream["object"],
        "complete_to": stream["complete_to"],
        "rows_new": rows["new"],
        "rows_updated": rows["updated"],
        "rows_late": rows["late"],
        "rows_deleted": rows["deleted"],
        "values_repaired": sum(stream["repairs"].values()),
        "requests": stream["requests"],
        "seconds": stream["seconds"],
    }


hourly = dg.ScheduleDefinition(
    name="posthog_hourly", target=dg.AssetSelection.assets(posthog), cron_schedule="7 * * * *"
)
defs = dg.Definitions(assets=[posthog], schedules=[hourly])
