"""Run the whole show on one machine: servers, shop, traffic and live figures, and clear it all away."""
