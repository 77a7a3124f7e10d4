"""A local server that speaks the Gemini API's protocol, on the loopback alone, with every reply and fault on demand.

Raw asyncio streams, so that a body can drip, stop half-way or be no HTTP at all. As a program,
`python tests/image_models/gemini_server.py`, it serves from a process of its own (benchmark), printing its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Call:
    """A generateContent request as the server saw it; `nth` counts those of the same prompt, from 0."""

    prompt: str
    model: str
    nth: int
    index: int
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    tokens: int = 0  # of image output in the answer, whether it arrived or not: what would be billed


@dataclass
class Reply:
    """What to send: `fault` is drip (a byte now and then), drop (close in mid-body), reset (close at once)."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    fault: str = ""


def png(text: str, size: int = 24, kind: str = "PNG") -> bytes:
    """A small image of its own for each text."""
    values = np.random.default_rng(zlib.crc32(text.encode())).integers(0, 255, (size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


USAGE = {"promptTokenCount": 40, "candidatesTokenCount": 1290, "totalTokenCount": 1330}


def image_body(data: bytes, usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": USAGE if usage is None else usage,
        "modelVersion": "gemini-2.5-flash-image-002",
        "responseId": f"r-{zlib.crc32(data):08x}",
        **more,
    }


def ok(prompt: str, **how: Any) -> Reply:
    return Reply(body=body(image_body(png(prompt))), **how)


def finish(reason: str, message: str = "", parts: Any = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"finishReason": reason, "index": 0}
    if parts is not None:
        candidate["content"] = {"role": "model", "parts": parts}
    if message:
        candidate["finishMessage"] = message
    usage = {"promptTokenCount": 40, "totalTokenCount": 40}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}


def error(code: int, status: str, message: str, details: list[Any] | None = None) -> bytes:
    return body({"error": {"code": code, "message": message, "status": status, "details": details or []}})


def quota(delay: str | None = None, quota_id: str = "GenerateRequestsPerMinutePerProjectPerModel", value: str = "10"):
    details: list[Any] = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaMetric": "generate_content_requests", "quotaId": quota_id, "quotaValue": value}],
        }
    ]
    if delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", details)


def _cut(prompt: str) -> bytes:
    whole = image_body(png(prompt, 64))
    part = whole["candidates"][0]["content"]["parts"][0]["inlineData"]
    part["data"] = part["data"][: len(part["data"]) // 8 * 4]
    return body(whole)


def _bad_base64(prompt: str) -> bytes:
    whole = image_body(png(prompt))
    whole["candidates"][0]["content"]["parts"][0]["inlineData"]["data"] = "@@ not base64 @@"
    return body(whole)


def _draft(prompt: str, with_final: bool) -> bytes:
    draft = image_body(png("draft of " + prompt))
    draft["candidates"][0]["content"]["parts"][0]["thought"] = True
    if with_final:
        draft["candidates"][0]["content"]["parts"] += image_body(png(prompt))["candidates"][0]["content"]["parts"]
    return body(draft)


def _tokens(reply: Reply) -> int:
    try:
        return json.loads(reply.body)["usageMetadata"]["candidatesTokenCount"] if reply.status == 200 else 0
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0


# Every reply of the protocol that is not simply an image, and the class that it belongs to.
REPLIES: dict[str, tuple[Callable[[str], Reply], str]] = {
    "image": (ok, "ok"),
    "jpeg labelled png": (lambda p: Reply(body=body(image_body(png(p, kind="JPEG")))), "ok"),
    "draft and image": (lambda p: Reply(body=_draft(p, True)), "ok"),
    "draft alone": (lambda p: Reply(body=_draft(p, False)), "ok"),
    "prompt blocked": (
        lambda p: Reply(body=body({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}})),
        "prompt_blocked",
    ),
    "image safety": (lambda p: Reply(body=body(finish("IMAGE_SAFETY", "Unable to show it"))), "image_blocked"),
    "recitation": (lambda p: Reply(body=body(finish("RECITATION"))), "image_blocked"),
    "no image": (lambda p: Reply(body=body(finish("NO_IMAGE"))), "no_image"),
    "escalation": (lambda p: Reply(body=body(finish("ESCALATION"))), "image_blocked"),
    "malformed response": (lambda p: Reply(body=body(finish("MALFORMED_RESPONSE"))), "no_image"),
    "image other": (lambda p: Reply(body=body(finish("IMAGE_OTHER"))), "no_image"),
    "account disabled": (lambda p: Reply(body=body(finish("PUP_LIMITED_DISABLED"))), "configuration"),
    "deeply nested": (lambda p: Reply(body=b'{"candidates":' + b"[" * 100_000), "transport"),
    "empty object": (lambda p: Reply(body=b"{}"), "no_image"),
    "empty candidates": (lambda p: Reply(body=body({"candidates": []})), "no_image"),
    "content null": (
        lambda p: Reply(body=body({"candidates": [{"content": None, "finishReason": "STOP"}]})),
        "no_image",
    ),
    "text only": (
        lambda p: Reply(body=body(finish("STOP", parts=[{"text": "I cannot draw that."}]))),
        "text_only",
    ),
    "invalid base64": (lambda p: Reply(body=_bad_base64(p)), "corrupt"),
    "base64 cut short": (lambda p: Reply(body=_cut(p)), "corrupt"),
    "html with 200": (
        lambda p: Reply(body=b"<html>gateway</html>", headers={"Content-Type": "text/html"}),
        "transport",
    ),
    "broken json": (lambda p: Reply(body=b'{"candidates": [{'), "transport"),
    "dropped body": (lambda p: ok(p, fault="drop"), "transport"),
    "reset": (lambda p: ok(p, fault="reset"), "transport"),
    "error with 200": (lambda p: Reply(body=error(503, "UNAVAILABLE", "overloaded")), "server"),
    "503": (lambda p: Reply(503, error(503, "UNAVAILABLE", "The model is overloaded.")), "server"),
    "500": (lambda p: Reply(500, error(500, "INTERNAL", "An internal error has occurred.")), "server"),
    "html 502": (lambda p: Reply(502, b"<html>bad gateway</html>"), "server"),
    "429 with RetryInfo": (lambda p: Reply(429, quota("0.02s")), "quota_minute"),
    "429 with Retry-After": (lambda p: Reply(429, quota(), {"Retry-After": "0"}), "quota_minute"),
    "429 bare": (lambda p: Reply(429, error(429, "RESOURCE_EXHAUSTED", "Resource exhausted")), "quota_minute"),
    "429 of the day": (lambda p: Reply(429, quota("30s", "GenerateRequestsPerDayPerProjectPerModel")), "quota_day"),
    "429 of zero": (lambda p: Reply(429, quota("30s", value="0")), "quota_day"),
    "404": (lambda p: Reply(404, error(404, "NOT_FOUND", "models/x is not found")), "configuration"),
    "403": (lambda p: Reply(403, error(403, "PERMISSION_DENIED", "denied")), "configuration"),
}


class GeminiServer:
    """The server, in a thread of its own; `script` answers generateContent, and batch lines too.

    `calls` has every generateContent request; `states` is what a batch job goes through, a poll a step; `lose` tells by
    key which lines of a batch result are left out.
    """

    def __init__(self, script: Callable[[Call], Reply] | None = None) -> None:
        self.script = script or (lambda call: ok(call.prompt))
        self.calls: list[Call] = []
        self.nth: Counter[str] = Counter()
        self.uploads: dict[str, bytes] = {}
        self.results: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.states = ["BATCH_STATE_PENDING", "BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED"]
        self.other: list[str] = []
        self.before: Callable[[str, str], Reply | None] = lambda method, path: None
        self.finish_lines: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self.created: Callable[[Reply], Reply] | None = None  # what is sent of the reply to a job's making
        self.list_lag = 0.0  # seconds until the list of jobs names a new one
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> GeminiServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**26))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ", 2)
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
                data = await reader.readexactly(int(headers.get("content-length", 0)))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    if not await self._send(writer, self._answer(method, target, headers, data)):
                        return
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.fault == "reset":
            writer.transport.abort()
            return False
        headers = {"Content-Type": "application/json", **reply.headers, "Content-Length": str(len(reply.body))}
        head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        if reply.fault == "drip":
            for byte in head.encode() + reply.body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        elif reply.fault == "drop":
            writer.write(head.encode() + reply.body[: len(reply.body) // 2])
            await writer.drain()
            return False
        else:
            writer.write(head.encode() + reply.body)
            await writer.drain()
        return True

    def _answer(self, method: str, target: str, headers: dict[str, str], data: bytes) -> Reply:
        path = target.split("?")[0]
        if match := re.fullmatch(r"/[^/]+/models/([^/:]+):generateContent", path):
            call = self._call(match[1], json.loads(data), headers, path)
            self.calls.append(call)
            reply = self.script(call)
            call.tokens = _tokens(reply)
            return reply
        self.other.append(f"{method} {path}")
        early = self.before(method, path)
        return early or self._other(method, path, headers, data)

    def _call(self, model: str, request: dict[str, Any], headers: dict[str, str], path: str) -> Call:
        prompt = request["contents"][0]["parts"][0]["text"]
        nth = self.nth[prompt]
        self.nth[prompt] += 1
        return Call(prompt, model, nth, len(self.calls), request, headers, path)

    def _other(self, method: str, path: str, headers: dict[str, str], data: bytes) -> Reply:
        if path.startswith("/upload/") and headers.get("x-goog-upload-command") == "start":
            name = f"files/in{len(self.uploads)}"
            self.uploads[name] = b""
            return Reply(headers={"X-Goog-Upload-URL": f"{self.url}/put/{name}", "X-Goog-Upload-Status": "active"})
        if path.startswith("/put/"):
            name = path.removeprefix("/put/")
            self.uploads[name] += data
            final = "finalize" in headers.get("x-goog-upload-command", "")
            file = {"name": name, "uri": f"{self.url}/{name}", "mimeType": "jsonl", "state": "ACTIVE"}
            status = {"X-Goog-Upload-Status": "final" if final else "active"}
            return Reply(body=body({"file": file}), headers=status)
        if match := re.fullmatch(r"/[^/]+/models/([^/:]+)", path):
            model = {"name": f"models/{match[1]}", "supportedGenerationMethods": ["generateContent"]}
            return Reply(body=body(model))
        if match := re.fullmatch(r"/[^/]+/models/([^/:]+):batchGenerateContent", path):
            made = self._create(match[1], json.loads(data), headers)
            return self.created(made) if self.created else made
        if match := re.fullmatch(r"/[^/]+/(batches/[^/:]+):cancel", path):
            self.jobs[match[1]]["state"] = "BATCH_STATE_CANCELLED"
            return Reply()
        if re.fullmatch(r"/[^/]+/batches", path):
            seen = [name for name, job in self.jobs.items() if time.monotonic() - job["made"] >= self.list_lag]
            return Reply(body=body({"operations": [self._operation(name) for name in seen]}))
        if match := re.fullmatch(r"/[^/]+/(batches/[^/:]+)", path):
            if match[1] not in self.jobs:
                return Reply(404, error(404, "NOT_FOUND", "no such batch"))
            self._step(match[1])
            return Reply(body=body(self._operation(match[1])))
        if match := re.fullmatch(r"/[^/]+/(files/[^/:]+):download", path):
            return Reply(body=self.results[match[1]], headers={"Content-Type": "application/jsonl"})
        return Reply(404, error(404, "NOT_FOUND", path))

    def _create(self, model: str, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        batch = request["batch"]
        name = f"batches/job{len(self.jobs)}"
        source = batch["inputConfig"]["fileName"]
        job = {"model": model, "input": source, "state": "BATCH_STATE_PENDING", "polls": 0, "headers": headers}
        self.jobs[name] = job | {"displayName": batch.get("displayName", ""), "made": time.monotonic()}
        return Reply(body=body(self._operation(name)))

    def _step(self, name: str) -> None:
        job = self.jobs[name]
        if job["state"] not in ("BATCH_STATE_PENDING", "BATCH_STATE_RUNNING"):
            return
        job["state"] = self.states[min(job["polls"], len(self.states) - 1)]
        job["polls"] += 1
        if job["state"] in ("BATCH_STATE_SUCCEEDED", "BATCH_STATE_EXPIRED", "BATCH_STATE_FAILED"):
            self.complete(name)

    def complete(self, name: str) -> None:
        """Carry out a job's requests and write its result file."""
        job = self.jobs[name]
        lines = []
        for line in self.uploads[job["input"]].splitlines():
            item = json.loads(line)
            call = self._call(job["model"], item["request"], job["headers"], "batch")
            self.calls.append(call)
            reply = self.script(call)
            call.tokens = _tokens(reply)
            answer = json.loads(reply.body)
            lines.append(
                body(
                    {"key": item["key"], "response": answer} if reply.status == 200 else {"key": item["key"], **answer}
                )
            )
        job["result"] = f"files/out-{name.removeprefix('batches/')}"
        self.results[job["result"]] = b"\n".join(self.finish_lines(lines)) + b"\n"

    def _operation(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        metadata = {"state": job["state"], "displayName": job["displayName"], "model": f"models/{job['model']}"}
        if job.get("result"):
            metadata["output"] = {"responsesFile": job["result"]}
        return {"name": name, "metadata": {"@type": "x/GenerateContentBatch", **metadata}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds a reply")
    parser.add_argument("--size", type=int, default=64, help="pixels along a side")
    arguments = parser.parse_args()
    reply = body(image_body(png("x", arguments.size)))
    with GeminiServer(lambda call: Reply(body=reply, delay=arguments.delay)) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
