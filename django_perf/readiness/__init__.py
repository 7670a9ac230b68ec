"""Tell a load balancer whether this process may get requests, and tell it to go away before a stop."""
