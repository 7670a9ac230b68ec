"""Follow a streamed body to its end, however it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ..metrics.guard import count_fault
from ..metrics.trace import Trace, current


class Body:
    """Know how much of a streamed body went out, and how it ended.

    `error` is the class of an exception in mid-stream (the client saw a broken 200); `is_complete` is False when the
    server closed the response before the last chunk: the client went away.
    """

    __slots__ = ("error", "is_complete", "sent_bytes")

    def __init__(self) -> None:
        self.error: str | None = None
        self.is_complete = False
        self.sent_bytes = 0


def follow(response: StreamingHttpResponse, trace: Trace, finish: Callable[[Body], None]) -> None:
    """Call `finish` exactly once, when the server closes `response`."""
    body = Body()
    if isinstance(response, FileResponse) and response.file_to_stream is not None:
        # Wrapping its iterator would switch wsgi.file_wrapper (sendfile) off, so its length is taken on trust.
        body.sent_bytes, body.is_complete = _length(response), True
    elif response.is_async:
        response.streaming_content = _follow_async(cast(AsyncIterator[Any], response.streaming_content), body, trace)
    else:
        response.streaming_content = _follow_sync(cast(Iterator[Any], response.streaming_content), body, trace)
    _on_close(response, lambda: finish(body))


def _length(response: HttpResponseBase) -> int:
    length = response.headers.get("Content-Length", "0")
    return int(length) if length.isdecimal() else 0


def _on_close(response: HttpResponseBase, callback: Callable[[], None]) -> None:
    """Run `callback` behind the first close(); a server may close twice."""
    close = response.close
    waiting = [callback]

    def close_and_finish() -> None:
        try:
            close()
        finally:
            while waiting:
                try:
                    waiting.pop()()
                except Exception as fault:
                    # The client has its answer: a fault of ours must not become the server's.
                    count_fault("end of a stream", fault)

    response.close = close_and_finish  # type: ignore[method-assign]


def _follow_sync(chunks: Iterator[Any], body: Body, trace: Trace) -> Iterator[Any]:
    while True:
        # The body runs after the middleware has returned: without this its queries would belong to nobody.
        token = current.set(trace)
        try:
            chunk = next(chunks)
        except StopIteration:
            body.is_complete = True
            return
        except Exception as error:
            body.error = type(error).__qualname__
            raise
        finally:
            current.reset(token)
        body.sent_bytes += len(chunk)
        yield chunk


async def _follow_async(chunks: AsyncIterator[Any], body: Body, trace: Trace) -> AsyncIterator[Any]:
    while True:
        token = current.set(trace)
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            body.is_complete = True
            return
        except Exception as error:
            body.error = type(error).__qualname__
            raise
        finally:
            current.reset(token)
        body.sent_bytes += len(chunk)
        yield chunk
