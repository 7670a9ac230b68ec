"""Answer the shop's API; each view reads the request, asks the catalogue and shapes the answer."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.utils.http import parse_etags, urlencode
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from example_project.shop import catalogue, validation, writing
from example_project.shop.errors import ApiError, error_response
from example_project.shop.models import Product
from example_project.shop.pagination import parse_page, parse_page_size


# No cookie decides anything here, so there is no session for another site to ride on.
@method_decorator(csrf_exempt, name="dispatch")
class ApiView(View):
    """Turn an ApiError, from however deep, into its answer."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except ApiError as error:
            return error_response(error.status, error.error, error.fields)


class ProductCollection(ApiView):
    """GET and POST /products."""

    def get(self, request: HttpRequest) -> HttpResponse:
        params = request.GET
        category = params.get("category") or None
        if "cursor" not in params:
            return JsonResponse(catalogue.product_page(category, parse_page(params)))
        if "page" in params:
            raise ApiError(400, "Invalid parameters", {"page": "excludes cursor"})
        return JsonResponse(catalogue.products_after(category, params["cursor"], parse_page_size(params)))

    def post(self, request: HttpRequest) -> HttpResponse:
        product = writing.create_product(validation.clean_new(validation.read_object(request)))
        response = detail_response(catalogue.fresh_detail(product.pk), status=201)
        response["Location"] = reverse("shop:product", args=[product.pk])
        return response


class ProductDetail(ApiView):
    """GET, PATCH and DELETE /products/{id}."""

    def get(self, request: HttpRequest, product_id: int) -> HttpResponseBase:
        response = detail_response(catalogue.product_detail(product_id))
        return get_conditional_response(request, etag=response["ETag"], response=response)

    def patch(self, request: HttpRequest, product_id: int) -> HttpResponse:
        fields = validation.clean_changes(validation.read_object(request))
        writing.change_product(product_id, fields, lambda product: require_match(request, product))
        return detail_response(catalogue.fresh_detail(product_id))

    def delete(self, request: HttpRequest, product_id: int) -> HttpResponse:
        writing.delete_product(product_id, lambda product: require_match(request, product))
        return HttpResponse(status=204)


class ReviewCollection(ApiView):
    """GET /products/{id}/reviews."""

    def get(self, request: HttpRequest, product_id: int) -> HttpResponse:
        return JsonResponse(catalogue.review_page(product_id, parse_page(request.GET)))


class CategoryCollection(ApiView):
    """GET /categories."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"items": catalogue.categories()})


class CataloguePage(ApiView):
    """GET /catalogue: the list of products for people."""

    def get(self, request: HttpRequest) -> HttpResponse:
        category = request.GET.get("category") or None
        page = catalogue.product_page(category, parse_page(request.GET))
        context = {
            "title": category or "All products",
            "categories": catalogue.categories(),
            "products": page["items"],
            "page": page,
            "before": page["page"] - 1,
            "after": page["page"] + 1,
            "query": urlencode({"category": category}) + "&" if category else "",
        }
        return render(request, "shop/catalogue.html", context)


def detail_response(detail: dict, status: int = 200) -> JsonResponse:
    """Return a product with its ETag."""
    return JsonResponse(detail, status=status, headers={"ETag": version_etag(detail["id"], detail["version"])})


def version_etag(product_id: int, version: int) -> str:
    """Return the ETag of one state of a product."""
    return f'"{product_id}-{version}"'


def require_match(request: HttpRequest, product: Product) -> None:
    """Raise the 412 when the client's If-Match names another version of the product.

    RFC 9110 13.1.1 wants a strong comparison. Compression makes our ETag weak on its way out, and the version is as
    exact with W/ in front as without; insisting would refuse every client that accepts gzip.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return
    known = {etag.removeprefix("W/") for etag in parse_etags(header)}
    if version_etag(product.pk, product.version) not in known:
        raise ApiError(412, "Precondition failed")
