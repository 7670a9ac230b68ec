"""Test the pages of the admin: who sees them, what they show, what a strict browser lets through."""
