"""`up` seen from the command line: in this process, or in one of its own that tells over a pipe how it gets on.

Invariant: whoever starts a platform learns how that ended: ready, refused, or failed with the reason.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import psutil

from touchline.architectures.settings import Settings, read_settings, to_environ
from touchline.runtime.control import Answer, Failure, NotRunning, Request, ask, failure_of
from touchline.runtime.instance import Instance, end_stale, forget_instance, is_running, read_instance
from touchline.runtime.keeper import Notice, Tell
from touchline.runtime.platform import PartStatus
from touchline.runtime.process import CannotStart, PartFailed, tail
from touchline.runtime.supervisor import LOG_FILE, own, supervise

DOWN_TIMEOUT_S: Final = 120


Show = Callable[[list[PartStatus]], None]


class Failed(Exception):
    """What was asked could not be done."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


def start_detached(settings: Settings, *, fresh: bool, tell: Tell) -> None:
    """Start a supervisor in a session of its own and return once clients are served.

    Raises:
        CannotStart: it refused.
        Failed: a part did not come up.
    """
    log = own(settings.data_dir) / "logs" / LOG_FILE
    read_end, write_end = os.pipe()
    argv = [sys.executable, "-P", "-m", "touchline.runtime.launch", str(write_end), "fresh" if fresh else "kept"]
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            argv,
            env=os.environ | to_environ(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(write_end,),
            start_new_session=True,
        ) as process,
    ):
        os.close(write_end)
        try:
            with os.fdopen(read_end, "rb") as report:
                for line in report:
                    answer = msgspec.json.decode(line, type=Answer)
                    if answer.notice:
                        tell(answer.notice)
                    if answer.failure:
                        raise Failed(answer.failure) if answer.failure.part else CannotStart(answer.failure.why)
                    if answer.done:
                        process.returncode = 0  # it lives on; nobody here waits for it
                        return
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    raise Failed(Failure("supervisor", "ended before it was ready", f"see {log}", tail(log)))


def supervise_reporting(settings: Settings, *, fresh: bool, report_to: int) -> int:
    """Supervise; tell over the pipe `report_to` until clients are served. Returns its exit status."""
    report = os.fdopen(report_to, "wb", buffering=0)

    def say(answer: Answer) -> None:
        if not report.closed:
            try:
                report.write(msgspec.json.encode(answer) + b"\n")
            except BrokenPipeError:  # whoever started this has gone; it goes on
                report.close()

    def ready(_instance: Instance) -> None:
        say(Answer(done=True))
        report.close()

    def tell(notice: Notice) -> None:
        say(Answer(notice=notice))

    try:
        asyncio.run(supervise(settings, fresh=fresh, tell=tell, ready=ready))
    except CannotStart as refused:
        say(Answer(failure=Failure("", str(refused), "")))
        return 2
    except PartFailed as failed:
        say(Answer(failure=failure_of(failed)))
        return 1
    return 0


def running(data_dir: Path) -> Instance | None:
    """Return the platform that runs in `data_dir`, or None."""
    instance = read_instance(data_dir.expanduser().resolve())
    return instance if instance is not None and is_running(instance) else None


async def request(instance: Instance, asked: Request, tell: Tell, show: Show | None = None) -> None:
    """Ask a running supervisor; its notices are told and parts shown as they come.

    Raises:
        Failed: it could not do it.
        NotRunning: nobody answers.
    """
    async for answer in ask(Path(instance.control), asked):
        if answer.failure:
            raise Failed(answer.failure)
        if answer.notice:
            tell(answer.notice)
        if answer.parts and show:
            show(answer.parts)


def stop(data_dir: Path, tell: Tell) -> bool:
    """Stop the platform in `data_dir`, or what a killed supervisor left of it; False where there was nothing.

    Raises:
        Failed: it does not stop.
    """
    data_dir = data_dir.expanduser().resolve()
    instance = read_instance(data_dir)
    if instance is None:
        return False
    if not is_running(instance):
        ended = end_stale(instance)
        forget_instance(data_dir)
        return bool(ended)
    try:
        asyncio.run(request(instance, Request("stop"), tell))
    except NotRunning:
        os.kill(instance.pid, signal.SIGTERM)
    try:
        psutil.Process(instance.pid).wait(DOWN_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired as late:
        why = f"the supervisor (pid {instance.pid}) did not end in {DOWN_TIMEOUT_S} s"
        raise Failed(Failure("supervisor", why, f"see {data_dir / 'logs' / LOG_FILE}")) from late
    return True


if __name__ == "__main__":
    fd, books = sys.argv[1:]
    sys.exit(supervise_reporting(read_settings(os.environ), fresh=books == "fresh", report_to=int(fd)))
