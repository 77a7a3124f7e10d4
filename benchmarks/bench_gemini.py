"""Images a second from a server that answers as a model does, an image of 1024 x 1024 in 3 s, against what it gives.

The server (`tests/image_models/gemini_server.py`) runs in a process of its own. Interleaved in one run: the source
with all that it does (ledger flushed to the disk, images decoded and kept, outcomes, budget), a client that only sends
the same bytes and reads the reply (what the server gives), and what a user would write first: the SDK in 16 threads,
image bytes to files, no ledger. Run as `python benchmarks/bench_gemini.py`; `--images 32 --rounds 1` is short.

Measured on 2 cores that other work shared: 5.16 of 5.29 images a second, 97.6 % of what the server gave, 16 in flight;
23 ms of CPU an image, so that one process could carry some forty a second; 283 MB at most, 183 of them before it drew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from nbhelpers.image_models.gemini.client import Request, make_client
from nbhelpers.prompting.sources.gemini import GeminiSource

SERVER = Path(__file__).resolve().parent.parent / "tests" / "image_models" / "gemini_server.py"


def design(count: int) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{i}" for i in range(count)], "prompt": [f"film {i}" for i in range(count)]})


def with_source(count: int, in_flight: int, folder: Path) -> pd.DataFrame:
    parameters = {"gemini_concurrency": in_flight, "gemini_requests_per_minute": 0, "gemini_budget_usd": 1e6}
    with contextlib.redirect_stderr(io.StringIO()):
        return GeminiSource("gemini", parameters).draw(design(count), folder)


def drawing_seconds(folder: Path) -> float:
    """From the first request's line in the ledger to the last outcome's: a run's start and end are not the server's."""
    lines = (json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines())
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in lines]
    return max(times) - min(times)


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def with_sockets(count: int, in_flight: int, url: str) -> None:
    parts = urlsplit(url)
    body = json.dumps(Request("m").as_json("film", 0)).encode()
    path = "/v1beta/models/m:generateContent"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def work(queue: list[int]) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while queue:
            queue.pop()
            writer.write(head + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(answer.split("content-length: ")[1].split("\r\n")[0]))
        writer.close()

    async def all_of_them() -> None:
        queue = list(range(count))
        await asyncio.gather(*(work(queue) for _ in range(in_flight)))

    asyncio.run(all_of_them())


def with_sdk(count: int, in_flight: int, folder: Path) -> None:
    from google.genai import types

    client = make_client("v1beta", 60)
    config = types.GenerateContentConfig(response_modalities=["IMAGE"])

    def one(row: int) -> None:
        reply = client.models.generate_content(model="m", contents=f"film {row}", config=config)
        (folder / f"{row}.png").write_bytes(reply.candidates[0].content.parts[0].inline_data.data)

    with ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(one, range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--delay", type=float, default=3.0, help="seconds a reply")
    parser.add_argument("--size", type=int, default=1024, help="pixels along a side of the server's image")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    command = [sys.executable, str(SERVER), "--delay", str(given.delay), "--size", str(given.size)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.environ["GOOGLE_GEMINI_BASE_URL"] = url = server.stdout.readline().strip()
    os.environ.setdefault("GEMINI_API_KEY", "none-needed-here")
    best = {"source": 0.0, "sockets": 0.0, "sdk": 0.0}
    try:
        with tempfile.TemporaryDirectory() as name:
            before, peak = peak_mb(), 0.0
            for turn in range(given.rounds):
                folder = Path(name) / f"sdk{turn}"
                folder.mkdir()
                jobs = {
                    "sockets": lambda: with_sockets(given.images, given.in_flight, url),
                    "source": lambda turn=turn: with_source(given.images, given.in_flight, Path(name) / f"s{turn}"),
                    "sdk": lambda folder=folder: with_sdk(given.images, given.in_flight, folder),
                }
                for job, do in jobs.items():
                    started, busy = time.perf_counter(), time.process_time()
                    table = do()
                    seconds, busy = time.perf_counter() - started, time.process_time() - busy
                    if job == "source":
                        whole, cpu_ms = given.images / seconds, 1e3 * busy / given.images
                        # Of the first round alone: a peak never falls, and the SDK's own comes after it.
                        peak = peak_mb() if turn == 0 else peak
                        seconds = drawing_seconds(Path(name) / f"s{turn}")
                        # Checked against the server: every row has an image, each the one that it sends.
                        assert (table["status"] == "ok").all()
                        kept = {
                            hashlib.sha256((Path(name) / f"s{turn}" / path).read_bytes()).hexdigest()
                            for path in table["path"]
                        }
                        assert len(kept) == 1
                    best[job] = max(best[job], given.images / seconds)
    finally:
        server.terminate()
        server.wait()
    told = f"{given.images} images of {given.size} x {given.size}, {given.in_flight} in flight"
    print(f"{told}, {given.delay:g} s a reply, best of {given.rounds}")
    print(f"arithmetic bound   {given.in_flight / given.delay:6.2f} images/s")
    print(f"what server gives  {best['sockets']:6.2f} images/s (bare sockets)")
    print(f"source gemini      {best['source']:6.2f} images/s = {best['source'] / best['sockets']:.1%} of it")
    print(f"                   {whole:6.2f} images/s with its start and the table at the end")
    print(f"                   {cpu_ms:6.1f} ms of CPU an image")
    print(f"                   {peak:6.0f} MB at most, {before:.0f} before it drew")
    print(f"SDK in threads     {best['sdk']:6.2f} images/s; source / SDK = {best['source'] / best['sdk']:.2f}")


if __name__ == "__main__":
    main()
