"""Fill the shop: `manage.py shop_seed --products 10000 [--if-empty] [--user]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import track

from example_project.shop.models import Product
from example_project.shop.seeding import BATCH_SIZE, seed

MAX_PRODUCTS = 5_000_000
DEMO_LOGIN = "demo"


class Command(BaseCommand):
    """Insert made-up products; the same number always gives the same ones."""

    help = "Add made-up products with categories, images and reviews."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--products", type=int, default=10_000, metavar="N", help="how many (default: 10000)")
        parser.add_argument("--if-empty", action="store_true", help="do nothing when there are products already")
        parser.add_argument("--user", action="store_true", help="also make the superuser demo with the password demo")

    def handle(self, *, products: int, if_empty: bool, user: bool, **options: Any) -> None:
        if not 1 <= products <= MAX_PRODUCTS:
            raise CommandError(f"--products is {products}; give a number from 1 to {MAX_PRODUCTS}")
        if if_empty and Product.objects.exists():
            self.stdout.write("The shop has products already.")
        else:
            self.insert(products)
        if user:
            self.make_user()

    def insert(self, count: int) -> None:
        """Insert the products, with a progress bar where someone can watch it move."""
        batches = seed(count)
        if self.stdout.isatty():
            batches = track(batches, "Seeding the shop", total=-(-count // BATCH_SIZE), console=Console(stderr=True))
        self.stdout.write(f"Added {sum(batches)} products.")

    def make_user(self) -> None:
        """Make the demo's superuser unless the name is taken."""
        users = get_user_model()
        if users.objects.filter(username=DEMO_LOGIN).exists():
            self.stdout.write(f"The user {DEMO_LOGIN} exists already.")
            return
        users.objects.create_superuser(DEMO_LOGIN, password=DEMO_LOGIN)
        self.stdout.write(f"Made the superuser {DEMO_LOGIN} with the password {DEMO_LOGIN}.")
