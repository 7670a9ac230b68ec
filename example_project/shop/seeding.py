"""Fill the shop with made-up goods: the same number always gives the same rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice

from django.db import transaction

from django_perf import invalidate
from example_project.shop.invalidation import CATEGORIES, list_tag
from example_project.shop.models import Category, Product, ProductImage, Review

BATCH_SIZE = 1000
SEED = 20261120
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
# Imports make rows in one instant; a list ordered by time alone then shows some of them twice and some never.
PRODUCTS_PER_TIMESTAMP = 10

CATEGORY_NAMES = (
    "Audio", "Baby", "Bags", "Beauty", "Bikes", "Books", "Cameras", "Cycling", "Fitness", "Furniture",
    "Games", "Garden", "Kitchen", "Lighting", "Music", "Office", "Outdoor", "Pets", "Shoes", "Tools",
)  # fmt: skip
COLOURS = ("Red", "Blue", "Green", "Black", "White", "Amber", "Violet", "Grey", "Orange", "Silver")
QUALITIES = ("light", "sturdy", "folding", "classic", "compact", "quiet", "vintage", "smart", "solid", "soft")
THINGS = ("bike", "lamp", "chair", "kettle", "camera", "backpack", "speaker", "desk", "tent", "drill")
AUTHORS = ("Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Ken", "Margaret", "Tony")
OPINIONS = (
    "Does what it says.",
    "Came late, works well.",
    "Would buy it again.",
    "Smaller than in the picture.",
    "My third one, and not the last.",
)


def seed(count: int) -> Iterator[int]:
    """Insert `count` products with images and reviews; yield how many each committed batch held."""
    categories = seed_categories()
    chance = random.Random(SEED)
    products = make_products(count, categories, chance)
    while batch := list(islice(products, BATCH_SIZE)):
        with transaction.atomic():
            insert(batch, chance)
        yield len(batch)


def seed_categories() -> list[Category]:
    """Return the shop's categories, made where they are missing."""
    return [Category.objects.get_or_create(name=name, defaults={"slug": name.lower()})[0] for name in CATEGORY_NAMES]


def insert(products: list[Product], chance: random.Random) -> None:
    """Insert one batch with everything that belongs to it."""
    Product.objects.bulk_create(products)
    ProductImage.objects.bulk_create([image for product in products for image in make_images(product, chance)])
    Review.objects.bulk_create([review for product in products for review in make_reviews(product, chance)])
    # bulk_create sends no signals.
    lists = {list_tag(category) for category in (None, *(product.category_id for product in products))}
    invalidate(CATEGORIES, *lists)


def make_products(count: int, categories: list[Category], chance: random.Random) -> Iterator[Product]:
    """Make products, the oldest first, so that a higher id is never older."""
    for number in range(1, count + 1):
        age = timedelta(minutes=(count - number) // PRODUCTS_PER_TIMESTAMP)
        name = f"{chance.choice(COLOURS)} {chance.choice(QUALITIES)} {chance.choice(THINGS)} {number}"
        yield Product(
            name=name,
            description=f"{name}: made to last, tested for {chance.randint(1, 9)} years.",
            price=Decimal(chance.randint(99, 99_999)) / 100,
            category=chance.choice(categories),
            created_at=NEWEST - age,
            updated_at=NEWEST - age,
        )


def make_images(product: Product, chance: random.Random) -> Iterator[ProductImage]:
    """Make none to three images: a product without any is a case of its own."""
    for position in range(chance.randint(0, 3)):
        yield ProductImage(
            product=product, url=f"https://images.example/{product.pk}/{position}.jpg", position=position
        )


def make_reviews(product: Product, chance: random.Random) -> Iterator[Review]:
    """Make none to four reviews."""
    for _ in range(chance.randint(0, 4)):
        yield Review(
            product=product, author=chance.choice(AUTHORS), rating=chance.randint(1, 5), text=chance.choice(OPINIONS)
        )
