"""Have the database explain how it runs a statement of which only the shape is known, and judge the plan."""
