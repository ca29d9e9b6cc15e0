"""Runs hogline every hour, and lets its exit code decide what Airflow does next.

Written for Airflow 3. The connection POSTHOG comes from the worker's environment, or from env.yaml of
hogline's home. State and target lie where the worker of the next run finds them too.
"""

import os
from datetime import datetime, timedelta

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

FOLDER = os.environ.get("HOGLINE_FOLDER", "/srv/posthog")  # where replication.yaml and state/ lie

BUSY = 75  # another run uses the state: it does this one's work
# Configuration, key, differences, state against target: the same again brings the same.
FOR_PEOPLE = {2, 4, 8, 9}


class HoglineOperator(BaseOperator):
    """Runs one command of hogline; its log becomes the task's log."""

    template_fields = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs):
        super().__init__(**kwargs)
        self.arguments = arguments
        self.hook = SubprocessHook()

    def execute(self, context):
        code = self.hook.run_command(["hogline", *self.arguments], cwd=FOLDER).exit_code
        if code == BUSY:
            raise AirflowSkipException("another run is using this state")
        if code in FOR_PEOPLE:
            raise AirflowFailException(f"exit code {code}: see `hogline explain {code}`")
        if code:
            raise AirflowException(f"exit code {code}: the next try goes on from what is committed")

    def on_kill(self):
        self.hook.send_sigterm()  # heeded within seconds; nothing that is committed is lost


with DAG(
    dag_id="posthog",
    schedule="7 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # one run brings everything since the last one
    max_active_runs=1,
) as dag:
    HoglineOperator(
        task_id="replicate",
        arguments=["run", "-r", "replication.yaml"],
        retries=2,
        retry_delay=timedelta(minutes=15),
    )
