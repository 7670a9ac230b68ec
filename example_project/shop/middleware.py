"""Compress answers from the textbook's threshold on."""

from __future__ import annotations

import re

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers

from example_project.shop.conf import get_config

REFUSES_GZIP = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)")


class ThresholdGZipMiddleware(GZipMiddleware):
    """Leave answers below `compression_threshold` alone, and clients that refuse gzip.

    Django's own limit is a fixed 200 bytes, and it takes `gzip;q=0` for a yes.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.streaming and len(response.content) < get_config().compression_threshold:
            return response
        if REFUSES_GZIP.search(request.headers.get("Accept-Encoding", "")):
            # The next client may accept what this one does not: a cache between has to tell them apart.
            patch_vary_headers(response, ["Accept-Encoding"])
            return response
        return super().process_response(request, response)
