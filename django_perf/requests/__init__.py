"""Time every request and name it by its route."""
