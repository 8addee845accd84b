"""Which sessions are on the device: states, policies, the host swap pool and the scheduler that drives them."""
