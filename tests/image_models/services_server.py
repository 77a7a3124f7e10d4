"""A local server that speaks the protocols of OpenAI, Ark and BFL beside Gemini's, with every reply and fault.

As `GeminiServer`, on the loopback alone. `asked` has every request that would be paid, `seen` every other one with its
headers; `billed` counts what would be billed, by service.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from image_models.gemini_server import GeminiServer, Reply, body, png


@dataclass
class Asked:
    """A request that asks for a picture; `nth` counts those of the same service and prompt, from 0."""

    service: str
    path: str
    prompt: str
    nth: int
    headers: dict[str, str]
    fields: dict[str, Any]
    files: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)  # name, content type, bytes


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


USAGE = {
    "input_tokens": 1030,
    "input_tokens_details": {"image_tokens": 1000, "text_tokens": 30},
    "output_tokens": 433,
    "total_tokens": 1463,
}


def picture(prompt: str, usage: Any = USAGE, data: bytes | None = None, **more: Any) -> bytes:
    return body({"created": 1, "data": [{"b64_json": b64(data or png(prompt))}], "usage": usage, **more})


def fault(code: str | None, message: str = "said", kind: str = "invalid_request_error") -> bytes:
    return body({"error": {"message": message, "type": kind, "param": None, "code": code}})


def cut(prompt: str) -> bytes:
    whole = b64(png(prompt, 64))
    return body({"data": [{"b64_json": whole[: len(whole) // 8 * 4]}], "usage": USAGE})


# Replies of the protocol that OpenAI and Ark share, and the class that each belongs to.
OPENAI: dict[str, tuple[Callable[[str], Reply], str]] = {
    "image": (lambda p: Reply(body=picture(p)), "ok"),
    "image as jpeg": (lambda p: Reply(body=picture(p, data=png(p, kind="JPEG"))), "ok"),
    "smallest": (lambda p: Reply(body=body({"data": [{"b64_json": b64(png(p))}]})), "ok"),
    "empty object": (lambda p: Reply(body=b"{}"), "no_image"),
    "empty data": (lambda p: Reply(body=body({"data": []})), "no_image"),
    "null data": (lambda p: Reply(body=body({"data": None})), "no_image"),
    "an address alone": (lambda p: Reply(body=body({"data": [{"url": "https://x.example/a.png"}]})), "no_image"),
    "error with 200": (lambda p: Reply(body=fault("server_error", kind="server_error")), "server"),
    "moderated with 200": (lambda p: Reply(body=fault("moderation_blocked")), "prompt_blocked"),
    "invalid base64": (lambda p: Reply(body=body({"data": [{"b64_json": "@@ none @@"}], "usage": USAGE})), "corrupt"),
    "base64 cut short": (lambda p: Reply(body=cut(p)), "corrupt"),
    "html with 200": (
        lambda p: Reply(body=b"<html>gateway</html>", headers={"Content-Type": "text/html"}),
        "transport",
    ),
    "html as json": (lambda p: Reply(body=b"<html>gateway</html>"), "transport"),
    "broken json": (lambda p: Reply(body=b'{"data": [{'), "transport"),
    "a list": (lambda p: Reply(body=b"[1]"), "transport"),
    "dropped body": (lambda p: Reply(body=picture(p), fault="drop"), "transport"),
    "reset": (lambda p: Reply(fault="reset"), "transport"),
    "400 moderation": (lambda p: Reply(400, fault("moderation_blocked")), "prompt_blocked"),
    "400 limit of the bill": (lambda p: Reply(400, fault("billing_hard_limit_reached")), "quota_day"),
    "400": (lambda p: Reply(400, fault("invalid_size", "no such size")), "configuration"),
    "401": (lambda p: Reply(401, fault("invalid_api_key", "Incorrect API key")), "configuration"),
    "403": (lambda p: Reply(403, fault(None, "organization must be verified")), "configuration"),
    "404": (lambda p: Reply(404, fault("model_not_found")), "configuration"),
    "408": (lambda p: Reply(408, fault(None)), "server"),
    "409": (lambda p: Reply(409, fault(None)), "server"),
    "429 with Retry-After": (lambda p: Reply(429, fault("rate_limit_exceeded"), {"Retry-After": "0"}), "quota_minute"),
    "429 bare": (lambda p: Reply(429, b""), "quota_minute"),
    "429 no credit": (lambda p: Reply(429, fault("insufficient_quota")), "quota_day"),
    "500": (lambda p: Reply(500, fault("server_error")), "server"),
    "html 502": (lambda p: Reply(502, b"<html>bad gateway</html>"), "server"),
}
ARK: dict[str, tuple[Callable[[str], Reply], str]] = {
    "input held back": (lambda p: Reply(400, fault("InputImageSensitiveContentDetected")), "prompt_blocked"),
    "output held back": (lambda p: Reply(400, fault("OutputImageSensitiveContentDetected")), "image_blocked"),
    "an item's error": (
        lambda p: Reply(
            body=body({"data": [{"error": {"code": "OutputImageSensitiveContentDetected", "message": "x"}}]})
        ),
        "image_blocked",
    ),
    "overdue": (lambda p: Reply(403, fault("AccountOverdueError")), "quota_day"),
}


SCORES = {"followed": 8, "kept": 6, "natural": 9, "clean": 4, "reason": "made up"}


def words(text: str | None = None, **more: Any) -> bytes:
    """A chat completion's body; `text` is a judge's scores where none is given."""
    message = {"role": "assistant", "content": json.dumps(SCORES) if text is None else text} | more
    usage = {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return body({"id": "c1", "object": "chat.completion", "model": "seer-1", "choices": [choice], "usage": usage})


# Replies to a request for words, and the class that each belongs to.
CHAT: dict[str, tuple[Callable[[], Reply], str]] = {
    "words": (lambda: Reply(body=words()), "ok"),
    "a refusal": (lambda: Reply(body=words("", refusal="I cannot judge this")), "image_blocked"),
    "nothing said": (lambda: Reply(body=words("")), "no_image"),
    "null content": (lambda: Reply(body=words(content=None)), "no_image"),
    "no choices": (lambda: Reply(body=body({"choices": []})), "no_image"),
    "choices of no kind": (lambda: Reply(body=body({"choices": ["x"]})), "no_image"),
    "html with 200": (lambda: Reply(body=b"<html>gateway</html>", headers={"Content-Type": "text/html"}), "transport"),
    "error with 200": (lambda: Reply(body=fault("server_error", kind="server_error")), "server"),
    "429 bare": (lambda: Reply(429, b""), "quota_minute"),
    "429 no credit": (lambda: Reply(429, fault("insufficient_quota")), "quota_day"),
    "400 policy": (lambda: Reply(400, fault("content_policy_violation")), "prompt_blocked"),
    "401": (lambda: Reply(401, fault("invalid_api_key", "Incorrect API key")), "configuration"),
}


class ServicesServer(GeminiServer):
    """The server; `scripts` answer by service, `states` are what a BFL request goes through, a look a step."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.billed: Counter[str] = Counter()
        self.scripts: dict[str, Callable[[Asked], Reply]] = {}
        self.times: Counter[tuple[str, str]] = Counter()
        self.flux_states: Callable[[Asked], list[str]] = lambda asked: ["Pending", "Ready"]
        self.flux_jobs: dict[str, tuple[Asked, list[str]]] = {}
        self.looked: Callable[[str, int], Reply | None] = lambda what, count: None  # faults of looks and of pictures
        self.looks: Counter[str] = Counter()
        self.polling = self.delivery = ""  # other hosts than its own, for `polling_url` and the picture's address
        self.cost: Any = 4.5  # credits

    def _answer(self, method: str, target: str, headers: dict[str, str], data: bytes) -> Reply:
        path, _, query = target.partition("?")
        if path.startswith("/openai/v1/images/") or path.startswith("/ark/api/v3/images/"):
            return self._images(path, headers, data)
        if path.endswith("/chat/completions"):
            return self._chat(path, headers, json.loads(data))
        if path.startswith("/bfl/"):
            return self._flux(method, path, query, headers, data)
        reply = super()._answer(method, target, headers, data)
        if ":generateContent" in path:
            self.billed["gemini"] += bool(self.calls[-1].tokens)
        return reply

    def _count(self, asked: Asked) -> Asked:
        self.times[asked.service, asked.prompt] += 1
        self.asked.append(asked)
        return asked

    def _images(self, path: str, headers: dict[str, str], data: bytes) -> Reply:
        service = path.split("/")[1]
        fields, files = _multipart(headers, data) if "multipart" in headers["content-type"] else (json.loads(data), {})
        nth = self.times[service, fields["prompt"]]
        asked = self._count(Asked(service, path, fields["prompt"], nth, headers, fields, files))
        script = self.scripts.get(service) or (lambda asked: OPENAI["image"][0](asked.prompt))
        reply = script(asked)
        self.billed[service] += reply.status == 200 and b"b64_json" in reply.body
        return reply

    def _chat(self, path: str, headers: dict[str, str], fields: dict[str, Any]) -> Reply:
        service = path.split("/")[1]
        (message,) = fields["messages"]
        prompt = message["content"][0]["text"]
        asked = self._count(
            Asked(f"{service} chat", path, prompt, self.times[f"{service} chat", prompt], headers, fields)
        )
        reply = self.scripts.get(f"{service} chat", lambda asked: CHAT["words"][0]())(asked)
        self.billed[f"{service} chat"] += reply.status == 200 and b"completion" in reply.body
        return reply

    def _flux(self, method: str, path: str, query: str, headers: dict[str, str], data: bytes) -> Reply:
        if method == "POST":
            fields = json.loads(data)
            nth = self.times["bfl", fields["prompt"]]
            asked = self._count(Asked("bfl", path, fields["prompt"], nth, headers, fields))
            early = self.scripts.get("bfl", lambda asked: Reply())(asked)
            if early.status != 200 or early.body != b"{}":
                return early
            self.billed["bfl"] += 1
            job = f"j{len(self.flux_jobs)}"
            self.flux_jobs[job] = asked, list(self.flux_states(asked))
            address = f"{self.polling or self.url}/bfl/poll?id={job}"
            made = {"id": job, "polling_url": address} | ({} if self.cost is None else {"cost": self.cost})
            return Reply(body=body(made), delay=early.delay, fault=early.fault)
        self.seen.append((method, path, headers))
        what = "look" if path == "/bfl/poll" else "picture"
        early_look = self.looked(what, self.looks[what])
        self.looks[what] += 1
        if early_look is not None:
            return early_look
        if what == "look":
            asked, states = self.flux_jobs[query.removeprefix("id=")]
            state = states.pop(0) if len(states) > 1 else states[0]
            sample = f"{self.delivery or self.url}/bfl/delivery/{query.removeprefix('id=')}.png"
            result = {"sample": sample} if state == "Ready" else None
            return Reply(body=body({"id": query, "status": state, "result": result}))
        job = re.fullmatch(r"/bfl/delivery/(\w+)\.png", path)
        assert job
        return Reply(body=png(self.flux_jobs[job[1]][0].prompt), headers={"Content-Type": "image/png"})


def _multipart(headers: dict[str, str], data: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, str, bytes]]]:
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    fields: dict[str, Any] = {}
    files: dict[str, tuple[str, str, bytes]] = {}
    for part in email.message_from_bytes(head + data, policy=email.policy.HTTP).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if part.get_filename():
            files[str(name)] = (str(part.get_filename()), part.get_content_type(), content)
        else:
            fields[str(name)] = content.decode()
    return fields, files
