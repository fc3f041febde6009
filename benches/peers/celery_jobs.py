"""No-op jobs through Celery on RabbitMQ with results in PostgreSQL: two worker processes, as PEERS measure it.

    celery_jobs.py BROKER_URL RESULT_URL JOBS      prints: jobs per second, p50 and p99 in ms at low load
"""
import os, subprocess, sys, time

from celery import Celery

broker, results, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
app = Celery("celery_jobs", broker=broker, backend="db+" + results.replace("postgres://", "postgresql+psycopg2://"))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=32, task_default_queue="celery-bench", result_extended=False)


@app.task(name="noop")
def noop():
    return None


def main():
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    worker = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), broker, results, "0", "worker"], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        noop.delay().get(timeout=60, interval=0.01)
        begin = time.monotonic()
        pending = [noop.delay() for _ in range(jobs)]
        for result in pending:
            result.get(timeout=600, interval=0.01)
        rate = jobs / (time.monotonic() - begin)
        times = []
        for _ in range(200):
            begin = time.monotonic()
            noop.delay().get(timeout=60, interval=0.001)
            times.append((time.monotonic() - begin) * 1000)
        times.sort()
        print(f"{rate:.0f} {times[len(times) // 2]:.1f} {times[len(times) * 99 // 100]:.1f}")
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        app.worker_main(["worker", "--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])
    else:
        main()
