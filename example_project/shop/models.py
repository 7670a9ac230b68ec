"""Store what the shop sells: categories, products, their images and reviews."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.utils import timezone

NAME_LENGTH = 200
URL_LENGTH = 500


class Category(models.Model):
    """A shelf of the shop; a product is on exactly one."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, db_index=False)

    class Meta:
        db_table = "categories"
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """A thing for sale; `version` counts its changes and is its ETag."""

    name = models.CharField(max_length=NAME_LENGTH)
    description = models.TextField(blank=True, default="")
    price = models.DecimalField(max_digits=10, decimal_places=2, validators=[MinValueValidator(0)])
    # No index of its own: products_category_newest begins with the same column.
    category = models.ForeignKey(Category, models.PROTECT, related_name="products", db_index=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        db_table = "products"
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="products_newest"),
            models.Index(fields=["category", "-created_at", "-id"], name="products_category_newest"),
        ]
        constraints = [models.CheckConstraint(condition=models.Q(price__gte=0), name="products_price_not_negative")]

    def __str__(self) -> str:
        return self.name

    def touch(self) -> None:
        """Mark the product as changed; the caller saves it."""
        self.version += 1
        self.updated_at = timezone.now()


class ProductImage(models.Model):
    """The address of a picture, shown in the order of `position`."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="images", db_index=False)
    # Not a URLField: what its form assumes for an address without a scheme differs between Django versions.
    url = models.CharField(max_length=URL_LENGTH, validators=[URLValidator(["http", "https"])])
    position = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "product_images"
        ordering = ["position", "id"]
        indexes = [models.Index(fields=["product", "position", "id"], name="product_images_in_order")]

    def __str__(self) -> str:
        return self.url


class Review(models.Model):
    """What a customer thinks of a product."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="reviews", db_index=False)
    author = models.CharField(max_length=100)
    rating = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField(blank=True, default="")

    class Meta:
        db_table = "reviews"
        ordering = ["-id"]
        indexes = [models.Index(fields=["product", "-id"], name="reviews_of_product")]
        constraints = [models.CheckConstraint(condition=models.Q(rating__range=(1, 5)), name="reviews_rating_1_to_5")]

    def __str__(self) -> str:
        return f"{self.author}: {self.rating}/5"
