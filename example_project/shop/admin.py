"""Edit the shop in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from example_project.shop.models import Category, Product, ProductImage, Review


class ProductImageInline(admin.TabularInline):
    """Edit a product's images on its page."""

    model = ProductImage
    extra = 1


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    """Edit categories."""

    list_display = ("name", "slug")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Edit products; every save is a new version, also when only an image changed."""

    list_display = ("name", "category", "price", "created_at", "version")
    list_filter = ("category",)
    list_select_related = ("category",)
    search_fields = ("name",)
    readonly_fields = ("created_at", "updated_at", "version")
    inlines = (ProductImageInline,)

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        if change:
            obj.touch()
        super().save_model(request, obj, form, change)


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    """Edit reviews."""

    list_display = ("product", "author", "rating")
    list_select_related = ("product",)
    autocomplete_fields = ("product",)
    search_fields = ("author", "text")
