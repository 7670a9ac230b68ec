"""Route the API and the planted faults."""

from __future__ import annotations

from django.urls import path

from example_project.shop import views
from example_project.shop.faults import FAULTS

app_name = "shop"

urlpatterns = [
    path("products", views.ProductCollection.as_view(), name="products"),
    path("products/<int:product_id>", views.ProductDetail.as_view(), name="product"),
    path("products/<int:product_id>/reviews", views.ReviewCollection.as_view(), name="reviews"),
    path("catalogue", views.CataloguePage.as_view(), name="catalogue"),
    path("categories", views.CategoryCollection.as_view(), name="categories"),
    *(path(name, view, name=name) for name, view in FAULTS.items()),
]
